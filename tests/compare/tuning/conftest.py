"""A comparison of tuned methods on a random two-layer model, run once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tokendrop.cli import main

TUNED = """
backbone: minilm-l6
random_init: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}
tasks: [rotten_tomatoes]
data: {train_rows: 64, dev_rows: 32, test_rows: 32, max_length: 32}
seeds: [1]
fine_tune: {epochs: 1, learning_rate: 1.0e-2}
clock: {rows: 32, single_rows: 1, rounds: 1}
loggers: []
samples: 0
tune: {speedups: [1.2, 1.5, 2], cost: 2.2}
methods:
  dense: {reducer: Dense}
  longer:
    reducer: baselines.LongerTraining
    arguments: {epochs: 1}
    space:
      learning_rate: {low: 1.0e-4, high: 3.0e-2, log: true}
      start: {choices: [previous, pretrained]}
  layers:
    reducer: baselines.FewerLayers
    arguments: {layers: 1, epochs: 1}
    space: {learning_rate: {low: 1.0e-3, high: 3.0e-2, log: true}}
  merging:
    reducer: baselines.TokenMerging
    operating_points: {some: {share: 0.2}, half: {share: 0.5}}
    space: {order: {choices: [text, reference]}}
  length_adaptive:
    reducer: LengthAdaptive
    arguments: {epochs: 1, learning_rate: 1.0e-2, length_basis: row, layer_drop: 0.0, random_models: 0, length_drop: 0.5}
    space: {learning_rate: {choices: [1.0e-3, 1.0e-2]}}
    search: {settings: {generations: 1, population: 3, mutations: 2, crossovers: 2, rows: 32}}
"""  # noqa: E501


@dataclass(frozen=True)
class Finished:
    """A comparison that was run.

    Attributes:
        config: its file.
        out: its folder.
        said: what it said on the way.
    """

    config: Path
    out: Path
    said: str


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tuned.yaml").write_text(TUNED)
    config, out = folder / "tuned.yaml", folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        said = _Lines()
        patch.setattr("sys.stderr", said)
        code = main(["compare", "--config", str(config), "--out", str(out)])
    assert code == 0, said.text
    return Finished(config, out, said.text)


def trials_of(out: Path) -> dict[str, list[Any]]:
    """What was drawn and what came of it, by method; without the time that it took."""
    found = {}
    for path in sorted((out / "tuning").glob("*.journal")):
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = optuna.load_study(storage=storage, study_name="tuning")
        done = study.get_trials(states=(TrialState.COMPLETE,))
        outcomes = [(t.params, t.values, t.user_attrs["outcome"] | {"seconds": 0}) for t in done]
        found[path.stem.split("--")[1]] = outcomes
    return found


class _Lines:
    """A stream that is no terminal and keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False
