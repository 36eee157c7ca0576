"""How the figures look, on light and on dark paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.font_manager import fontManager

# usual ones of Linux, macOS and Windows, for letters that the first has not
FONTS = (
    *("Noto Sans CJK JP", "Droid Sans Fallback", "WenQuanYi Zen Hei"),
    *("Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic"),
)


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; the methods' are told apart with the common colour blindnesses."""

    text: str
    faint: str
    background: str
    methods: tuple[str, ...]

    @property
    def colors(self) -> tuple[str, ...]:
        """All of them, in the same order for every theme."""
        return (self.text, self.faint, self.background, *self.methods)

    def style(self) -> Any:
        """The matplotlib settings of a figure in these colours."""
        installed = set(fontManager.get_font_names())
        return {
            "axes.edgecolor": self.faint,
            "axes.facecolor": self.background,
            "axes.grid": True,
            "axes.labelcolor": self.text,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": self.text,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "figure.facecolor": self.background,
            "font.family": ["DejaVu Sans", *(font for font in FONTS if font in installed)],
            "font.size": 11,
            "grid.alpha": 0.35,
            "grid.color": self.faint,
            "legend.frameon": False,
            "legend.handlelength": 2.4,
            "lines.linewidth": 1.8,
            "savefig.dpi": 160,
            # the same numbers give the same bytes
            "svg.hashsalt": "tokendrop",
            "text.color": self.text,
            # a dollar in a name is no formula
            "text.parse_math": False,
            "xtick.color": self.text,
            "ytick.color": self.text,
        }


LIGHT = Theme(
    text="#22262b",
    faint="#c3c9d1",
    background="#ffffff",
    methods=(
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#cc79a7",
        "#56b4e9",
        "#a87900",
        "#6a51a3",
        "#882255",
        "#6b7a1e",
    ),
)
DARK = Theme(
    text="#e4e7eb",
    faint="#545c67",
    background="#1b1f24",
    methods=(
        "#4ea8e0",
        "#f5844c",
        "#2fc598",
        "#e79ac4",
        "#9ad6f7",
        "#e9b93f",
        "#ab98e0",
        "#d9739c",
        "#bccb5c",
    ),
)
