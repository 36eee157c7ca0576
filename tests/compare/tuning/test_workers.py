"""What goes wrong on a worker is told as if it had gone wrong here."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import ray

from tokendrop.cli import main
from tokendrop.compare.executors.worker import Place, outcome_of
from tokendrop.errors import UserError
from tokendrop.families import FAMILIES
from tokendrop.tasks import KINDS, kind_named


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (OSError(28, "No space left on device", "a/b"), "No space left on device (a/b)"),
        (SyntaxError("never closed", ("own.py", 3, 1, "(")), "own.py, line 3 cannot be read"),
    ],
)
def test_an_error_of_a_worker_is_one_line(
    cause: Exception,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ray.exceptions.RayTaskError("work", "", cause).as_instanceof_cause()
    monkeypatch.setattr(ray, "get", Mock(side_effect=error))
    monkeypatch.setattr("tokendrop.cli.compare.run", lambda _: outcome_of(ray, None, "a job"))
    assert main(["compare"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_worker_knows_the_families_and_kinds_that_a_script_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(
        "from tokendrop.families import Family\n"
        "from tokendrop.tasks import KINDS\n\n"
        "class Shelves(Family): ...\n\n"
        "class Prices(KINDS['regression']):\n"
        "    kind = 'prices'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shop = importlib.import_module("shop")
    monkeypatch.setitem(FAMILIES, "shelf", shop.Shelves())
    monkeypatch.setitem(KINDS, "prices", shop.Prices)
    bert = FAMILIES["bert"]
    place = Place.of_this_process(1, 0)

    def forget() -> None:
        del FAMILIES["shelf"], KINDS["prices"], sys.modules["shop"]
        sys.path.remove(str(tmp_path))

    forget()
    for _ in range(2):  # a worker does many jobs
        place.enter()
        assert type(FAMILIES["shelf"]).__name__ == "Shelves"
        assert kind_named("prices").__name__ == "Prices"
    assert FAMILIES["bert"] is bert
    forget()
    with pytest.raises(UserError, match=r"\(No module named 'shop'\): its module must lie on the"):
        replace(place, modules=[]).enter()
