"""Ctrl-C, SIGTERM and SIGHUP end a command in the same orderly way."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

NAMES = ("SIGTERM", "SIGHUP")
AGAIN = 0.05  # seconds until what was lost is tried again


class Received:
    """Which signal ended a command."""

    number = int(signal.SIGINT)

    @property
    def exit_code(self) -> int:
        """As shells count."""
        return 128 + self.number


@contextmanager
def ended_by_signals() -> Iterator[Received]:
    """Make other requests to end what Ctrl-C is: a KeyboardInterrupt, which closes what is open.

    A signal that is ignored, as nohup has it, stays so.
    """
    received, before = Received(), {}

    def end(number: int, _: FrameType | None) -> NoReturn:
        received.number = number
        # closing takes a moment, in which the same request again must not tear anything
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            tell(unraisable)
            return
        # Python drops what is raised while it clears away an object, and the command would go on
        if received.number in before:
            signal.signal(received.number, end)
        timer = threading.Timer(AGAIN, _send, [received.number])
        timer.daemon = True
        timer.start()

    tell = sys.unraisablehook
    # only the main thread is told of signals
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = lost
        for number in (getattr(signal, name, None) for name in NAMES):
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield received
    finally:
        sys.unraisablehook = tell
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # which also ends a wait
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
