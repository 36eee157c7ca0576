"""Human rationales from ERASER's and HateXplain's files to marks of tokens."""

import json

import numpy as np
import pytest

from tests.data.conftest import WORDS, rows, write_csv
from tokendrop.data.local import Files
from tokendrop.data.rationales import with_documents, with_rationales
from tokendrop.data.rows import read_classes
from tokendrop.data.sources import Table, read_file
from tokendrop.errors import UserError
from tokendrop.tasks import IGNORED

DOC = "the plot is dull .\nbut the cast is 27 times great\n"


def evidence(start, end, doc="a.txt"):
    return {"docid": doc, "start_token": start, "end_token": end}


def annotation(spans, name="a.txt", label="NEG", **more):
    return {
        "annotation_id": name,
        "classification": label,
        "query": "is it good",
        "evidences": [[span] for span in spans],
        **more,
    }


def write_eraser(folder, annotations, name="train.jsonl"):
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "a.txt").write_text(DOC)
    (folder / name).write_text("\n".join(json.dumps(line) for line in annotations))
    return str(folder / name)


def filler(folder, count):
    """Annotations of other documents, to train on."""
    (folder / "docs").mkdir(exist_ok=True)
    for i in range(count):
        (folder / "docs" / f"f{i}.txt").write_text(" ".join(WORDS[: 3 + i]))
    return [annotation([], f"f{i}.txt", ("NEG", "POS")[i % 2]) for i in range(count)]


def test_evidence_marks_the_words_of_its_document(tmp_path):
    lines = [annotation([evidence(1, 4), evidence(3, 4), evidence(5, 5), evidence(9, 12)])]
    table = with_documents(read_file(write_eraser(tmp_path, lines)))
    assert table["document"][0] == DOC.split()
    marked = [w for w, m in zip(DOC.split(), table["rationale"][0], strict=True) if m]
    assert marked == ["plot", "is", "dull", "27", "times", "great"]


def test_rows_without_evidence_still_have_their_document(tmp_path):
    lines = [annotation([]), annotation([], "row 7", docids=["a.txt"])]
    table = with_documents(read_file(write_eraser(tmp_path, lines)))
    assert list(table["document"]) == [DOC.split()] * 2
    assert not any(table["rationale"][1])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (annotation([evidence(3, 40)]), "row 1: evidence from word 3 to 40 .* a.txt of 12 words"),
        (annotation([evidence(0, 1, "b.txt")]), "row 1: cannot read its document .*b.txt"),
        (
            annotation([evidence(0, 1), evidence(0, 1, "b.txt")]),
            r"row 1: it is about 2 documents \(a.txt, b.txt\)",
        ),
        (annotation([evidence("0", 2)]), r"row 1: its evidences .*'start_token': '0'"),
        (annotation([evidence(True, 2)]), "row 1: its evidences"),
        (annotation([evidence(0, 2.5)]), "row 1: its evidences"),
        (annotation([evidence(0, 1, 7)]), "row 1: its evidences"),
        (annotation([{"docid": "a.txt", "end_token": 3}]), "row 1: its evidences"),
        (annotation([["a.txt", 0, 3]]), "row 1: its evidences"),
        (annotation([]) | {"evidences": None}, r"row 1: its evidences \(None\)"),
        (annotation([]) | {"evidences": "[[]]"}, "row 1: its evidences"),
        (annotation([]) | {"evidences": {"a.txt": [0, 3]}}, "row 1: its evidences"),
        (annotation([], docids="a.txt"), "row 1: its docids .* not a list of names"),
        (annotation([], docids=[3]), r"row 1: its docids \(\[3\]\)"),
        (annotation([evidence(0, 1, "a\0b")]), "row 1: cannot read its document .*null"),
    ],
)
def test_annotations_that_cannot_be_used(tmp_path, line, says):
    with pytest.raises(UserError, match=says):
        with_documents(read_file(write_eraser(tmp_path, [line])))


