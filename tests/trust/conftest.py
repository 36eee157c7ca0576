"""Says at the end what was tried."""

from __future__ import annotations

from typing import Any

from tests.data.conftest import tokenizer  # noqa: F401
from tests.trust.trials import FULL, TRIED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FULL:
        terminalreporter.section("what was tried")
        for kind, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:>8,}  {kind}")
