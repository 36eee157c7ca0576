"""The scripts of tools/ say in one line what they cannot do, and never that it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def refused(script: str, *words: str, **settings: str) -> str:
    """The one line of a script that ends with 2."""
    ran = subprocess.run(
        ["bash", str(ROOT / "tools" / script), *words],
        env=os.environ | {"PYTHON": sys.executable} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    (line,) = ran.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("gpu_study.sh", ["one", "two"], "name one folder, not 2: tools/gpu_study.sh [OUT]"),
        ("gpu_check.sh", ["one", "two"], "name one folder, not one and two: tools/gpu_check.sh"),
        ("gpu_check.sh", ["--device"], "--device without a name: use cuda or cpu"),
        ("gpu_pack.sh", [], "name a folder for the pack: tools/gpu_pack.sh FOLDER"),
        ("gpu_pack.sh", ["--help"], "unknown option --help: tools/gpu_pack.sh FOLDER"),
    ],
)
def test_wrong_words_are_told_with_how_it_is_called(
    script: str, words: list[str], said: str
) -> None:
    assert refused(script, *words).startswith(said)


@pytest.mark.parametrize(("name", "value"), [("JOBS", "0"), ("JOBS", "all"), ("LIMIT", "9m")])
def test_a_study_of_no_processes_is_not_done(name: str, value: str, tmp_path: Path) -> None:
    said = refused("gpu_study.sh", str(tmp_path / "out"), **{name: value})
    assert said == f"{name} {value} is no number of them: use 1 or more"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        ("tasks: [mrpc", "cannot read"),
        ("tasks: [mrpc]", "is no comparison, for it has no methods"),
        ("methods: {dense: {reducer: Dense}}", "is no comparison, for it has no tasks"),
    ],
)
def test_a_study_of_no_comparison_is_named(content: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    if content is not None:
        file.write_text(content)
    line = refused("gpu_study.sh", str(tmp_path / "out"), CONFIG=str(file))
    assert line.startswith("CONFIG: ")
    assert str(file) in line
    assert said in line
