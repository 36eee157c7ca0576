"""Report, leaderboard and site as a reader sees them; ``make test-browser`` builds the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Open
from tests.compare.leaderboard.made import entries
from tests.compare.report.test_panels import saved
from tests.compare.synthetic import grid
from tokendrop.compare.leaderboard.page import write_page
from tokendrop.compare.report.page import write_report

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")
SITE = ROOT / "build" / "site"


def faults(page: Page) -> list[str]:
    found: list[str] = page.evaluate(FAULTS)
    return found


def assert_whole(path: Path, opened: Open, looks: dict[str, Any]) -> None:
    """Sound as it is opened, and with all that is folded shown."""
    with opened(path, **looks) as page:
        assert not faults(page)
        for folded in page.locator("summary").all():
            folded.click()
        assert not faults(page)


@pytest.fixture(scope="module")
def report(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = [*grid(seeds=(1, 2)), *grid("a_second_task_with_a_long_name", seeds=(1, 2))]
    made = [saved(folder, run, exits=True, drops=True, classes=True) for run in runs]
    with patch("tokendrop.compare.report.lengths.FEWEST", 2):
        return write_report(folder, made).path


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("leaderboard") / "leaderboard.html"
    write_page(path, entries())
    return path


def test_the_report_is_whole(report: Path, opened: Open, looks: dict[str, Any]) -> None:
    assert_whole(report, opened, looks)


def test_buttons_show_what_is_left_after_a_layer(report: Path, opened: Open) -> None:
    with opened(report) as page:
        page.add_style_tag(content=".words .t { transition: none !important }")
        words = page.locator(".words").first.locator(".t")

        def faint() -> list[bool]:
            shades = [word.evaluate("w => getComputedStyle(w).opacity") for word in words.all()]
            return [float(shade) < 0.5 for shade in shades]

        # " a" was dropped in the first layer, " slow" in the second
        page.get_by_text("after layer 1", exact=True).click()
        assert faint() == [False, True, False, False, False]
        page.get_by_text("after layer 2", exact=True).click()
        assert faint() == [False, True, True, False, False]


def test_the_leaderboard_is_whole(leaderboard: Path, opened: Open, looks: dict[str, Any]) -> None:
    assert_whole(leaderboard, opened, looks)


def column(page: Page, name: str) -> list[str]:
    cells = page.locator(f'tbody tr:not([hidden]) td[data-label="{name}"]')
    return [str(cell.get_attribute("data-key")) for cell in cells.all()]


def test_columns_sort_both_ways(leaderboard: Path, opened: Open, looks: dict[str, Any]) -> None:
    with opened(leaderboard, **looks) as page:
        flops = sorted(map(float, column(page, "FLOPs")), reverse=True)
        page.get_by_role("button", name="FLOPs", exact=True).click()
        assert list(map(float, column(page, "FLOPs"))) == flops
        page.get_by_role("button", name="FLOPs", exact=True).click()
        assert list(map(float, column(page, "FLOPs"))) == flops[::-1]
        page.get_by_role("button", name="Method", exact=True).click()
        methods = column(page, "Method")
        assert methods == sorted(methods)
        # dense has no difference to itself, which is neither the best nor the worst
        for _ in range(2):
            page.get_by_role("button", name="vs dense", exact=True).click()
            assert column(page, "vs dense")[-1] == ""
        # by what was spent, not by the number of trials
        page.get_by_role("button", name="Tuning", exact=True).click()
        assert column(page, "Tuning")[0] == "12.5"


def test_on_a_laptop_no_column_of_the_leaderboard_is_hidden(
    leaderboard: Path, opened: Open
) -> None:
    with opened(leaderboard, viewport={"width": 1280, "height": 800}) as page:
        table = page.locator(".scroll")
        assert table.evaluate("table => table.scrollWidth <= table.clientWidth")


def test_filters_and_fronts(leaderboard: Path, opened: Open) -> None:
    with opened(leaderboard) as page:
        whole = len(column(page, "Task"))
        page.locator("select[name=task]").select_option("films")
        assert set(column(page, "Task")) == {"films"}
        page.get_by_text("front by FLOPs").click()
        on_front = set(zip(column(page, "Method"), column(page, "FLOPs"), strict=True))
        assert on_front
        assert not {method for method, _ in on_front} & {"beaten", "dense in ONNX Runtime"}
        assert page.locator("#count").inner_text() == f"{len(on_front)} of {whole} rows"


@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "docs/concepts.html",
        "docs/reference/adapler.html",
        "docs/reference/reducers.html",
        "docs/study/index.html",
        "docs/study/leaderboard.html",
        "docs/performance.html",
        "docs/architecture.html",
    ],
)
def test_the_site_can_be_read_from_the_disk(path: str, opened: Open, looks: dict[str, Any]) -> None:
    assert SITE.is_dir(), "build the site first: make docs"
    with opened(SITE / path, **looks) as page:
        assert not faults(page)
        assert page.locator("h1").first.inner_text()


@pytest.mark.parametrize("path", ["index.html", "docs/study/index.html"])
def test_the_table_of_all_data_sets_fits_or_keeps_its_names_in_view(
    path: str, opened: Open, looks: dict[str, Any]
) -> None:
    with opened(SITE / path, **looks) as page:
        table = page.locator(".md-typeset__scrollwrap").first
        table.wait_for()
        width, needed = table.evaluate("node => [node.clientWidth, node.scrollWidth]")
        if looks["viewport"]["width"] >= 1280:
            assert needed <= width
        table.evaluate("node => { node.scrollLeft = node.scrollWidth; }")
        name = table.get_by_role("cell", name="AdapLeR").bounding_box()
        assert name is not None
        assert name["x"] >= 0


def test_the_site_is_searched_from_the_disk(opened: Open) -> None:
    with opened(SITE / "docs/study/index.html") as page:
        page.locator(".md-search__input").press_sequentially("retention vectors")
        found = page.locator(".md-search-result__item a").first
        found.click()
        page.wait_for_url("**/power_bert.html*")
        assert not faults(page)
