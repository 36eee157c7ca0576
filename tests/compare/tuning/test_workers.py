"""What goes wrong on a worker is told as if it had gone wrong here."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import ray

from tokendrop.cli import main
from tokendrop.compare.executors.worker import outcome_of


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
