"""The commit that a record names is that of what ran."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tokendrop.measure.provenance import commit_of

COMMIT = re.compile(r"[0-9a-f]{40}")


def git(folder: Path, *words: str) -> None:
    somebody = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *somebody, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The packages' source tree in miniature."""
    for name in ("tokendrop/engine.py", "baselines/first_k.py", "docs/study.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("as it was")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "all")
    return tmp_path


def test_settings_data_and_methods_of_ones_own_change_nothing(checkout: Path) -> None:
    (checkout / "mine.yaml").write_text("tasks: [own]")
    (checkout / "my_method.py").write_text("class Mine: ...")
    assert COMMIT.fullmatch(commit_of(checkout) or "")


@pytest.mark.parametrize("file", ["tokendrop/engine.py", "baselines/new.py", "docs/study.md"])
def test_what_is_in_no_commit_is_told(checkout: Path, file: str) -> None:
    (checkout / file).write_text("changed")
    assert COMMIT.fullmatch((commit_of(checkout) or "").removesuffix("+"))
    assert (commit_of(checkout) or "").endswith("+")


def test_a_project_around_the_installed_package_is_not_its_source(checkout: Path) -> None:
    installed = checkout / ".venv" / "lib" / "site-packages"
    (installed / "tokendrop").mkdir(parents=True)
    (installed / "tokendrop" / "engine.py").write_text("as it was")
    assert commit_of(installed) is None


def test_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
