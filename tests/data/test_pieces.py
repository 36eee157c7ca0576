"""Files are read a piece at a time: wherever pieces end, rows and errors are those of the whole."""

import json
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import as_dict, rows, write_csv
from tokendrop.data import cells
from tokendrop.data.cells import Column, columns_of, loose
from tokendrop.data.json_parts import json_parts
from tokendrop.data.lazy import Made
from tokendrop.data.local import Files
from tokendrop.data.rows import read_classes, read_numbers
from tokendrop.data.sources import read_file
from tokendrop.errors import UserError


@contextmanager
def pieces_of(size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "PIECE", size)
        yield


def outcome(file, reader=read_classes, columns=None):
    """All that is known of the rows, or why they were refused."""
    try:
        found = reader(read_file(str(file), columns), ["text"], "label")
    except UserError as error:
        return str(error)
    return list(found.texts), list(found.labels), list(found.numbers)


texts = st.text(st.sampled_from('ab"\t\n ,;é\u2028\0'), min_size=1, max_size=8)
values = st.sampled_from(["pos", "neg", "", None, 0, 1, 2.0, 0.5, True, 2**70, [], ["a"], {"a": 1}])
odd_rows = st.lists(st.tuples(texts | values, values), min_size=1, max_size=9)


@given(odd_rows, st.integers(1, 5), st.sampled_from([read_classes, read_numbers]))
def test_objects_of_lines(tmp_path_factory, lines, size, reader):
    file = tmp_path_factory.mktemp("pieces") / "a.jsonl"
    objects = [{"text": text, "label": label} for text, label in lines]
    file.write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")
    with pieces_of(size):
        found = outcome(file, reader)
    assert found == outcome(file, reader)
    file.with_suffix(".json").write_text(json.dumps(objects))
    whole = outcome(file.with_suffix(".json"), reader)
    assert found == (whole.replace(".json", ".jsonl", 1) if isinstance(whole, str) else whole)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=9), st.integers(1, 5), st.data())
def test_quoted_and_ragged_tables(tmp_path_factory, lines, size, data):
    file = tmp_path_factory.mktemp("pieces") / data.draw(st.sampled_from(["a.csv", "a.tsv"]))
    pd.DataFrame(lines, columns=["text", "label"]).to_csv(
        file, index=False, sep="," if file.suffix == ".csv" else "\t"
    )
    if data.draw(st.booleans()):  # a line of another number of fields
        written = file.read_text(encoding="utf-8").split("\n")
        written.insert(data.draw(st.integers(1, len(written))), data.draw(st.text("a,\t")))
        file.write_text("\n".join(written), encoding="utf-8")
    columns = data.draw(st.sampled_from([None, ["text", "label"], ["text", "text"]]))
    with pieces_of(size):
        found = outcome(file, columns=columns)
    whole = outcome(file, columns=columns)
    # of two faults another one may be the first
    assert found == whole or (isinstance(found, str) and isinstance(whole, str))


