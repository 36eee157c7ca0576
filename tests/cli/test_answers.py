"""``predict --out``: what it goes on behind, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_cli import complaint
from tests.models.test_model import TEXTS, model_of
from tokendrop.cli import main
from tokendrop.cli.answers import as_json, write_answers
from tokendrop.errors import UserError
from tokendrop.holding import one_writer
from tokendrop.models.placing import Dtype
from tokendrop.models.prediction import Prediction
from tokendrop.reducers.power_bert import PowerBert

TOKENS = ["[CLS]", "a", "b", "c", "[SEP]"]
SURE = Prediction("good", {"bad": 4e-4, "good": 0.9996}, TOKENS, [3, 0, 1, 2, 3], 3, 3)
NUMBER = replace(SURE, label="0.123", probabilities={}, value=0.123)
TAGS = replace(SURE, label="O O B O O", probabilities={})
SURER = replace(SURE, probabilities={"bad": 4e-5, "good": 0.99996})
NEARLY = replace(SURE, probabilities={"bad": 4.5e-4, "good": 0.99955})
ROUNDED = replace(SURE, probabilities={"bad": 4.0001e-4, "good": 0.99959999})
SWAPPED = replace(SURE, token_depth=[3, 0, 2, 2, 3])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command with a model and five texts, without the file for the answers."""
    place = tmp_path_factory.mktemp("answers")
    model_of(PowerBert(configuration=[4, 3, 2])).save_pretrained(place / "model")
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in [*TEXTS, TEXTS[0]]))
    words = ["predict", "--checkpoint", str(place / "model"), "--file", str(place / "texts.txt")]
    return [*words, "--out"]


def goes_on(file: Path, there: list[Prediction | None], dtype: Dtype = "fp32") -> bool:
    """Whether one that answers with the last of these to everything goes on behind the first."""
    file.write_text("".join(f"{as_json(one)}\n" for one in there[:-1]))
    before, texts = file.read_bytes(), iter(["a b c"] * len(there))
    try:
        write_answers(file, texts, lambda asked, _: (there[-1] for _ in asked), dtype)
    except UserError:
        assert file.read_bytes() == before
        return False
    return True


@pytest.mark.parametrize(
    ("told", "said", "in_fp32", "in_bf16"),
    [
        (SURE, ROUNDED, True, True),
        (SURE, NEARLY, False, True),
        (SURE, SURER, False, False),
        (SURE, SWAPPED, False, True),
        (SURE, replace(SURE, token_depth=[3, 3, 3, 2, 3]), False, False),
        (SURE, replace(SURE, token_depth=[], row_depth=0), False, False),
        (SURE, replace(SURE, row_depth=2), False, False),
        (SURE, replace(SURE, label="bad"), False, False),
        (NUMBER, replace(NUMBER, value=0.1231), True, True),
        (NUMBER, replace(NUMBER, value=0.15), False, True),
        (NUMBER, replace(NUMBER, value=0.35), False, False),
        (TAGS, replace(TAGS, label="O O I O O"), False, True),
        (TAGS, replace(TAGS, label="O I I O O"), False, False),
        (None, SURE, False, False),
        (None, None, True, True),
    ],
)
def test_another_models_answers_are_told_from_rounding(
    told: Prediction | None, said: Prediction | None, in_fp32: bool, in_bf16: bool, tmp_path: Path
) -> None:
    assert goes_on(tmp_path / "out", [told, said], "fp32") == in_fp32
    assert goes_on(tmp_path / "out", [told, said], "bf16") == in_bf16


def test_blank_lines_at_the_end_do_not_hide_another_model(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def answered(sure: Prediction) -> tuple[int, int]:
        texts = iter(["a b c", "", "", "a b c"])
        return write_answers(
            out, texts, lambda asked, _: (sure if text else None for text in asked), "fp32"
        )

    assert answered(SURE) == (0, 4)
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(True)[:3]))
    with pytest.raises(UserError, match="line 1 is not what this model says"):
        answered(SURER)
    assert answered(SURE) == (3, 4)
    assert out.read_bytes() == whole


def test_another_model_is_refused(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.jsonl")
    assert main([*asked, out]) == 0
    for words in (["--batch-size", "1"], ["--batch-size", "3"]):
        assert main([*asked, out, *words]) == 0
    other = tmp_path / "other"
    model_of(PowerBert(configuration=[4, 4, 2])).save_pretrained(other)
    words = [*asked, out, "--checkpoint", str(other)]
    assert "is not what this model says" in complaint(capsys, *words)


def test_the_texts_are_not_written_over(
    asked: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts, link = tmp_path / "texts.txt", tmp_path / "link.txt"
    texts.write_text("the plot is thin")  # without its end, as a line that was cut
    link.symlink_to(texts)
    for out in (texts, link):
        line = complaint(capsys, *asked[:3], "--file", str(texts), "--out", str(out))
        assert "is the file with the texts" in line
    code = [sys.executable, "-m", "tokendrop.cli", *asked[:3], "--file", "-", "--out", str(texts)]
    with texts.open() as given:
        done = subprocess.run(code, stdin=given, capture_output=True, text=True, check=False)
    assert "is the file with the texts" in done.stderr
    assert texts.read_text() == "the plot is thin"


def test_two_do_not_write_one_file(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out.jsonl"
    with one_writer(out):
        assert f"{out} is in use by" in complaint(capsys, *asked, str(out))
    assert main([*asked, str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
    "content", ["my notes", '{"label": "good", "text": "mine"}', "7", '{"id": ']
)
def test_a_line_of_somebody_elses_is_no_torn_answer(
    content: str, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    for before in ("", f"{as_json(SURE)}\n"):
        out.write_text(before + content)
        assert "none of our answers" in complaint(capsys, *asked, str(out))
        assert out.read_text() == before + content


def test_what_is_no_file_is_refused_at_once(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/full"), tmp_path):
        line = complaint(capsys, *asked, str(place))
        assert f"--out {place} is not a regular file" in line
