"""Stand-ins for drawing, which takes most of a report's time, where no figure is looked at."""

from __future__ import annotations

import base64
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

from matplotlib.figure import Figure

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


SAVE, LAY_OUT = Figure.savefig, Figure.draw_without_rendering


def undrawn() -> AbstractContextManager[object]:
    """Reports whose figures are a pixel each."""

    def pixel(_: Figure, target: Path | BytesIO, *, format: str, **_others: object) -> None:
        content = b"<svg/>" if format == "svg" else PIXEL
        target.write(content) if isinstance(target, BytesIO) else target.write_bytes(content)

    return patch.multiple(Figure, savefig=pixel, draw_without_rendering=lambda _: None)


def drawn() -> AbstractContextManager[object]:
    """Figures as they are, within :func:`undrawn`."""
    return patch.multiple(Figure, savefig=SAVE, draw_without_rendering=LAY_OUT)
