"""Right answers by the length of the texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.compare.synthetic import saved
from tokendrop.compare.report.lengths import lengths_panel
from tokendrop.compare.report.panel import Findings, Panel
from tokendrop.compare.results.analysis import NOTHING
from tokendrop.compare.results.fates import Fates, read_fates, write_fates
from tokendrop.compare.results.records import Record
from tokendrop.errors import UserError

LENGTHS = list(range(100, 0, -1))


def run(
    folder: Path, method: str, right: Sequence[bool], lengths: Sequence[int], seed: int = 0
) -> Record:
    """A run that has these texts right, which are so long."""
    name = f"{method}-{seed}.json"
    write_fates(folder / name, Fates(2, [0, 0, len(right)], {}, [], list(lengths)))
    return replace(saved(folder, method, right, seed), fates_file=name)


def panel(folder: Path, runs: Sequence[Record]) -> Panel | None:
    return next(iter(lengths_panel(Findings(folder, runs, NOTHING))), None)


def rows(found: Panel | None, point: str) -> pd.DataFrame:
    assert found is not None
    assert found.frame is not None
    return found.frame[found.frame["point"] == point].set_index("tokens")


def test_lengths_in_the_order_of_batches_are_not_taken_for_those_of_the_answers(
    tmp_path: Path,
) -> None:
    # as versions before wrote them
    runs = [run(tmp_path, method, [True] * 100, LENGTHS) for method in ("dense", "m")]
    for path in tmp_path.glob("*-0.json"):
        path.write_text(path.read_text().replace('"row_tokens"', '"lengths"'))
    assert panel(tmp_path, runs) is None


def test_no_group_has_so_few_texts_that_a_resample_may_have_none_of_it(tmp_path: Path) -> None:
    lengths = [5] * 70 + [6] + [7] * 29
    runs = [run(tmp_path, method, [True] * 100, lengths) for method in ("dense", "m")]
    found = panel(tmp_path, runs)
    assert found is None or not rows(found, "m (p)").isna().any(axis=None)
    assert panel(tmp_path, [run(tmp_path, "dense", [True] * 100, [5] * 99 + [6])]) is None


def test_a_method_that_fails_on_long_texts_is_seen_to(tmp_path: Path) -> None:
    runs = []
    for seed in (0, 1):
        runs.append(run(tmp_path, "dense", [True] * 100, LENGTHS, seed))
        # the longest are all wrong, of the second longest every other one with one of the seeds
        right = [n <= 75 and (n <= 50 or seed == 0 or n % 2 == 0) for n in LENGTHS]
        runs.append(run(tmp_path, "m", right, LENGTHS, seed))
    found = panel(tmp_path, runs)
    dense, method = rows(found, "dense"), rows(found, "m (p)")
    names = ["1 to 25 tokens", "26 to 50 tokens", "51 to 75 tokens", "76 to 100 tokens"]
    assert list(method.index) == names
    assert dense["right"].tolist() == [1, 1, 1, 1]
    assert dense["vs_dense"].isna().all()
    assert method["right"].tolist() == pytest.approx([1, 1, 0.74, 0])
    assert method["vs_dense"].tolist() == pytest.approx([0, 0, -0.26, -1])
    low, high = method["low"], method["high"]
    assert low.iloc[2] < -0.26 < high.iloc[2]
    assert low.tolist()[3] == high.tolist()[3] == -1
    assert found is not None
    assert "0.0 %, -100.00 (-100.00 to -100.00)" in found.below


def test_runs_of_other_seeds_than_dense_have_no_difference(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "dense", [True] * 100, LENGTHS, 0),
        run(tmp_path, "m", [False] * 100, LENGTHS, 1),
    ]
    method = rows(panel(tmp_path, runs), "m (p)")
    assert method["right"].tolist() == [0, 0, 0, 0]
    assert "vs_dense" not in method or method["vs_dense"].isna().all()


def test_a_group_of_one_length_is_called_by_it(tmp_path: Path) -> None:
    found = panel(tmp_path, [run(tmp_path, "dense", [True] * 100, [9] * 50 + [3] * 50)])
    assert list(rows(found, "dense").index) == ["3 tokens", "9 tokens"]


@pytest.mark.parametrize(
    "lengths",
    [[], [7] * 100, list(range(1, 100)), [5] * 30 + [9] * 10],
    ids=["unknown", "equal", "of_other_rows", "of_too_few_rows"],
)
def test_there_is_no_panel_where_lengths_say_nothing(tmp_path: Path, lengths: list[int]) -> None:
    right = [True] * (40 if len(lengths) == 40 else 100)
    assert panel(tmp_path, [run(tmp_path, "dense", right, lengths)]) is None


def test_numbers_are_not_right_or_wrong(tmp_path: Path) -> None:
    of_numbers = run(tmp_path, "dense", [True] * 100, LENGTHS)
    answers = {"example": range(100), "label": [0.5] * 100, "value": [0.4] * 100, "score": 0.0}
    pd.DataFrame(answers).to_csv(tmp_path / str(of_numbers.predictions_file), index=False)
    assert panel(tmp_path, [of_numbers]) is None


def test_fates_of_more_samples_than_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fates.json"
    sample = {"label": "", "answer": "", "words": [], "depth": [], "left": 1, "tokens": 0}
    found = {"layers": 1, "exits": [0, 0], "dropped": {}, "samples": [sample]}
    path.write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"fates\.json .*1 samples are of 0 rows"):
        read_fates(path)
