"""Random files of data: read, or refused in one line; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from tests.data.conftest import rows
from tests.trust.mutations import mutated
from tests.trust.trials import outcome, tried
from tokendrop.data import TextData

TABLE = pd.DataFrame(rows(12))
NUMBERS = TABLE.assign(label=[float(number) for number in range(12)])
TAGGED = "".join(f"the O\nfilm{n} B-PER\nwas I-PER\n\n" for n in range(12))
SQUAD = json.dumps(
    {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": f"The film {n} was long.",
                        "qas": [
                            {
                                "id": str(n),
                                "question": "How was it?",
                                "answers": [{"text": "long", "answer_start": 15 + len(str(n)) - 1}],
                            }
                        ],
                    }
                    for n in range(12)
                ]
            }
        ]
    }
)


def files() -> list[tuple[str, str, bytes]]:
    """Kind of task, ending and content of whole files."""
    parquet = TABLE.to_parquet(index=False)
    assert parquet is not None
    records = TABLE.to_dict("records")
    return [
        ("classification", ".csv", TABLE.to_csv(index=False).encode()),
        ("classification", ".tsv", TABLE.to_csv(index=False, sep="\t").encode()),
        ("classification", ".csv", TABLE.to_csv(index=False, sep=";").encode("utf-16")),
        ("classification", ".json", json.dumps(records).encode()),
        ("classification", ".jsonl", "".join(json.dumps(r) + "\n" for r in records).encode()),
        ("classification", ".parquet", parquet),
        ("regression", ".csv", NUMBERS.to_csv(index=False).encode()),
        ("token_classification", ".txt", TAGGED.encode()),
        ("question_answering", ".json", SQUAD.encode()),
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@tried(few=60, full=5_000)
@given(st.data(), st.sampled_from(files()))
def test_they_are_read_or_refused(
    place: Path, tokenizer: BertTokenizer, data: st.DataObject, whole: tuple[str, str, bytes]
) -> None:
    task, ending, content = whole
    file = place / f"rows{ending}"
    file.write_bytes(data.draw(mutated(content)))
    settings: dict[str, Any] = {"train": str(file), "task": task, "max_length": 16}
    if task == "question_answering":
        settings |= {"doc_stride": 2}
    read = TextData(**settings, cache=str(place / "cache"))
    read.use_tokenizer(tokenizer)
    splits, said = outcome(f"files of data, {task}, {ending}", lambda: read.splits)
    if splits is None:
        assert file.name in said
    else:
        assert all(len(split) for split in splits.values())
        assert all(len(ids) <= 16 for split in splits.values() for ids in split.input_ids)