COLUMNS = {
    "whole numbers": [0, 1, 0, 1, 0],
    "a gap in a later piece": [0, 1, 0, 1, None],
    "whole numbers with a gap that stay whole": pd.array([0, 1, 0, 1, None], "Int64"),
    "truth with a gap": [True, False, True, False, None],
    "categories": pd.Categorical(["pos", "neg", "pos", "neg", "pos"]),
    "bytes": [b"pos", b"neg", b"pos", b"neg", b"pos"],
    "lists": [["a"], ["b"], ["a"], ["b"], []],
    "times": pd.date_range("2026", periods=5),
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("group", [2, None])
def test_parquet_has_the_cells_of_a_data_frame(tmp_path, column, size, group):
    frame = pd.DataFrame({"text": ["a", "b", None, "d", "e"], "label": COLUMNS[column], "n": 1})
    frame.set_index("n").to_parquet(tmp_path / "a.parquet", row_group_size=group)
    with pieces_of(size):
        found = as_dict(read_file(str(tmp_path / "a.parquet")))
    assert list(found) == ["text", "label"]
    wanted = pd.read_parquet(tmp_path / "a.parquet")["label"].tolist()
    assert list(map(type, found["label"])) == list(map(type, wanted))
    assert str(found["label"]) == str(wanted)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([0, 1, 0, 1.0, None], [0.0, 1.0, 0.0, 1.0, None]),
        ([0, 1, 0, 1, "a"], [0, 1, 0, 1, "a"]),
        ([0, 1, 0, 1, True], [0, 1, 0, 1, True]),
        ([1, 2, 3, 4, 2**70], [1, 2, 3, 4, 2**70]),
        (["a", "\0b", "\ud83d", {"b": None}, [1.0]], ["a", "\0b", "\ud83d", {"b": None}, [1.0]]),
    ],
)
def test_a_column_of_json_has_one_kind_of_number(tmp_path, given, read):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"a": one}) + "\n" for one in given))
    with pieces_of(2):
        found = list(read_file(str(tmp_path / "a.jsonl"))["a"])
    assert found == read
    assert list(map(type, found)) == list(map(type, read))


def test_fields_that_first_occur_in_a_later_piece(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b", "label": 1}\n{"more": 2}\n')
    with pieces_of(1):
        found = as_dict(read_file(str(tmp_path / "a.jsonl")))
    assert found == {
        "text": ["a", "b", None],
        "label": [None, 1.0, None],
        "more": [None, None, 2.0],
    }


FINE = [f"film {i},{i % 2}" for i in range(20)]


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("a.csv", ["text,label", *FINE, "a,b,1"], "line 22"),
        ("a.csv", ["text,label", *FINE, " ,1", ",0"], r"row 21: empty text .*\(2 such rows"),
        ("a.csv", ["text,label", *FINE, "a,"], "row 21: no label"),
        ("a.csv", ["text,label", *FINE, "a"], "row 21: no label"),
        ("a.csv", ["text,label", *FINE, '"a,1'], "EOF inside string starting at row 21"),
        ("a.csv", ["text,label", *FINE, "\udce9,1"], r"line 22: not UTF-8 \(byte 0xe9\)"),
        ("a.tsv", ["text\tlabel", *(one.replace(",", "\t") for one in FINE), "a\tb\t1"], "line 22"),
        ("a.jsonl", ['{"text": "a", "label": 1}'] * 20 + ["{"], "line 21: Expecting"),
        ("a.jsonl", ['{"text": "a", "label": 1}'] * 20 + ["7"], "line 21 is not an object"),
        ("a.jsonl", ['{"text": "a", "label": 1}'] * 20 + ['{"text": [1]}'], "row 21: .* a list"),
    ],
)
def test_the_row_of_a_fault_in_a_later_piece(tmp_path, name, lines, says):
    file = tmp_path / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    with pieces_of(3), pytest.raises(UserError, match=f"{name}.*{says}"):
        read_classes(read_file(str(file)), ["text"], "label")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_separators_and_encodings(tmp_path, mark, encoding, suffix):
    frame = pd.DataFrame({"text": [f'sö {i}\n"{i}"' for i in range(9)], "label": [0, 1, 0] * 3})
    mark = mark if suffix == ".csv" else "\t"
    frame.to_csv(tmp_path / f"a{suffix}", sep=mark, encoding=encoding, index=False)
    with pieces_of(2):
        found = read_classes(read_file(str(tmp_path / f"a{suffix}")), ["text"], "label")
    assert [text for (text,) in found.texts] == frame["text"].tolist()
    assert found.labels == list(map(str, frame["label"]))


def test_torn_rows_of_a_published_file(tmp_path, make):
    lines = [f"{i}\t{row['text']}\t{i % 2}" for i, row in enumerate(rows(60))]
    lines[31:31] = ["90\tis the film", "so good\t1"]
    (tmp_path / "train.tsv").write_text("\n".join(["id\ttext\tlabel", *lines]) + "\n")
    with pieces_of(7):
        data = make(dir=str(tmp_path), files=Files(train="train.tsv"))
        assert sum(map(len, data.splits.values())) == 60


