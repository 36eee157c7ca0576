"""Each task file reads the publisher's files, written here in small."""

import csv
import json

import datasets
import pandas as pd
import pytest
import torch

from tests.data.conftest import rows, write_csv
from tokendrop.configs import find_config, read_config
from tokendrop.data import TextData
from tokendrop.data.local import Files
from tokendrop.errors import UserError

TEXTS = [row["text"] for row in rows(300)]


def tsv(path, header, lines, mark=""):
    lines = (
        ["\t".join(header), *("\t".join(line) for line in lines)]
        if header
        else ["\t".join(line) for line in lines]
    )
    path.write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")


def each(count, start=0):
    """Number and two different texts, of which one has a lone quotation mark."""
    return [(i, f'{TEXTS[i]} "', TEXTS[-i - 1]) for i in range(start, start + count)]


def sst2(folder):
    for name, start, count in (("train", 0, 60), ("dev", 60, 9)):
        lines = [(f"{a} ", str(i % 2)) for i, a, _ in each(count, start)]
        tsv(folder / f"{name}.tsv", ["sentence", "label"], lines)
    tsv(folder / "test.tsv", ["index", "sentence"], [("0", "a film")])


def cola(folder):
    for name, start, count in (("train", 0, 60), ("dev", 60, 9)):
        lines = [("gj04", str(i % 2), "*" * (1 - i % 2), a) for i, a, _ in each(count, start)]
        tsv(folder / f"{name}.tsv", None, lines)


def mrpc(folder):
    header = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    files = (("train.tsv", 0, 60), ("dev.tsv", 60, 9), ("msr_paraphrase_test.txt", 70, 8))
    for name, start, count in files:
        lines = [(str(i % 2), "7", "8", a, b) for i, a, b in each(count, start)]
        tsv(folder / name, header, lines, mark="" if name == "train.tsv" else "\ufeff")


def stsb(folder):
    header = ["index", "genre", "filename", "year", "old_index", "source1", "source2"]
    header += ["sentence1", "sentence2", "score"]
    for name, start, count in (("train", 0, 60), ("dev", 60, 9)):
        lines = [
            (str(i), "g", "f", "y", "0", "s", "s", a, b, f"{i % 6 * 0.8:.3f}")
            for i, a, b in each(count, start)
        ]
        tsv(folder / f"{name}.tsv", header, lines)


def pairs(header, labels, dev="dev.tsv", train_header=None):
    def write(folder):
        for name, start, count in (("train.tsv", 0, 60), (dev, 60, 9)):
            columns = train_header if train_header and name == "train.tsv" else header
            cells = dict.fromkeys(header, "x")
            lines = []
            for i, a, b in each(count, start):
                texts = [c for c in columns if c.startswith(("sentence", "question"))]
                filled = cells | {texts[0]: a, texts[1]: b, columns[-1]: labels[i % len(labels)]}
                lines.append([filled[c] for c in columns])
            tsv(folder / name, columns, lines)

    return write


ENTAILED = ["not_entailment", "entailment"]
INFERRED = ["contradiction", "neutral", "entailment"]
MNLI = ["index", "genre", "sentence1", "sentence2", "label1", "gold_label"]
QNLI = ["index", "question", "sentence", "label"]


