"""Files as a user has them: alone in a folder that Python finds, outside the package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def put_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that writes a module into an empty folder on the path, and gives the folder."""
    written = []

    def put(module: str, source: str) -> Path:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        written.append(module)
        return tmp_path

    yield put
    for module in written:
        sys.modules.pop(module, None)
