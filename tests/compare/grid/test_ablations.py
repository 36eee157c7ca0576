"""Each ablation runs as it stands, on a random model, and changes what it says it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.compare.grid.test_settings import parsed
from tokendrop.compare.grid.data import make_data
from tokendrop.compare.grid.run import run_cell
from tokendrop.compare.grid.settings import grid
from tokendrop.compare.results.records import Record
from tokendrop.configs import config_folder
from tokendrop.measure.clock import Clock

FILES = sorted((config_folder() / "ablation").glob("*.yaml"))
# six layers, as MiniLM has, so that the configurations in the files fit
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
ROWS = {"train_rows": 32, "dev_rows": 16, "test_rows": 16, "max_length": 64}


def outcome(file: Path, out: Path) -> dict[tuple[str, str], Record]:
    """All runs of a comparison's file, by method and operating point."""
    comparison = parsed(file.read_text())
    small = replace(
        comparison,
        random_init=SIZES,
        data=comparison.data | ROWS,
        fine_tune=replace(comparison.fine_tune, epochs=1),
        clock=Clock(rows=8, single_rows=1, rounds=1),
        loggers=[],
        samples=0,
    )
    cells = list(grid(small))
    data = make_data(cells[0].data, small.backbone)
    records = [run_cell(small, cell, data, out) for cell in cells]
    return {(record.method, record.operating_point): record for record in records}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_method_differs_from_the_whole_one(file: Path, tmp_path: Path) -> None:
    found = outcome(file, tmp_path)
    assert ("dense", "default") in found
    folders = {method: record.details["model"] for (method, _), record in found.items()}
    assert len(set(folders.values())) == len(folders)
    kept = {who: record.kept_tokens_mean for who, record in found.items()}
    if file.stem == "power_bert":
        # the counts are the same; only which tokens they are differs
        whole = kept["by_attention", "default"]
        assert kept["by_lot", "first_draw"] == pytest.approx(whole)
        assert kept["by_lot", "second_draw"] == pytest.approx(whole)
    elif file.stem == "dact_bert":
        for method in ("bias_0.9", "bias_0.5", "bias_0.1"):
            paper, tight = (found[method, rule] for rule in ("paper_rule", "tight_rule"))
            assert tight.layers_mean <= paper.layers_mean
            assert tight.value == paper.value
    elif file.stem == "length_adaptive":
        for method in set(folders) - {"dense"}:
            full, most, half = (kept[method, p] for p in ("full", "three_quarters", "half"))
            assert full == 1 > most > half
    else:
        points = ("half", "three_quarters", "whole")
        first, _, last = (kept["fixed_thresholds", point] for point in points)
        assert first > last