def ag_news(folder):
    lines = [{"label": i % 4 + 1, "text": a, "source": "x"} for i, a, _ in each(60)]
    write_csv(folder / "train.csv", lines)
    with (folder / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([i % 4 + 1, f"Title, {i}", a] for i, a, _ in each(9, 60))


def dbpedia(folder):
    for name, start, count in (("train", 0, 70), ("dev", 70, 14), ("test", 84, 15)):
        lines = [{"label": i % 14, "text": a} for i, a, _ in each(count, start)]
        write_csv(folder / f"{name}.csv", lines)


def hatexplain(folder):
    names = ["normal", "offensive", "hatespeech"]
    for name, start, count in (("train", 0, 60), ("val", 60, 9), ("test", 70, 8)):
        lines = [
            {"tokens": a.split(), "label": names[i % 3], "rationales": []}
            for i, a, _ in each(count, start)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def eraser(labels):
    def write(folder):
        (folder / "docs").mkdir()
        for name, start, count in (("train", 0, 60), ("val", 60, 9), ("test", 70, 8)):
            lines = []
            for i, a, b in each(count, start):
                (folder / "docs" / f"{i}.txt").write_text(a.replace(" ", "\n", 1))
                found = [{"docid": f"{i}.txt", "start_token": 0, "end_token": 1}]
                lines.append(
                    {
                        "annotation_id": f"{i}.txt",
                        "classification": labels[i % 2],
                        "query": b,
                        "evidences": [found],
                        "docids": None,
                    }
                )
            (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))

    return write


def imdb(folder):
    for name, start, count in (("train", 0, 60), ("test", 60, 9)):
        lines = [{"text": a, "label": i % 2} for i, a, _ in each(count, start)]
        pd.DataFrame(lines).to_parquet(folder / f"{name}.parquet")


def conll(folder):
    for name, start, count in (("train", 0, 60), ("testa", 60, 9), ("testb", 70, 8)):
        blocks = [
            f"the DT I-NP I-MISC\n{i} CD I-NP I-MISC\n. . O O\n" for i, *_ in each(count, start)
        ]
        (folder / f"eng.{name}").write_text("\n".join(["-DOCSTART- -X- -X- O\n", *blocks]))


def squad(folder):
    for name, start, count in (("train", 0, 60), ("dev", 60, 9)):
        content = [
            {
                "context": f"the plot {i} is good",
                "qas": [
                    {
                        "id": str(i),
                        "question": "the film",
                        "answers": [{"text": "plot", "answer_start": 4}],
                    }
                ],
            }
            for i, *_ in each(count, start)
        ]
        data = {"data": [{"title": "t", "paragraphs": content}], "version": "1.1"}
        (folder / f"{name}-v1.1.json").write_text(json.dumps(data))


SETS = {
    "sst2": (sst2, ["negative", "positive"], (54, 6, 9)),
    "cola": (cola, ["unacceptable", "acceptable"], (54, 6, 9)),
    "mrpc": (mrpc, ["not_equivalent", "equivalent"], (60, 9, 8)),
    "stsb": (stsb, [], (54, 6, 9)),
    "rte": (
        pairs(["index", "sentence1", "sentence2", "label"], ENTAILED),
        ["entailment", "not_entailment"],
        (54, 6, 9),
    ),
    "qnli": (
        pairs(QNLI, ENTAILED, train_header=QNLI[1:]),
        ["entailment", "not_entailment"],
        (54, 6, 9),
    ),
    "mnli": (pairs(MNLI, INFERRED, "dev_matched.tsv"), INFERRED[::-1], (54, 6, 9)),
    "mnli_mm": (pairs(MNLI, INFERRED, "dev_mismatched.tsv"), INFERRED[::-1], (54, 6, 9)),
    "qqp": (
        pairs(["id", "question1", "question2", "is_duplicate"], ["0", "1"]),
        ["not_duplicate", "duplicate"],
        (54, 6, 9),
    ),
    "ag_news": (ag_news, ["World", "Sports", "Business", "Sci/Tech"], (54, 6, 9)),
    "dbpedia": (dbpedia, None, (70, 14, 15)),
    "hatexplain": (hatexplain, ["hatespeech", "normal", "offensive"], (60, 9, 8)),
    "movies": (eraser(["NEG", "POS"]), ["negative", "positive"], (60, 9, 8)),
    "multirc": (eraser(["False", "True"]), ["wrong", "right"], (60, 9, 8)),
    "imdb": (imdb, ["negative", "positive"], (54, 6, 9)),
    "conll2003": (conll, ["B-MISC", "I-MISC", "O"], (60, 9, 8)),
    "squad": (squad, [], (54, 6, 9)),
}


@pytest.mark.parametrize("name", SETS)
def test_task_reads_the_folder_of_its_files(make, tmp_path, name):
    write, labels, counts = SETS[name]
    write(tmp_path)
    task = read_config(find_config("task", name))
    settings = {**task["data"], "dir": str(tmp_path)}
    settings["files"] = Files(**settings["files"])
    data = make(**settings)
    assert tuple(len(split) for split in data.splits.values()) == counts
    if labels is None:
        assert (len(data.labels), data.labels[0], data.labels[13]) == (14, "Company", "WrittenWork")
    else:
        assert data.labels == labels
    made = data.make_task(task["model"]["metric"])
    test = data.splits["test"]
    scores = made.scores(test)
    for batch in data.test_dataloader():
        rows = len(batch.input_ids) if made.head.reads_tokens else len(batch)
        scores.update(torch.randn(rows, made.outputs), batch)
    assert made.metric in scores.compute()
    assert len(scores.examples()) == counts[2]


def test_text_and_labels_are_the_right_columns(make, tmp_path):
    mrpc(tmp_path)
    task = read_config(find_config("task", "mrpc"))["data"]
    data = make(**{**task, "dir": str(tmp_path), "files": Files(**task["files"])})
    split = data.splits["test"]
    assert split.texts == [(a, b) for _, a, b in each(8, 70)]
    assert split.labels == [i % 2 for i, *_ in each(8, 70)]


def test_headline_and_description_are_one_text(make, tmp_path):
    ag_news(tmp_path)
    task = read_config(find_config("task", "ag_news"))["data"]
    data = make(**{**task, "dir": str(tmp_path), "files": Files(**task["files"])})
    assert data.splits["test"].texts[0] == (f"Title, 60 {each(1, 60)[0][1]}",)


def test_own_files_are_looked_up_in_the_folder(make, tmp_path):
    (tmp_path / "sub").mkdir()
    write_csv(tmp_path / "sub" / "train.csv", rows(120))
    elsewhere = write_csv(tmp_path / "test.csv", rows(7, start=200))
    # the files of a task do not count where a user names others
    data = make(
        dir=str(tmp_path / "sub"), train="train.csv", test=elsewhere, files=Files("none.tsv")
    )
    assert [len(split) for split in data.splits.values()] == [108, 12, 7]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset": "imdb", "dir": "d"}, "which files of d to read is not known.*--data.train"),
        ({"files": Files("train.jsonl", test="t.jsonl")}, "train.jsonl, t.jsonl with --data.dir"),
        ({"dir": "d", "test": "t.csv"}, "no data to train on"),
        ({"dir": "d", "train": "a.csv", "dataset": "imdb"}, "both given"),
    ],
)
def test_places_that_do_not_fit(options, says):
    with pytest.raises(UserError, match=says):
        TextData(**options)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"trian": ["label", "text"]}, "unknown file in files.columns 'trian': did you mean 'trai"),
        ({"train": ["label", "text", "id"]}, "a.tsv: every row has fewer fields than .* 3: name"),
        ({"test": ["label", "text"]}, r"a.jsonl has no header that files.columns.test could"),
    ],
)
def test_columns_that_no_file_has(make, tmp_path, columns, says):
    (tmp_path / "a.tsv").write_text("pos\tfine\nneg\tdull\n")
    (tmp_path / "a.jsonl").write_text('{"label": "pos", "text": "so so"}\n')
    with pytest.raises(UserError, match=says):
        make(dir=str(tmp_path), files=Files("a.tsv", test="a.jsonl", columns=columns)).setup()


