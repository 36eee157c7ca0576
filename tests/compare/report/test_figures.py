from __future__ import annotations

import errno
import random
import struct
import warnings
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.compare.synthetic import grid, record
from tokendrop.compare.report.canvas import save
from tokendrop.compare.report.figures import drawings, write_figures
from tokendrop.compare.report.looks import Look, looks_of
from tokendrop.compare.results.records import Record
from tokendrop.themes import DARK, LIGHT, Theme

pytestmark = pytest.mark.usefixtures("drawn")


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


def crowded(number: int) -> list[Record]:
    """Points close together, each with bars over two seeds."""
    draw = random.Random(number)
    runs = [record(value=0.8, seed=seed) for seed in (0, 1)]
    for i in range(number):
        value, flops = 0.8 - 0.05 * draw.random(), 1 + 2 * draw.random()
        for seed, apart in ((0, -1), (1, 1)):
            changes = {"value": value + 0.003 * apart, "flops": flops + 0.05 * apart}
            runs.append(record(f"method{i % 4}", f"point {i}", seed=seed, **changes))
    return runs


@pytest.mark.parametrize("runs", [grid(), crowded(8), crowded(20)], ids=["demo", "8", "20"])
def test_every_operating_point_is_named_and_no_name_covers_another_or_a_bar(
    runs: list[Record], figures: list[Figure]
) -> None:
    drawings(runs)["trade_off_flops"](BytesIO(), LIGHT)
    (axes,) = figures[0].axes
    names = [text for text in axes.texts if text.get_text()]
    assert {text.get_text() for text in names} == {
        run.operating_point for run in runs if run.method != "dense"
    }
    boxes = [text.get_window_extent() for text in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(box.x0 >= frame.x0 and box.x1 <= frame.x1 for box in boxes)
    for bars in (bars for bars in axes.collections if isinstance(bars, LineCollection)):
        for start, end in map(axes.transData.transform, bars.get_segments()):
            on_bar = [start + step * (end - start) for step in np.linspace(0, 1, 50)]
            assert not any(box.contains(*place) for box in boxes for place in on_bar)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What is drawn from now on, which is not written."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


def test_a_stage_of_one_epoch_has_a_marker_and_no_stage_name_covers_another(
    figures: list[Figure],
) -> None:
    stages = [
        {"name": name, "epochs": epochs, "seconds": 1.0, "flops": 1e9, "curve": curve(epochs)}
        for name, epochs in (("fine_tune", 9), ("search_for_a_configuration", 1), ("retrain", 1))
    ]
    drawings([record(stages=stages)])["training"](BytesIO(), LIGHT)
    (axes,) = figures[0].axes
    alone = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in alone] == [10, 11]
    assert all(line.get_marker() == "o" and line.get_markersize() >= 8 for line in alone)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 3
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def curve(epochs: int) -> list[dict[str, object]]:
    return [{"epoch": e, "metrics": {"accuracy": 0.7}} for e in range(1, epochs + 1)]


def test_a_method_has_one_colour_in_every_report() -> None:
    def looks(*methods: str) -> dict[str, Look]:
        return looks_of([record(method) for method in methods], LIGHT)

    few, many = (
        looks("dact_bert", "power_bert"),
        looks("adapler", "power_bert", "mine", "dact_bert"),
    )
    assert all(many[method] == few[method] for method in few)
    assert looks("mine")["mine"] == looks("dense", "mine")["mine"]
    assert looks_of([record("power_bert")], DARK)["power_bert"][0] in DARK.methods
    # others keep out of the way of those that are known, and of each other
    crowd = [f"m{i}" for i in range(len(LIGHT.methods) - 2)]
    found = looks("dense", "dact_bert", "power_bert", *crowd)
    assert len({color for color, _ in found.values()}) == len(LIGHT.methods) + 1
    assert len(set(looks(*(f"m{i}" for i in range(40))).values())) == 40
    two = [record(), record("longer", details={"reference": True})]
    assert {color for color, _ in looks_of(two, LIGHT).values()} == {LIGHT.text}


