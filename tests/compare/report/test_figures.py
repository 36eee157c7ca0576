from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.compare.synthetic import grid, record
from tokendrop.compare.report.figures import drawings, write_figures
from tokendrop.compare.results.records import Record
from tokendrop.themes import DARK, LIGHT, Theme


def svg(name: str, runs: list[Record], theme: Theme = LIGHT) -> str:
    buffer = BytesIO()
    drawings(runs)[name](buffer, theme)
    return buffer.getvalue().decode()


def test_figures_are_png_files_of_a_readable_size(tmp_path: Path) -> None:
    paths = write_figures(tmp_path, grid())
    assert set(paths) == {
        *("trade_off_flops", "trade_off_throughput", "trade_off_latency"),
        *("kept_tokens", "training"),
    }
    for name, path in paths.items():
        assert path == tmp_path / "figures" / f"{name}.png"
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 900
        assert height >= 500


def test_the_same_records_give_the_same_picture() -> None:
    assert svg("trade_off_flops", grid()) == svg("trade_off_flops", grid())


@pytest.mark.parametrize("name", ["trade_off_flops", "trade_off_throughput", "trade_off_latency"])
def test_every_operating_point_is_named_and_no_name_covers_another(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    drawings(grid())[name](BytesIO(), LIGHT)
    (axes,) = drawn[0].axes
    assert {text.get_text() for text in axes.texts} == {
        run.operating_point for run in grid() if run.method != "dense"
    }
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(box.x0 >= frame.x0 and box.x1 <= frame.x1 for box in boxes)


def test_one_panel_per_task() -> None:
    runs = grid() + grid("other")
    assert svg("trade_off_flops", runs).count('id="axes_') == 2
    assert svg("kept_tokens", runs).count('id="axes_') == 2


def test_dark_figures_have_dark_paper() -> None:
    assert DARK.background in svg("kept_tokens", grid(), DARK)
    assert LIGHT.background not in svg("kept_tokens", grid(), DARK)


def test_without_curves_there_is_no_training_figure() -> None:
    assert "training" not in drawings([replace(run, stages=[]) for run in grid()])


@pytest.mark.parametrize(
    "runs",
    [
        [record()],
        [record("m", "p")],
        [record(), record("m", "p"), record("m", "q")],
        [record(), *(record(f"m{i}", "p", flops=1 + i / 7, value=0.7) for i in range(8))],
    ],
    ids=["dense alone", "no dense", "all equal", "more methods than colours"],
)
def test_odd_comparisons_are_drawn(runs: list[Record]) -> None:
    for name, draw in drawings(runs).items():
        if name not in {"trade_off_throughput", "trade_off_latency"}:
            draw(BytesIO(), LIGHT)
