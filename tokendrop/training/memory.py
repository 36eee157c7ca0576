"""Memory that was freed and that the process still holds."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

from lightning import Callback, LightningModule, Trainer


class FreedMemory(Callback):
    """Hands freed memory back to the system before each validation, where the C library is glibc.

    Batches are as long as their rows, so hardly a tensor fits where one of the batch before was. On
    a processor the heap grows by such holes for hours, to several times what is in use, and of
    itself glibc gives back only what lies at the heap's end.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if sys.platform == "linux":
            with suppress(AttributeError):  # of another C library
                ctypes.CDLL(None).malloc_trim(0)