def test_pieces_of_a_marked_word_are_marked_and_the_question_is_not(make, tmp_path):
    test = write_eraser(tmp_path, [annotation([evidence(1, 2), evidence(9, 10)])], "test.jsonl")
    train = write_eraser(tmp_path, filler(tmp_path, 12))
    files = Files(train, test=test, classes={"NEG": "negative", "POS": "positive"})
    options = {"text": ["query", "document"], "label": "classification", "rationale": "rationale"}
    data = make(dir=str(tmp_path), files=files, **options)
    split = data.splits["test"]
    (found,) = split.rationales
    # [CLS] is it good [SEP] the plot is dull . but the cast is 2 ##7 times great [SEP]
    assert len(split.input_ids[0]) == 5 + 13 + 1
    document = [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert found.tokens == [IGNORED] * 5 + document + [IGNORED]
    assert found.cut == 0
    assert not any(any(r.marks) for r in data.splits["train"].rationales)


def test_what_is_cut_is_counted(make, tmp_path, caplog):
    test = write_eraser(tmp_path, [annotation([evidence(1, 3), evidence(8, 11)])], "test.jsonl")
    train = write_eraser(tmp_path, filler(tmp_path, 12))
    files = Files(train, test=test)
    options = {"text": "document", "label": "classification", "rationale": "rationale"}
    data = make(dir=str(tmp_path), files=files, max_length=12, **options)
    # [CLS], ten tokens up to the first piece of 27, [SEP]: one marked word is behind the end
    (found,) = data.splits["test"].rationales
    assert found.tokens == [IGNORED, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, IGNORED]
    assert found.cut == 1
    assert "1 of 1 test" in caplog.text


def hatexplain(marks, words=("so", "very", "bad", "film")):
    return Table([("text", [list(words)]), ("label", ["dull"]), ("marks", [marks])], "a.jsonl")


def marks_of(table):
    read = read_classes(table, ["text"], "label")
    (found,) = with_rationales(read, table, ["text"], "marks").rationales
    return [int(mark) for mark in found.marks]


@pytest.mark.parametrize(
    ("marks", "majority"),
    [
        ([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0]], [0, 1, 1, 0]),
        ([[0, 1, 1, 0], [0, 0, 1, 1]], [0, 0, 1, 0]),  # half is no majority
        ([0, 1, 0, 0], [0, 1, 0, 0]),
        (np.array([np.array([1, 0, 0, 1])], dtype=object), [1, 0, 0, 1]),  # as Parquet has it
        ([], [0, 0, 0, 0]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_the_majority_of_annotators(marks, majority):
    assert marks_of(hatexplain(marks)) == majority


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ([[0, 1]], "has 2 marks but the text has 4 words"),
        ([0, 1, 2, 0], "has the mark 2"),
        ("bad", "holds a str, not a list"),
        ([[0, 1, 0, 0], None], "has None beside lists of annotators"),
        ([[[0], 1, 0, 0]], r"has the mark \[0\]"),
    ],
)
def test_marks_that_cannot_be_used(marks, says):
    with pytest.raises(UserError, match=f"a.jsonl, row 1: column 'marks' {says}"):
        marks_of(hatexplain(marks))


def test_only_some_files_have_rationales(make, tmp_path):
    own = [{**row, "why": [1] + [0] * (len(row["text"].split()) - 1)} for row in rows(9, 200)]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row) for row in own))
    train = write_csv(tmp_path / "train.csv", rows(60))
    options = {"train": train, "test": str(tmp_path / "test.jsonl")}
    data = make(**options, rationale="why", test_rows=4)
    assert data.splits["train"].rationales is None
    test = data.splits["test"]
    words = [rationale.words for rationale in test.rationales]
    assert words == [text.split() for (text,) in test.texts]
    assert all(1 in rationale.tokens for rationale in test.rationales)
    # rationales change no model: what was trained without them is found again
    assert data.fingerprint() == make(**options, test_rows=4).fingerprint()
    with pytest.raises(UserError, match="rationale is for classification"):
        make(**options, rationale="why", task="regression")
    with pytest.raises(UserError, match=r"column of rationales .*'whi': did you mean 'why'"):
        make(**options, rationale="whi").setup()


def test_a_text_that_is_a_number_or_missing_has_its_words():
    for text, marks, majority in ((1984, [1], [1]), (None, [], []), ("so bad", [0, 1], [0, 1])):
        table = Table(
            [("query", ["is it"]), ("text", [text]), ("label", ["dull"]), ("marks", [marks])], "a"
        )
        read = read_classes(table, ["query", "text"], "label")
        (found,) = with_rationales(read, table, ["query", "text"], "marks").rationales
        assert [int(mark) for mark in found.marks] == majority
