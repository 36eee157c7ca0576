"""Searching models whose heads read every token: dropped ones keep their last state."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reducers.search.shared import check_shared_evaluation
from tokendrop.data.split import Question, Sentence, Split, Window
from tokendrop.heads import SPAN, TAG, Head
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.length_adaptive.search.candidates import draw_rows
from tokendrop.reducers.length_adaptive.search.run import search
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.tasks import QuestionAnswering, Task, TokenClassification
from tokendrop.testing.tiny import CONFIGS, MAX_TOKENS, randomised, tiny_rows

TAGS = ["B-PER", "I-PER", "O"]
CONTEXT = "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2


def split_of(head: Head, count: int = 40) -> Split:
    draw = random.Random(5)
    rows = tiny_rows([draw.randint(6, MAX_TOKENS) for _ in range(count)])
    ids, types = [row.ids for row in rows], [row.types for row in rows]
    texts = [("",)] * count
    if head is TAG:
        labels = [[draw.randrange(3) for _ in row] for row in ids]
        words = [
            Sentence(["w"] * len(row), [TAGS[n] for n in row], list(range(len(row))))
            for row in labels
        ]
        return Split(texts, ids, types, labels, 0, sentences=words)
    windows = []
    for number, row in enumerate(ids):
        # every question has two windows
        asked = Question(str(number // 2), "who?", CONTEXT, ["c"], [4])
        places = [(0, 0), *((2 * n, 2 * n + 1) for n in range(len(row) - 2)), (0, 0)]
        windows.append(Window(number // 2, asked, np.array(places, np.int32)))
    return Split(texts, ids, types, [(3, 3)] * count, 0, windows=windows)


def task_of(head: Head) -> Task:
    return TokenClassification(TAGS) if head is TAG else QuestionAnswering()


def model_of(head: Head, family: str, reducer: LengthAdaptive) -> TokenDropModel:
    torch.manual_seed(0)
    config = CONFIGS[family]()
    config.num_labels = task_of(head).outputs
    backbone = randomised(head.auto.from_config(config))
    return TokenDropModel(backbone, reducer, None, MAX_TOKENS)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [TAG, SPAN], ids=["tags", "spans"])
@pytest.mark.parametrize(
    ("family", "basis", "keep_cls"),
    [("bert", "row", True), ("mpnet", "absolute", False), ("modernbert", "row", False)],
)
def test_shared_evaluation_is_that_of_each_model_alone(
    family: str, basis: str, keep_cls: bool, head: Head
) -> None:
    scores = check_shared_evaluation(
        lambda reducer: model_of(head, family, reducer),
        split_of(head),
        task_of(head),
        length_basis=basis,
        keep_cls=keep_cls,
    )
    assert len({round(score, 6) for score in scores}) > 1


def test_all_windows_of_a_question_are_drawn_or_none() -> None:
    split = split_of(SPAN)
    assert split.windows is not None
    rows = draw_rows(split, 11)
    assert len(rows) == 12
    numbers = [split.windows[row].number for row in rows]
    assert all(numbers.count(number) == 2 for number in numbers)
    assert draw_rows(split, 11) == rows
    assert sorted(draw_rows(split, 1000)) == list(range(40))


@pytest.mark.parametrize("head", [TAG, SPAN], ids=["tags", "spans"])
def test_a_search_of_tokens_ends_in_a_front(head: Head, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = model_of(head, "bert", LengthAdaptive(length_basis="row", keep_cls=False))
    settings = SearchSettings(generations=2, population=4, mutations=4, crossovers=4)
    front = search(model, split_of(head), task_of(head), settings, tmp_path, [0.9])
    assert front.at(0.9).share <= 0.9
    assert front.points[0].share < front.points[-1].share == 1


def test_scores_are_found_again_for_the_same_right_answers_only(tmp_path: Path) -> None:
    model, split = model_of(SPAN, "bert", LengthAdaptive(length_basis="row")), split_of(SPAN)
    assert split.windows is not None
    # another right answer beside the one that the labels are of
    windows = [
        replace(one, question=replace(one.question, answers=["c", CONTEXT[:30]], starts=[4, 0]))
        for one in split.windows
    ]
    more = replace(split, windows=windows)
    settings = SearchSettings(generations=1, population=3, mutations=2, crossovers=2)

    def scores(rows: Split, place: str) -> list[float]:
        front = search(model, rows, task_of(SPAN), settings, tmp_path / place)
        return [one.score for one in front.constant]

    before = scores(split, "same")
    assert scores(more, "same") == scores(more, "new") != before
    written = {file: file.read_bytes() for file in tmp_path.glob("same/evaluated-*")}
    assert scores(split, "same") == before
    assert {file: file.read_bytes() for file in tmp_path.glob("same/evaluated-*")} == written