def test_pieces_decide_nothing(tmp_path, make):
    file = write_csv(tmp_path / "a.csv", rows(120))
    whole = make(train=file)
    with pieces_of(7):
        data = make(train=file)
        data.setup()
        assert data.fingerprint() == whole.fingerprint()
        for name, split in data.splits.items():
            assert split.texts == whole.splits[name].texts
            assert split.texts[-1] == whole.splits[name].texts[-1]


def test_rows_are_in_a_file_of_the_cache_that_no_kill_can_leave(tmp_path, make):
    make(train=write_csv(tmp_path / "a.csv", rows(60))).setup()
    assert list((tmp_path / "cache" / "tables").iterdir()) == []


@pytest.mark.parametrize(("most", "folder"), [(2000, "tables"), (200_000, "tokens")])
def test_a_full_disk_is_one_line(tmp_path, make, most, folder):
    resource = pytest.importorskip("resource")
    short = [{"text": "a so " * (i % 200) + f"a {i}", "label": i % 2} for i in range(800)]
    file = write_csv(tmp_path / "a.csv", short if folder == "tables" else short[:300])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(UserError, match=rf"cache folder \S*{folder} .*File too large.*: make"):
            make(train=file, max_length=500).setup()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache" / folder).iterdir()) == []


# -- entries that are made when they are asked for ----------------------------------------------


def columns(parts):
    """The same cells in batches of other sizes: numbers, and anything."""
    table = pa.concat_tables([pa.table({"a": pa.array(part, pa.int64())}) for part in parts])
    anything = [(number, [number], None, "x")[number % 4] for part in parts for number in part]
    return [
        (columns_of(table)[0][1], table["a"].to_pylist()),
        (loose(["a"], ([one] for one in anything), None)[0][1], anything),
    ]


@given(st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=4), st.data())
def test_lazy_sequences_are_sequences(parts, data):
    count = sum(map(len, parts))
    chosen = data.draw(st.lists(st.integers(0, count - 1) if count else st.nothing()).map(sorted))
    again = data.draw(st.lists(st.integers(0, len(chosen) - 1)).map(sorted)) if chosen else []
    with pieces_of(3):
        for column, plain in columns(parts):
            for made, wanted in [
                (column, plain),
                (column.take(np.array(chosen, np.intp)), [plain[i] for i in chosen]),
                (
                    Made(lambda *row: row, column, range(count))
                    .take(np.array(chosen, np.intp))
                    .take(np.array(again, np.intp)),
                    [(plain[chosen[i]], chosen[i]) for i in again],
                ),
            ]:
                ends = data.draw(st.slices(len(wanted)))
                assert len(made) == len(wanted)
                assert list(made) == wanted
                assert made[ends] == wanted[ends]
                assert [made[i] for i in range(-len(wanted), len(wanted))] == 2 * wanted
                with pytest.raises(IndexError):
                    made[len(wanted)]


def test_rows_asked_for_one_by_one_are_right_wherever_they_lie():
    batch = pa.record_batch({"a": list(range(9000))})
    column = Column([batch.slice(start, 100) for start in range(0, 9000, 100)], decoded)
    order = np.random.default_rng(0).permutation(9000).tolist()
    assert [column[row] for row in order] == order


def decoded(batch):
    return batch.column(0).to_pylist()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values, st.integers(0, 4))
def test_parts_of_json_are_its_text(value, depth):
    assert "".join(json_parts(value, depth)) == json.dumps(value, sort_keys=True)


def test_a_long_sequence_is_a_list():
    long = Made(lambda n: (n, "é"), range(2500))
    found = "".join(json_parts([{"b": [long], "a": 1}], 3))
    assert found == json.dumps([{"b": [list(long)], "a": 1}], sort_keys=True)
