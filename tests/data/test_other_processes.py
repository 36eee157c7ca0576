"""Rows that are ready can be sent to another process, as loaders with workers do."""

import json
import pickle

import pandas as pd
import pytest
import torch

from tests.data.conftest import rows, write_csv
from tests.data.test_questions import squad
from tests.data.test_tags import sentences


def marked(path):
    lines = [{**row, "why": [int(word == "good") for word in row["text"].split()]}
             for row in rows(40)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return {"rationale": "why"}


def scored(path):
    frame = pd.DataFrame({"text": [row["text"] for row in rows(40)], "label": range(40)})
    frame["other"] = [None if n % 3 == 0 else n for n in range(40)]
    frame.astype({"other": "Int64"}).to_parquet(path)
    return {"text": ["text", "other"], "task": "regression"}


def tagged(path):
    lines = [
        {"tokens": [word for word, _ in line], "tags": [tag for _, tag in line]}
        for line in sentences(40)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    names = {"B-MISC": "B-THING", "I-MISC": "I-THING"}
    return {"task": "token_classification", "label_map": names}


def asked(path):
    squad(path)
    return {"task": "question_answering", "max_length": 24, "doc_stride": 4}


def paired(path):
    write_csv(path, [{**row, "more": row["text"][::-1]} for row in rows(40)])
    return {"text": ["text", "more"]}


KINDS = {"a.csv": paired, "a.parquet": scored, "a.jsonl": marked, "b.jsonl": tagged,
         "a.json": asked}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_has_the_same_rows_and_batches(make, tmp_path, name):
    path = tmp_path / name
    data = make(train=str(path), batch_size=5, **KINDS[name](path))
    data.setup()
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint() == data.fingerprint()
    for name, split in data.splits.items():
        assert again.splits[name].texts == split.texts
        assert again.splits[name].rationales == split.rationales
    loader = data.train_batches(1, 0)
    for batch, copy in zip(loader, pickle.loads(pickle.dumps(loader.dataset)), strict=True):
        assert torch.equal(copy.input_ids, batch.input_ids)
        assert torch.equal(copy.labels, batch.labels)
