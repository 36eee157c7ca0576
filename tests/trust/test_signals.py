"""Whatever ends a command, it says how to go on, closes what it holds, and has the usual code."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import tokendrop.cli.report
import tokendrop.cli.search
from tokendrop.cli import main
from tokendrop.holding import hold


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize(
    ("command", "said"), [("search", "continues from here"), ("report", "begins again")]
)
def test_a_signal_ends_a_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    said: str,
    name: str,
    code: int,
) -> None:
    number = getattr(signal, name)

    def works(_: object) -> None:
        with hold(tmp_path):
            os.kill(os.getpid(), number)
            time.sleep(5)

    monkeypatch.setattr(f"tokendrop.cli.{command}.run", works)
    # as Python starts, whatever the tests before have left
    begun = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, begun)
    try:
        assert main([command]) == code
        assert signal.getsignal(number) == begun
    finally:
        signal.signal(number, before)
    error = capsys.readouterr().err
    assert error == f"tokendrop: interrupted; the same command {said}\n"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with hold(tmp_path):
        pass


def test_a_signal_that_nohup_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(tokendrop.cli.report, "run", lambda _: os.kill(os.getpid(), signal.SIGHUP))
    try:
        assert main(["report"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_exit_that_a_library_makes_of_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exits(_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904

    monkeypatch.setattr(tokendrop.cli.search, "run", exits)
    assert main(["search"]) == 130
    assert "continues from here" in capsys.readouterr().err