def test_methods_of_one_colour_differ_in_more_than_the_marker(figures: list[Figure]) -> None:
    shared = ("adapler", "random_drop"), ("power_bert", "patience_exit"), ("dense", "longer")
    longer = record("longer", "p", details={"reference": True}, flops=1.2)
    names = [name for pair in shared[:2] for name in pair]
    runs = [record(), longer, *(record(name, "p", flops=2.0 + i) for i, name in enumerate(names))]
    drawings(runs)["trade_off_flops"](BytesIO(), LIGHT)
    (figure,) = figures
    lines: dict[str, Any] = {
        str(line.get_label()): line for line in figure.legends[0].legend_handles
    }
    for one, other in ((lines[one], lines[other]) for one, other in shared):
        assert one.get_color() == other.get_color()
        assert one.is_dashed() < other.is_dashed()
        assert one.get_markerfacecolor() == one.get_color() != other.get_markerfacecolor()


def test_a_legend_has_room_for_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    runs = [record(), record("m" * 90, "_p", flops=2.0), record("m" * 90, "q", flops=3.0)]
    drawn = drawings(runs)
    drawn["training"](BytesIO(), LIGHT)
    names = [text.get_text() for text in figures[0].axes[1].get_legend().get_texts()]
    assert names == ["_p", "q"]
    drawn["kept_tokens"](BytesIO(), LIGHT)
    figures[1].draw_without_rendering()
    box = figures[1].legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figures[1].bbox.width


def test_long_names_cover_nothing_and_lines_of_a_method_differ(figures: list[Figure]) -> None:
    long = "a method with a name of many words that say what it does"
    runs = [record(long, f"point {i:02}", flops=1 + i, task=long) for i in range(10)]
    # on the other task the method has fewer points, which look as they do here
    runs += [record(long, run.operating_point, task=f"{long}, too") for run in runs[7:]]
    drawn = drawings(runs)
    for name in ("training", "kept_tokens"):
        drawn[name](BytesIO(), LIGHT)
        figure = figures.pop()
        figure.draw_without_rendering()
        titles = [text.get_window_extent() for text in figure.findobj(_is_title)]
        assert not any(one.overlaps(other) for one, other in combinations(titles, 2))
        for axes in figure.axes:
            if legend := axes.get_legend():
                assert legend.get_window_extent().y1 < axes.get_window_extent().y0
        styles: dict[str, set[str]] = {}
        for line in (line for axes in figure.axes for line in axes.lines):
            if "point" in (label := str(line.get_label())):
                look: Any = line
                style = look._dash_pattern, look.get_fillstyle(), look.get_markerfacecolor()
                styles.setdefault(label, set()).add(repr(style))
        assert len(styles) == len(set.union(*styles.values())) == 10


def _is_title(artist: Artist) -> bool:
    return isinstance(artist, Text) and artist.get_text().startswith("a method")


def test_a_name_for_which_there_is_no_room_is_left_out(figures: list[Figure]) -> None:
    runs = [record(point=f"{i} {'w' * 30}", method="m", flops=2 + i / 100) for i in range(16)]
    drawings(runs)["trade_off_flops"](BytesIO(), LIGHT)
    (axes,) = figures[0].axes
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert 0 < len(boxes) < 16
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_letters_that_no_font_has_are_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokendrop.themes.FONTS", ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawings([record("方法")])["training"](BytesIO(), LIGHT)
    assert [line for line in caplog.messages if "font" in line] == [
        "figures show boxes for letters that no font of this machine has: install one, "
        "e.g. Noto Sans CJK, and write the report again"
    ]


def test_a_full_disk_leaves_the_figure_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(_: Figure, file: Path, **__: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", torn)
    place = tmp_path / "a.png"
    place.write_bytes(b"whole")
    with pytest.raises(OSError, match=r"a\.png"):
        save(lambda theme: Figure(), place, LIGHT)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.png": b"whole"}


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
