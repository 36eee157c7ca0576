from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.synthetic import grid, record
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.verdict import verdict
from tokendrop.themes import LIGHT

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    runs = [replace(run, notes=[f"cut {EVIL}"], details={"words": EVIL}) for run in grid()]
    return write_report(tmp_path_factory.mktemp("report"), runs).path.read_text(encoding="utf-8")


VOID = {"meta", "img", "source", "input", "link", "br", "hr"}


class Sources(HTMLParser):
    """Every place that a browser would load something from, all tags, and whether they balance."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data"}:
                self.found.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read(page: str) -> Sources:
    """A page that is balanced and loads nothing."""
    sources = Sources()
    sources.feed(page)
    sources.close()
    assert not sources.open
    assert len(set(sources.ids)) == len(sources.ids)
    assert {link.removeprefix("#") for link in sources.links} <= set(sources.ids)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources.found)
    assert not {"script", "link", "iframe"} & set(sources.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    return sources


def test_the_page_holds_everything_itself(page: str) -> None:
    # four figures of the task, and the training of each of its methods
    assert len(read(page).found) == 4 + 4


def test_the_page_names_every_run_and_escapes(page: str) -> None:
    for run in grid():
        assert run.method in page
        assert run.operating_point in page
    assert EVIL not in page
    assert "cut &lt;script&gt;" in page


def test_the_page_is_for_light_dark_and_phones(page: str) -> None:
    pictures = [base64.b64decode(source.split(",")[1]).decode() for source in read(page).found]
    for text in (page, *pictures):
        assert text.count("prefers-color-scheme: dark") == 1
    # every colour of a figure has another one in the dark
    for picture in pictures:
        drawn = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", picture.split("@media")[0]))
        assert drawn <= set(LIGHT.colors)
    assert 'name="viewport"' in page


def test_the_page_says_where_numbers_come_from(page: str) -> None:
    for fact in ("torch 2.13.0", "0123abc", "2 cores", "tokendrop compare", "learning_rate"):
        assert fact in page


def test_a_report_of_runs_without_training(tmp_path: Path) -> None:
    path = write_report(tmp_path, [record(stages=[], train_seconds=0.0)]).path
    headings = read(path.read_text(encoding="utf-8")).headings
    assert not {"Training", "Where the training time went"} & set(headings)


def test_the_fastest_near_dense_is_named() -> None:
    text = verdict(
        [
            record(value=0.80),
            record("a", "slow", value=0.795, flops=1.5, clock=1.3),
            record("b", "near", value=0.785, flops=2.0, clock=1.8),
            record("c", "far", value=0.60, flops=9.0, clock=8.0),
        ]
    )
    assert text[0].startswith(
        "On reviews the dense model reaches 80.00 % accuracy on the 1,066 rows"
    )
    assert text[1] == (
        "Within 1 point of it the fastest is a (slow), 0.50 points below dense (within the "
        "standard error of 1.2 points): 1.30x the rows per second as measured, 1.50x fewer FLOPs; "
        "within 2 points the fastest is b (near), 1.50 points below dense: 1.80x the rows per "
        "second as measured, 2.00x fewer FLOPs."
    )
    assert len(text) == 3


def test_when_none_qualifies_it_says_so() -> None:
    (_, text, _) = verdict([record(value=0.8), record("m", "p", value=0.7, flops=3, clock=3)])
    assert text == (
        "Within 1 and within 2 points of it no point is faster on the clock by more than the "
        "noise, and no point saves FLOPs."
    )


def test_clock_and_flops_may_disagree() -> None:
    runs = [
        record(value=0.8),
        record("a", "p", value=0.8, flops=1.2, clock=1.5),
        record("b", "q", value=0.8, flops=1.9, clock=1.1),
    ]
    (_, text, _) = verdict(runs)
    assert "the fastest on the clock is a (p), level with dense (within the" in text
    assert "the fewest FLOPs has b (q), level with dense (within the" in text
    assert text.endswith("1.90x fewer.")


def test_a_gain_within_the_noise_is_no_gain() -> None:
    # the records' noise is 2 %
    (_, text, _) = verdict([record(value=0.8), record("m", "p", value=0.8, flops=1.5, clock=1.015)])
    assert "no point is faster on the clock by more than the noise" in text
    assert "1.50x fewer" in text


def test_a_loss_of_exactly_the_budget_is_within_it() -> None:
    (_, text, _) = verdict(
        [
            record(value=0.83),
            record("m", "p", value=0.82, flops=1.5, clock=1.5),
            record("n", "q", value=0.81, flops=1.6, clock=1.6),
        ]
    )
    assert "m (p), 1.00 points below dense" in text


def test_without_dense_it_compares_nothing() -> None:
    text = verdict([record("m", "p", flops=2.0)])
    assert text[0] == "On reviews the dense model has not run, so nothing can be compared."


def test_each_task_has_its_own_verdict() -> None:
    text = verdict(grid() + grid("other"))
    assert sum(sentence.startswith("On ") for sentence in text) == 2


def test_one_seed_is_said_with_the_resolution() -> None:
    assert verdict(grid())[-1] == (
        "One seed only: one row of 1,066 is 0.09 points, the standard error of one accuracy is "
        "about 1.2 points, and differences of that size are not significant."
    )
    assert "3 seeds" in verdict(grid(seeds=(0, 1, 2)))[-1]
    assert "provisional" in verdict(grid(seeds=(0, 1))[:-1])[-1]


def test_standard_error_is_of_the_dense_model_where_it_ran() -> None:
    runs = [record(value=0.5, examples_eval=100), record("m", "p", value=1.0, examples_eval=100)]
    assert "about 5.0 points" in verdict(runs[::-1])[-1]


@given(
    st.floats(0.3, 0.9),
    st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(0.5, 4), st.floats(0.5, 4)), max_size=6),
)
def test_the_verdict_never_names_a_point_that_loses_more_than_it_says(
    dense: float, others: list[tuple[float, float, float]]
) -> None:
    runs = [record(value=dense)] + [
        record("m", f"p{i}", value=dense + change, flops=flops, clock=clock)
        for i, (change, flops, clock) in enumerate(others)
    ]
    (sentence,) = [text for text in verdict(runs) if text.startswith("Within")]
    near, _, far = sentence.partition("; within 2 points")
    claims = [(1, near), (2, far)] if far else [(1, near), (2, near)]
    for budget, text in claims:
        for number in re.findall(r"m \(p(\d+)\)", text):
            change, flops, clock = others[int(number)]
            assert change >= -0.01 * budget - 1e-8
            assert max(flops, clock) > 1
    for change, flops, clock in others:
        if change >= 0 and (flops > 1 or clock > 1.03):
            assert all("m (p" in text for _, text in claims)