def test_classes_are_named_by_their_numbers(make, tmp_path):
    write_csv(tmp_path / "a.csv", [{**row, "label": i % 2} for i, row in enumerate(rows(40))])
    assert make(dir=str(tmp_path), files=Files("a.csv", classes={0: "no", 1: "yes"})).labels == [
        "no",
        "yes",
    ]
    with pytest.raises(UserError, match=r"files.classes \{True: 'bad'\} cannot be used"):
        Files("a.csv", classes={True: "bad"})


def test_value_without_a_class(make, tmp_path):
    write_csv(tmp_path / "a.csv", [{"text": "a", "label": 1}, {"text": "b", "label": 3}])
    files = Files("a.csv", classes={"1": "one", "2": "two"})
    with pytest.raises(UserError, match=r"a.csv, row 2: '3' in column 'label' is none of .* 1, 2"):
        make(dir=str(tmp_path), files=files).setup()


def test_hub_rows_without_text_are_left_out_and_said(make, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    (tmp_path / "set").mkdir()
    lines = pd.DataFrame([*rows(60), {"text": " ", "label": "pos"}, {"text": None, "label": "neg"}])
    lines.to_parquet(tmp_path / "set" / "train.parquet")
    data = make(dataset=str(tmp_path / "set"))
    assert sum(len(split) for split in data.splits.values()) == 60
    assert "(train): 2 rows without text were removed" in caplog.text


@pytest.mark.parametrize("named", [True, False])
def test_hub_rows_without_a_label_are_left_out_and_said(make, tmp_path, monkeypatch, caplog, named):
    """-1 of a class with a name, which annotators did not agree on; None of others."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    (tmp_path / "set").mkdir()
    bare = -1 if named else None
    lines = [{**row, "label": bare if i < 3 else i % 2} for i, row in enumerate(rows(63))]
    kind = datasets.ClassLabel(names=["no", "yes"]) if named else datasets.Value("int64")
    features = datasets.Features(text=datasets.Value("string"), label=kind)
    table = datasets.Dataset.from_list(lines, features=features)
    table.to_parquet(str(tmp_path / "set" / "train.parquet"))
    data = make(dataset=str(tmp_path / "set"))
    assert sum(len(split) for split in data.splits.values()) == 60
    assert data.labels == (["no", "yes"] if named else ["0", "1"])
    assert "(train): 3 rows without label were removed" in caplog.text


def test_class_weights(make, tmp_path):
    lines = [{**row, "label": "rare" if i % 4 == 0 else "often"} for i, row in enumerate(rows(80))]
    path = write_csv(tmp_path / "a.csv", lines)
    balanced = make(train=path, class_weights="balanced")
    # often comes first: half the rows' weight over three quarters of them
    assert balanced.make_task("accuracy").class_weights == pytest.approx([2 / 3, 2])
    given = make(train=path, class_weights=[1.0, 5.0])
    assert given.make_task("accuracy").class_weights == [1.0, 5.0]
    prints = {data.fingerprint() for data in (make(train=path), balanced, given)}
    assert len(prints) == 3
    with pytest.raises(UserError, match="a positive number for each of the 2 classes often, rare"):
        make(train=path, class_weights=[1.0]).make_task("accuracy")
    with pytest.raises(UserError, match="class_weights are for classification"):
        make(train=path, class_weights="balanced", task="regression", label="label").make_task(
            "pearson"
        )
