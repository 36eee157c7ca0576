"""Whatever ends a command, it says how to go on, closes what it holds, and has the usual code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tokendrop.cli.predict
import tokendrop.cli.report
import tokendrop.cli.search
from tokendrop.cli import main
from tokendrop.holding import hold

ALONE = """
import os, signal, sys, time, types, weakref
from pathlib import Path
from tokendrop.cli import main
from tokendrop.holding import hold

place = Path(sys.argv[1])
for command in ("search", "report"):
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        # what a shell starts in the background ignores the first
        before = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
        signal.signal(number, before)

        def works(_):
            with hold(place):
                if command == "report":
                    os.kill(os.getpid(), number)
                else:
                    # while an object is cleared away, where Python drops what is raised
                    gone = {1}
                    watch = weakref.ref(gone, lambda _: os.kill(os.getpid(), number))
                    del gone
                time.sleep(5)

        sys.modules[f"tokendrop.cli.{command}"] = types.SimpleNamespace(run=works)
        print(command, name, main([command]))
        assert signal.getsignal(number) == before
        assert [path.name for path in place.iterdir()] == [".lock"]
"""


def test_a_signal_ends_a_command(tmp_path: Path) -> None:
    # in a process of its own: a test before may have left signals to a library
    words = [sys.executable, "-c", ALONE, str(tmp_path)]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        f"{command} {name} {code}"
        for command in ("search", "report")
        for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129))
    ]
    assert ended.stderr.splitlines() == [
        f"tokendrop: interrupted; the same command {said}"
        for said in ("continues from here", "begins again")
        for _ in range(3)
    ]
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


def test_answers_in_a_file_are_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tokendrop.cli.predict, "run", interrupted)
    for words in (["--out", "answers.jsonl"], ["--out=answers.jsonl", "--file", "texts.txt"]):
        assert main(["predict", *words]) == 130
        assert "continues from here" in capsys.readouterr().err
    assert main(["predict", "a text"]) == 130
    assert "begins again" in capsys.readouterr().err
