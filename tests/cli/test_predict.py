"""``tokendrop predict``: files of any size, one line after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tokendrop
from tests.cli.test_cli import complaint
from tests.models.test_model import TEXTS, model_of, tokenizer
from tokendrop.cli import main
from tokendrop.models import answering
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import MAX_TOKENS, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("predict") / "model"
    model_of(PowerBert(configuration=[4, 3, 2])).save_pretrained(place)
    return str(place)


def answers(
    folder: str, file: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> list[dict[str, Any]]:
    words = ["predict", "--checkpoint", folder, "--file", str(file), "--json", *more]
    assert main(words) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_line_has_its_answer_however_the_file_is_cut(
    folder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "CHUNK", 3)
    texts = [TEXTS[number % len(TEXTS)] for number in range(8)]
    lines = [*texts[:4], "", "  ", *texts[4:], ""]
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    found = answers(folder, file, capsys, "--batch-size", "2")
    assert [one["label"] is None for one in found] == [not line.strip() for line in lines]
    expected = tokendrop.load(folder).predict(texts)
    mine = [one for one in found if one["label"] is not None]
    assert [one["tokens"] for one in mine] == [one.tokens for one in expected]
    assert [one["token_depth"] for one in mine] == [one.token_depth for one in expected]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_table_is_answered_row_by_row(
    suffix: str, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [TEXTS[0], "a tab\tin a\nfilm", None, TEXTS[1]]
    frame = pd.DataFrame({"review": texts, "other": [5, 6, 7, 8]})
    file = tmp_path / f"new.{suffix}"
    if suffix in ("csv", "tsv"):
        frame.to_csv(file, index=False, sep="\t" if suffix == "tsv" else ",")
    elif suffix == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_json(file, orient="records", lines=suffix == "jsonl")
    found = answers(folder, file, capsys, "--column", "review")
    assert [one["label"] is None for one in found] == [False, False, True, False]
    expected = tokendrop.load(folder).predict([text for text in texts if text])
    mine = [one for one in found if one["label"] is not None]
    assert [one["tokens"] for one in mine] == [one.tokens for one in expected]
    out = tmp_path / "answers.jsonl"
    words = ["predict", "--checkpoint", folder, "--file", str(file), "--column", "review"]
    assert main([*words, "--out", str(out)]) == 0
    assert [json.loads(line)["tokens"] for line in out.read_text().splitlines()] == [
        one["tokens"] for one in found
    ]


def test_two_columns_of_a_table_are_pairs(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.csv"
    pd.DataFrame({"one": TEXTS[:2], "other": TEXTS[1::-1]}).to_csv(file, index=False)
    found = answers(folder, file, capsys, "--column", "one", "--column", "other")
    expected = tokendrop.load(folder).predict(list(zip(TEXTS[:2], TEXTS[1::-1], strict=True)))
    assert [one["tokens"] for one in found] == [one.tokens for one in expected]


def test_only_a_line_feed_ends_a_line(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffa film\u2028with\x0ctwo\x85parts\r\nanother one".encode())
    assert len(answers(folder, file, capsys)) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_read_as_data_in_it_are(
    encoding: str, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, wide = tmp_path / "plain.txt", tmp_path / "wide.txt"
    # of the bytes of some characters one is a line feed
    text = "the plot \u0a0a \u010a is thin\r\n\nbut we laughed a\u2028lots !"
    plain.write_bytes(text.encode())
    mark = "" if encoding == "utf-16" else "\ufeff"
    wide.write_bytes(f"{mark}{text}".encode(encoding))
    found = answers(folder, wide, capsys)
    assert [one["label"] is None for one in found] == [False, True, False]
    assert found == answers(folder, plain, capsys)
    words = ["predict", "--checkpoint", folder, "--file", str(wide)]
    wide.write_bytes("\ufefffine\n".encode("utf-16-le") + b"\x00\xdc")
    assert f"{wide} begins as UTF-16 and is not that (" in complaint(capsys, *words)
    wide.write_bytes(text.encode("utf-16-le"))  # without its mark
    assert "iconv -f UTF-16LE -t UTF-8 wide.txt" in complaint(capsys, *words)
    wide.write_bytes(text.encode("utf-16-be"))
    assert "iconv -f UTF-16BE -t UTF-8 wide.txt" in complaint(capsys, *words)


@pytest.mark.parametrize("texts", [[], ["the plot is thin"]])
def test_a_file_without_texts_is_told(
    texts: list[str], folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.txt"
    file.touch()
    assert main(["predict", "--checkpoint", folder, "--json", "--file", str(file), *texts]) == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == len(texts)
    assert said.err == f"{file} holds no texts\n"


def test_what_cannot_be_answered_is_named_by_its_line(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--checkpoint", folder, "--file"]
    file = tmp_path / "texts.txt"
    assert "No such file" in complaint(capsys, *words, str(tmp_path / "none.txt"))
    assert "Is a directory" in complaint(capsys, *words, str(tmp_path))
    assert "No such file" in complaint(capsys, *words, str(tmp_path / "none.csv"))
    (table := tmp_path / "new.JSONL").write_text('{"review": "fine"}\n{"review": ["a", 1]}\n')
    assert "'text': choose from review; set it with --column" in complaint(
        capsys, *words, str(table)
    )
    (twice := tmp_path / "twice.csv").write_text("text,text\nfine,not fine\n")
    assert "several columns are called 'text'" in complaint(capsys, *words, str(twice))
    line = complaint(capsys, *words, str(table), "--column", "review")
    assert "new.JSONL, row 2: column 'review' holds a list, not a text" in line
    (table := tmp_path / "new.parquet").write_text("fine\n")
    assert "not a readable .parquet file" in complaint(capsys, *words, str(table))
    file.write_bytes(b"fine\nnot f\xfcr us\n")
    assert "line 2 of" in (line := complaint(capsys, *words, str(file)))
    assert "not UTF-8 (byte 0xfc); if it is Windows-1252 or Latin-1" in line
    file.write_text("fine\n\none\ttwo\tthree\n")
    assert "text 3 has 3 parts" in complaint(capsys, *words, str(file))
    assert "--batch-size 0" in complaint(capsys, *words, str(file), "--batch-size", "0")


def test_an_interrupted_run_goes_on_behind_its_answers(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out, whole = (tmp_path / name for name in ("texts.txt", "out.jsonl", "whole.jsonl"))
    lines = [TEXTS[number % len(TEXTS)] for number in range(9)]
    lines[3] = ""
    file.write_text("".join(f"{line}\n" for line in lines))
    asked = ["predict", "--checkpoint", folder, "--file", str(file), "--batch-size", "1", "--out"]
    assert main([*asked, str(whole)]) == 0
    wanted = whole.read_bytes()
    assert len(wanted.splitlines()) == len(lines)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(f"{whole} holds 9 answers\n")
    cut = [0, 1, len(wanted.splitlines()[0]) + 1, wanted.find(b"null") + 200, len(wanted)]
    for size in cut:  # killed here: in a line, behind one, behind a blank one, at the end
        out.write_bytes(wanted[:size])
        assert main([*asked, str(out)]) == 0
        assert out.read_bytes() == wanted
    assert "out.jsonl holds 9 answers, 9 of them of an earlier run" in capsys.readouterr().err
    out.write_bytes(b"".join(wanted.splitlines(True)[1:5]))
    assert "is not what this model says" in complaint(capsys, *asked, str(out))
    out.write_bytes(wanted + wanted)
    assert "is not what this model says" in complaint(capsys, *asked, str(out))
    out.write_text("my notes\n")
    assert "is not what this model says" in complaint(capsys, *asked, str(out))
    assert out.read_text() == "my notes\n", "somebody else's file is left alone"
    assert "--out" in complaint(capsys, *asked[:3], "a text", "--out", str(out))
    # a file has no folders
    assert f"write to the folder {file}" in complaint(capsys, *asked, str(file / "out.jsonl"))
    file.write_text("".join(f"{line}\n" for line in [*lines, "a\tb\tc"]))
    assert "text 10 has 3 parts" in complaint(capsys, *asked, str(whole))


def test_numbers_are_written_as_they_are_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone: Any = tiny_model("bert", num_labels=1)
    with torch.no_grad():
        backbone.classifier.weight.mul_(1e-4)
        backbone.classifier.bias.zero_()
    folder = str(tmp_path / "model")
    TokenDropModel(backbone, Dense(), tokenizer(), MAX_TOKENS).save_pretrained(folder)
    file, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    file.write_text("".join(f"{text}\n" for text in TEXTS))
    asked = ["predict", "--checkpoint", folder, "--file", str(file), "--batch-size", "1", "--out"]
    asked.append(str(out))
    assert main(asked) == 0
    told = [json.loads(line) for line in out.read_text().splitlines()]
    values = [one["value"] for one in told]
    assert values == [one.value for one in tokendrop.load(folder).predict(TEXTS, 1)]
    assert 0 < max(map(abs, values)) < 1e-2
    assert len(set(values)) == len(TEXTS), "none of them is lost to rounding"
    capsys.readouterr()

    def goes_on(**changes: Any) -> str:
        last = json.dumps(told[1] | changes)
        out.write_text(f"{json.dumps(told[0])}\n{last}\n")
        return "" if main(asked) == 0 else capsys.readouterr().err

    assert goes_on() == ""
    assert json.loads(out.read_text().splitlines()[-1]) == told[-1]
    assert goes_on(value=values[1] * (1 + 1e-5)) == ""  # as another batch would round it
    assert "line 2 is not what this model says" in goes_on(value=values[1] * 1.5)
    # answers of earlier versions have three decimals and no other number
    told[1].pop("value")
    assert goes_on(label=f"{values[1]:.3f}") == ""
    assert "line 2 is not what this model says" in goes_on(label="0.500")


def test_a_dataset_is_read_as_it_comes(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file, out = (tmp_path / name for name in ("data", "texts.txt", "out.jsonl"))
    data.mkdir()
    texts = [TEXTS[number % len(TEXTS)] for number in range(6)]
    rows = pd.DataFrame({"text": [*texts[:3], None, *texts[3:]], "stars": 3})
    rows.to_parquet(data / "test.parquet")
    file.write_text("".join(f"{line}\n" for line in [*texts[:3], "", *texts[3:]]))
    # rounding depends on what is beside a row
    one = ["--batch-size", "1"]
    words = ["predict", "--checkpoint", folder, "--dataset"]
    asked = [*words, str(data), "--out", str(out), *one]
    assert main(asked) == 0
    wanted = out.read_bytes()
    found = [json.loads(line) for line in wanted.splitlines()]
    assert found == answers(folder, file, capsys, *one)
    out.write_bytes(wanted[: len(wanted) // 2])
    assert main(asked) == 0
    assert out.read_bytes() == wanted
    assert "column 'stars' holds a int" in complaint(capsys, *asked, "--column", "stars")
    assert "'label'" in complaint(capsys, *asked, "--column", "label")
    assert "'train'" in complaint(capsys, *words, f"{data}::train")
    line = complaint(capsys, *words, str(tmp_path / "none"))
    assert "cannot load the dataset" in line
    assert "--file" in line
    assert "leave one of them out" in complaint(capsys, *asked, "--file", str(file))
    assert "--column text is of" in complaint(capsys, *words[:3], "a text", "--column", "text")
    twice = complaint(capsys, *asked, "--column", "text", "--column", "text")
    assert "--column names 'text' twice: name it once, or another" in twice
