from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.compare.synthetic import grid, record
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.summary import print_summary, write_summary
from tokendrop.themes import LIGHT

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def page(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    runs = [replace(run, notes=[f"cut {EVIL}"], details={"words": EVIL}) for run in grid()]
    return write_report(tmp_path_factory.mktemp("report"), runs).path.read_text(encoding="utf-8")


def test_what_was_timed_on_another_machine_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epyc = {"cpu": "EPYC", "gpus": []}
    runs = [
        record(provenance={"hardware": epyc, "threads": 1}),
        record("a", "p", provenance={"hardware": epyc, "threads": 1}),
        record("a", "q", provenance={"hardware": epyc, "threads": 2}),
        record("b", "p", provenance={"hardware": {"cpu": "Xeon", "gpus": ["H200"]}}),
        record(task="films", provenance={"hardware": epyc, "threads": 1}),
    ]
    said = (
        "On reviews the clock ran on several machines (dense and a on EPYC, 1 thread; a on EPYC, "
        "2 threads; b on H200): hold its figures against each other only where the machine is the "
        "same."
    )
    print_summary(runs)
    for text in (
        capsys.readouterr().out,
        write_summary(tmp_path, runs).read_text(encoding="utf-8"),
        write_report(tmp_path, runs).path.read_text(encoding="utf-8"),
    ):
        assert said in " ".join(text.split())
        assert "films the clock" not in text
    twice = [*runs[:-1], *(replace(run, task="films") for run in runs[:-1])]
    assert said.replace("reviews", "films and reviews") in " ".join(
        write_summary(tmp_path, twice).read_text(encoding="utf-8").split()
    )


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


def test_names_that_people_chose_break_neither_the_tables_nor_a_figure(tmp_path: Path) -> None:
    odd = "a|b <script>alert(1)</script> $x_{$ [/red]"
    records = [record(), record(odd, point="p\nq", flops=2.0)]
    written = write_summary(tmp_path, records).read_text(encoding="utf-8")
    print_summary(records)
    assert "<script>" not in written
    rows = [line for line in written.splitlines() if line.startswith("| a\\|b")]
    assert any("p q" in row for row in rows)
