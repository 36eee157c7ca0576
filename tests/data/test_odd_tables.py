"""Tables as other programs write them: read as they were meant, or refused by row or line."""

import bz2
import csv
import gzip
import json
import lzma
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.conftest import as_dict, rows, write_csv
from tokendrop.data import TextData
from tokendrop.data.classes import class_names
from tokendrop.data.formats import is_quoted
from tokendrop.data.local import Files
from tokendrop.data.rows import read_classes, read_numbers
from tokendrop.data.sources import Table, read_file
from tokendrop.errors import UserError

HALF = "\ud83d"  # of a character beyond the first 65,536, as a cut string ends in it


def read(path, content, reader=read_classes):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return reader(read_file(str(path)), ["text"], "label")


def table(**columns):
    return Table(list(columns.items()), "rows.json")


cells = st.text(st.sampled_from('ab"\t\n ,'), max_size=8)


@settings(derandomize=True)
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=4),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_tabs_with_quotes_are_read_as_a_data_frame_wrote_them(tmp_path_factory, lines, quoting):
    file = tmp_path_factory.mktemp("quoted") / "a.tsv"
    written = pd.DataFrame([("all", 'said "so"'), *lines], columns=["label", "text"])
    written.to_csv(file, sep="\t", index=False, quoting=quoting)
    assert as_dict(read_file(str(file))) == written.to_dict("list")


@settings(derandomize=True)
@given(st.lists(st.text(st.sampled_from('ab" '), max_size=6), min_size=1, max_size=4))
def test_tabs_without_quotes_keep_every_sign(tmp_path_factory, texts):
    file = tmp_path_factory.mktemp("plain") / "a.tsv"
    lines = [f"{number}\t{text}" for number, text in enumerate(["a", *texts])]
    content = "\n".join(["label\ttext", *lines]) + "\n"
    file.write_text(content)
    if not is_quoted(content.encode()):  # else it is what a writer of quotes would have written
        assert list(read_file(str(file))["text"]) == ["a", *texts]


@pytest.mark.parametrize("text", ['"so', 'so"', 'a "b" c', '"a" b', '"a', '"a" and "b"', '"a"'])
def test_quotes_of_a_sentence_are_no_quotes_of_a_table(text):
    assert not is_quoted(f"text\tlabel\n{text}\t1\nfine\t0\n".encode())


def test_separator_is_not_looked_for_inside_of_quotes(tmp_path):
    assert read(tmp_path / "a.csv", '"text";label;"a, b"\nso, so;1;2\n').texts == [("so, so",)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,text,label\na,b,1\n", "several columns are called 'text'"),
        ("text,label,label\na,b,1\n", "several columns are called 'label'"),
        ("text,label\na,1\n".encode("utf-16-le"), "zero bytes.*iconv -f UTF-16LE"),
        ("text,label\na,1\n".encode("utf-16-be"), "zero bytes.*iconv -f UTF-16BE"),
        ("text,label\na,1\n".encode("utf-32"), "zero bytes.*iconv -f UTF-32 "),
        ("text,label\na,1\n".encode("utf-32"), "zero bytes.*iconv"),
        (gzip.compress(b"text,label\na,1\n", mtime=0), "compressed with gzip; unpack it"),
        (bz2.compress(b"text,label\na,1\n"), "compressed with bzip2; unpack it"),
        (lzma.compress(b"text,label\na,1\n"), "compressed with xz; unpack it"),
        (b"PK\3\4\0\0", "a zip archive, or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old spreadsheet"),
        ("text,label\nsch\u00f6n\0 so,1\n", r"zero bytes.*tr -d '\\000' < a.csv"),
        ("text,label\n\u597d\u7684,1\n".encode("utf-16-le"), "zero bytes.*iconv -f UTF-16LE"),
        ("text, label\na,1\n", "'label': did you mean ' label'. choose from ' label', text;"),
        ("\u2066text\u2069,label\na,1\n", r"choose from label, '\\u2066text\\u2069';"),
        ("id,,label\n1,a,1\n", "choose from '.*', id, label;"),
        ("text,label\nso, so,1\nall, in all,0\n", "more fields than its header.*quotes around"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, content, says):
    with pytest.raises(UserError, match=f"a.csv: .*{says}"):
        read(tmp_path / "a.csv", content)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "conll"])
