"""The evolutionary search: genomes never grow, nothing is evaluated twice, seeds decide."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.reducers.search.shared import check_shared_evaluation
from tokendrop.data.split import Split
from tokendrop.errors import UserError
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.length_adaptive.search.candidates import Candidates, draw_rows
from tokendrop.reducers.length_adaptive.search.front import Configuration, Front
from tokendrop.reducers.length_adaptive.search.run import search
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import CLASSES, MAX_TOKENS, tiny_model, tiny_rows

TASK = SequenceClassification([str(label) for label in range(CLASSES)])
SMALL = SearchSettings(generations=4, population=5, mutations=6, crossovers=6)


def split_of(count: int = 70) -> Split:
    draw = random.Random(3)
    rows = tiny_rows([draw.randint(2, MAX_TOKENS) for _ in range(count)])
    ids, types = [row.ids for row in rows], [row.types for row in rows]
    return Split([("",)] * count, ids, types, [row.label for row in rows], 0)


def model_of(reducer: Reducer, family: str = "bert") -> TokenDropModel:
    return TokenDropModel(tiny_model(family), reducer, None, MAX_TOKENS)  # type: ignore[arg-type]


SPLIT = split_of()


# -- evaluating ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert"])
@pytest.mark.parametrize("basis", ["absolute", "row"])
def test_shared_evaluation_is_the_plain_one(basis: str, family: str) -> None:
    check_shared_evaluation(
        lambda reducer: model_of(reducer, family), SPLIT, TASK, length_basis=basis
    )


def test_rows_are_drawn_once_and_the_same_for_every_seed() -> None:
    rows = draw_rows(SPLIT, 30)
    assert rows == draw_rows(SPLIT, 30)
    assert len(set(rows)) == 30
    assert len(draw_rows(SPLIT, 1000)) == len(SPLIT)


# -- the search ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> TokenDropModel:
    return model_of(LengthAdaptive(length_basis="row"))


@pytest.fixture(scope="module")
def searched(
    drawn: None, model: TokenDropModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Front, Path]:
    folder = tmp_path_factory.mktemp("search")
    return search(model, SPLIT, TASK, SMALL, folder), folder


def outcome(front: Front) -> list[tuple[Configuration, float]]:
    return [(point.configuration, point.score) for point in front.points]


def evaluated(folder: Path) -> list[Configuration]:
    (file,) = folder.glob("evaluated-*.jsonl")
    return [tuple(json.loads(line)["configuration"]) for line in file.read_text().splitlines()]


def test_the_front_dominates_the_constant_ratios(searched: tuple[Front, Path]) -> None:
    front = searched[0]
    assert len(front.history) == SMALL.generations + 1
    assert front.areas == sorted(front.areas)
    for point in [*front.constant, *front.evaluated]:
        assert any(p.score >= point.score and p.share <= point.share for p in front.points)
        assert all(a >= b for a, b in pairwise(point.configuration))
        assert front.reachable <= point.share <= 1


def test_no_configuration_is_evaluated_twice(searched: tuple[Front, Path]) -> None:
    front, folder = searched
    lines = evaluated(folder)
    assert len(set(lines)) == len(lines)
    assert set(lines) == {point.configuration for point in front.evaluated}


def test_it_writes_the_front_and_its_picture(searched: tuple[Front, Path]) -> None:
    front, folder = searched
    written = json.loads((folder / "front.json").read_text())
    assert [tuple(p["configuration"]) for p in written["front"]] == [g for g, _ in outcome(front)]
    assert written["settings"]["seed"] == 0
    assert written["search_seconds"] > 0
    assert written["search_flops"] > 0
    assert written["provenance"]["versions"]["torch"]
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_within_a_budget(searched: tuple[Front, Path]) -> None:
    front = searched[0]
    for budget in (front.reachable, 0.9, 1.0):
        point = front.at(budget)
        assert point.share <= budget
        within = [p.score for p in front.evaluated if p.share <= budget]
        assert point.score == max(within)


def test_a_seed_decides_the_front(
    model: TokenDropModel, searched: tuple[Front, Path], tmp_path: Path
) -> None:
    told: list[int] = []
    again = search(model, SPLIT, TASK, SMALL, tmp_path, advanced=told.append)
    assert outcome(again) == outcome(searched[0])
    assert again.areas == searched[0].areas
    # what is told adds up to all that was asked about, which is no more than was announced
    assert len(again.evaluated) <= sum(told) <= SMALL.configurations
    other = search(model, SPLIT, TASK, SearchSettings(4, 5, 6, 6, seed=1), tmp_path)
    assert {p.configuration for p in other.evaluated} != {p.configuration for p in again.evaluated}


@pytest.mark.parametrize("tail", ["", '{"configuration": [3', "\n\n"])
def test_an_interrupted_search_ends_as_an_undisturbed_one(
    model: TokenDropModel,
    searched: tuple[Front, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tail: str,
) -> None:
    whole = Candidates.scores
    calls: list[Configuration] = []

    def dies(self: Candidates, configurations: list[Configuration]) -> list[float]:
        if calls:
            raise KeyboardInterrupt
        calls.extend(configurations)
        return whole(self, configurations)

    monkeypatch.setattr(Candidates, "scores", dies)
    with pytest.raises(KeyboardInterrupt):
        search(model, SPLIT, TASK, SMALL, tmp_path)
    (file,) = tmp_path.glob("evaluated-*.jsonl")
    with file.open("a") as lines:
        lines.write(tail)

    def counts(self: Candidates, configurations: list[Configuration]) -> list[float]:
        assert not set(configurations) & set(calls)
        return whole(self, configurations)

    monkeypatch.setattr(Candidates, "scores", counts)
    front = search(model, SPLIT, TASK, SMALL, tmp_path)
    assert outcome(front) == outcome(searched[0])
    assert front.areas == searched[0].areas
    # layers that were shared with what was lost are run again, and counted once
    assert front.flops == pytest.approx(searched[0].flops, rel=1e-12)
    # a third time nothing is left to do
    monkeypatch.setattr(Candidates, "scores", dies)
    assert outcome(search(model, SPLIT, TASK, SMALL, tmp_path)) == outcome(front)


def test_another_model_or_other_rows_start_anew(tmp_path: Path) -> None:
    settings = SearchSettings(0, 2, 0, 0)
    for reducer in (LengthAdaptive(length_basis="row"), LengthAdaptive(length_basis="absolute")):
        search(model_of(reducer), SPLIT, TASK, settings, tmp_path)
    search(model_of(LengthAdaptive()), SPLIT, TASK, SearchSettings(0, 2, 0, 0, rows=20), tmp_path)
    assert len(list(tmp_path.glob("evaluated-*.jsonl"))) == 3


def test_a_model_so_small_that_nothing_new_exists_ends(tmp_path: Path) -> None:
    narrow = TokenDropModel(tiny_model("bert"), LengthAdaptive(), None, 3)  # type: ignore[arg-type]
    rows = tiny_rows([3, 2, 3])
    split = Split([("",)] * 3, [r.ids for r in rows], [r.types for r in rows], [0, 1, 2], 0)
    front = search(narrow, split, TASK, SMALL, tmp_path)
    assert front.reachable == 1


@pytest.mark.parametrize(
    ("make", "budget", "named"),
    [
        (lambda: LengthAdaptive(length_basis="row"), 0.0, "no share"),
        (lambda: LengthAdaptive(length_basis="row"), 1.5, "no share"),
        (lambda: LengthAdaptive(length_basis="row"), 0.2, r"needs 0\.\d+ of the full"),
        (PowerBert, 0.5, "PowerBert cannot be searched"),
        (
            lambda: Chain([DactBert(), LengthAdaptive(length_basis="row")]),
            0.5,
            "Chain cannot be searched.* not as a part of a chain",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    make: Callable[[], Reducer], budget: float, named: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=named):
        search(model_of(make()), SPLIT, TASK, SMALL, tmp_path, [budget])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", [{"rows": 0}, {"generations": -1}, {"mutations": -3}])
def test_impossible_settings_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UserError, match="too small"):
        SearchSettings(**setting)