def test_what_git_has_in_place_of_a_large_file(tmp_path, suffix):
    file = tmp_path / f"rows.{suffix}"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:9f\nsize 70123\n")
    kind = "token_classification" if suffix == "conll" else "classification"
    with pytest.raises(UserError, match=f"rows.{suffix} is a pointer of Git LFS.*git lfs pull"):
        TextData(train=str(file), task=kind).setup()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"data": [{"text": "a", "label": 1}]}', "the rows lie under 'data'.*that list alone"),
        ('{"text": {"0": "a"}, "label": {"0": 1}}', r"columns instead of rows.*orient='records'"),
        ('{"text": "a", "text": "b", "label": 1}\n', "line 1: .*two fields called 'text'"),
        ('{"text": "a", "label": 1}\n' + "[" * 99_999, "line 2: .*too deep inside each other"),
        (
            '{"text": "a", "label": ' + "[" * 300 + "]" * 300 + "}",
            "row 1: column 'label' holds a l",
        ),
        ('{"text": ["a", "b"], "label": ["x", "y"]}', "multi-label.*write one object per row"),
        ('{"text": {"body": "a"}, "label": 1}', "row 1: column 'text' holds a dict"),
        ('{"text": ["a", null], "label": 1}', "row 1: column 'text' holds a list"),
        (
            json.dumps({"text": f"a{HALF}", "label": 1}),
            r"row 1: .*'text' holds half.*\\ud83d",
        ),
        (json.dumps({"text": "a", "label": HALF}), r"row 1: half a character.* label in column"),
    ],
)
def test_json_that_cannot_be_used(tmp_path, content, says):
    with pytest.raises(UserError, match=f"a.jsonl.*{says}") as caught:
        read(tmp_path / "a.jsonl", content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", ["", "\n", "[]", "{}\n"])
def test_json_without_rows(tmp_path, content):
    with pytest.raises(UserError, match=r"a\.jsonl: no rows"):
        read(tmp_path / "a.jsonl", content)


@pytest.mark.parametrize("label", ["1_000", "nan", "inf", "1e99", "", "one", 10**400, None])
def test_amounts_that_are_none(label):
    with pytest.raises(UserError, match=r"row 2: .*'label'") as caught:
        read_numbers(table(text=["a", "b"], label=[1.5, label]), ["text"], "label")
    assert len(str(caught.value)) < 200


def test_damaged_parquet_is_refused(tmp_path):
    """Bytes anywhere in the file; what is not noticed must still be rows."""
    file = tmp_path / "a.parquet"
    pd.DataFrame(rows(20)).to_parquet(file)
    whole, chance = file.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read(file, bytes(damaged))
        except UserError:
            refused += 1
    assert refused > 100


def test_torn_rows_of_published_files_are_left_out_and_counted(tmp_path, make, caplog):
    lines = [f"{i}\t{row['text']}\t{i % 2}" for i, row in enumerate(rows(60))]
    lines[7:7] = ["90\tis the film", "so good\t1"]
    (tmp_path / "train.tsv").write_text("\n".join(["id\ttext\tlabel", *lines]) + "\n")
    data = make(dir=str(tmp_path), files=Files(train="train.tsv"))
    assert sum(map(len, data.splits.values())) == 60
    assert "2 rows with fewer fields" in caplog.text
    assert "the first is row 8" in caplog.text


@pytest.mark.parametrize("mark", ["-1", "-", ""])
@pytest.mark.parametrize("dev", [True, False])
def test_withheld_labels_are_not_reported(tmp_path, make, train, caplog, mark, dev):
    test = write_csv(tmp_path / "test.csv", [r | {"label": mark} for r in rows(9, 300)])
    given = {"dev": write_csv(tmp_path / "dev.csv", rows(7, 200))} if dev else {}
    splits = make(train=train, test=test, **given).splits
    reported = [text for (text,) in splits["test"].texts]
    assert reported == [row["text"] for row in rows(7, 200)] if dev else len(reported) == 12
    assert "all labels are withheld" in caplog.text


def test_a_class_that_is_trained_on_is_not_withheld(tmp_path, make):
    signed = [row | {"label": (-1, 1)[i % 2]} for i, row in enumerate(rows(60))]
    test = [row for row in signed if row["label"] == -1][:5]
    files = [write_csv(tmp_path / f"{i}.csv", lines) for i, lines in enumerate([signed, test])]
    assert len(make(train=files[0], test=files[1]).splits["test"]) == 5


def test_numbers_of_classes_may_have_decimals_in_one_file_only(tmp_path, make):
    given = [[r | {"label": f"{i % 3}{end}"} for i, r in enumerate(rows(60))] for end in (".0", "")]
    files = [write_csv(tmp_path / f"{i}.csv", lines) for i, lines in enumerate(given)]
    data = make(train=files[0], test=write_csv(tmp_path / "t.csv", given[1][:9]))
    assert data.labels == ["0.0", "1.0", "2.0"]
    assert data.splits["test"].labels == [0, 1, 2] * 3
    mixed = write_csv(tmp_path / "m.csv", [*given[0][:30], *given[1][30:]])
    with pytest.raises(UserError, match=r"m.csv: the number \d is written in several ways"):
        make(train=mixed).setup()


def test_amounts_as_classes_point_to_regression():
    amounts = table(text=[f"a {i}" for i in range(40)], label=[f"{i / 7:.3f}" for i in range(40)])
    many = read_classes(amounts, ["text"], "label")
    few = many.take(range(10))
    with pytest.raises(UserError, match=r"40 different numbers.*--data.task regression"):
        class_names({"train": many, "dev": few, "test": few}, None)
    with pytest.raises(UserError, match=r"does not occur .*--data.task regression"):
        class_names({"train": few, "dev": many, "test": few}, None)
