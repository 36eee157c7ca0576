"""One finished run = one record = one JSON file that is either whole or absent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tokendrop.compare.results.outline import Details, Number, Provenance, Stages, Timings
from tokendrop.compare.results.trust import edited
from tokendrop.errors import UserError
from tokendrop.files import file_name, write_text
from tokendrop.measure.measures import Measure
from tokendrop.stored import read_json

SCHEMA = 2
SETTINGS = "comparison.yaml"
"""File in a comparison's folder with its settings, by which the folder is known."""
MARK = "†"
"""Stands behind a result that a note below the table says something of."""
RunKey = tuple[str, str, str, int]
"""The method, operating point, task and seed of a run, by which it is known."""
LONGEST_PATH = 255
"""Bytes of a file's path in a folder; the longest name of one file anywhere."""
DENSE = "dense"
"""The reducer that drops nothing: every other method is compared with it."""


@dataclass(frozen=True, kw_only=True)
class OnDev:
    """What a run reached on the dev split, which choices are made on.

    Attributes:
        value: of the task's metric.
        metrics: all that the task knows, by name.
        flops_speedup_unpadded: as on the test split.
        examples: rows of the split.
        predictions_file: the answers, from the comparison's folder.
    """

    value: Number
    metrics: dict[str, float]
    flops_speedup_unpadded: Number
    examples: int
    predictions_file: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run: a method at an operating point, on a task, from a seed.

    What is measured is described in :mod:`tokendrop.measure.measures`. Every speed-up is a ratio
    above 1 where the method is cheaper. Padded is against the plain Hugging Face model on padded
    batches of the same rows in the same order, unpadded against the same packed encoder with
    nothing dropped.

    The free-form fields have a fixed outline that tables and report read:

    - ``flops``: sums over one pass of the test rows under ``method``, ``packed_dense`` and
      ``padded_dense``.
    - ``timing``: ``{"batch32": ..., "batch1": ...}``, each with the median ``seconds`` of every
      contender, the relative ``noise`` of the ratios (0.03 is 3 %), ``rounds`` and ``rows``.
    - ``stages``: ``{"name", "epochs", "seconds", "flops", "curve"}`` each, the shared fine-tuning
      first and a search after the training last; a curve is a list of ``{"epoch", "metrics"}``,
      epochs counted from the stage's own start, metrics of the dev split under the same names as on
      the test split.
    - ``provenance``: what made the number, e.g. ``command``, ``config``, ``versions``,
      ``git_commit``, ``hardware``, ``threads``, ``wall_seconds``, ``started``.
    """

    method: str
    operating_point: str
    task: str
    kind: str
    """What the task's head answers, which says how the saved predictions are read."""
    seed: int
    metric: str
    value: Number
    higher_is_better: Literal[True] = True
    """Of every metric; kept so that files say so."""
    metrics: dict[str, float]
    flops_speedup_padded: Number
    flops_speedup_unpadded: Number
    throughput_speedup_padded: Number
    throughput_speedup_unpadded: Number
    latency_speedup_b1: Number
    kept_tokens_mean: Number
    """Mean over rows of the share of a row's token-layers that were processed; 1 is dense."""
    layers_mean: Number
    """Mean number of layers that a row went through."""
    kept_tokens_per_layer: list[Number]
    """Mean share of the original tokens that each layer processed."""
    train_seconds: Number
    """Of all stages, from the pretrained model on."""
    train_flops: Number
    """Of the same work, see :class:`tokendrop.training.stages.TrainedStage`."""
    examples_eval: int
    flops: dict[str, float]
    timing: Timings
    stages: Stages = field(default_factory=list)
    details: Details = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    provenance: Provenance = field(default_factory=dict)
    predictions_file: str | None = None
    fates_file: str | None = None
    """What became of the tokens and rows, see :class:`tokendrop.compare.results.fates.Fates`."""
    dev: OnDev | None = None
    """None in records of versions that did not look there."""
    schema: int = SCHEMA

    @property
    def key(self) -> RunKey:
        """What the run is known by."""
        return self.method, self.operating_point, self.task, self.seed

    @property
    def evaluate_in(self) -> str:
        """The type of the weights that it was measured with."""
        return str(self.provenance.get("evaluate_in", "fp32"))

    def measured(self, measure: Measure) -> float:
        """The number of a measure."""
        return float(getattr(self, measure.name))

    @property
    def train_cost(self) -> float:
        """Training FLOPs relative to those of the shared fine-tuning alone: 1 is dense.

        Where all methods begin with a model as it was given, relative to one epoch of fine-tuning
        it: 0 is dense.
        """
        if not self.stages:
            return 0.0
        first = self.stages[0]
        return self.train_flops / (first["flops"] or first["epoch_flops"])

    @property
    def has_caveat(self) -> bool:
        """Whether its notes say something of the result itself, which its rows are marked for."""
        return bool(self.details.get("caveat"))

    @property
    def is_reference(self) -> bool:
        """Whether it is of a method that drops nothing, which others are compared with."""
        return self.method == DENSE or bool(self.details.get("reference"))

    def noise(self, measure: Measure) -> float:
        """Relative noise of a ratio that the clock gave, 0 of other measures."""
        return float(self.timing.get(measure.timing, {}).get("noise", 0.0))


def record_path(folder: Path, method: str, operating_point: str, task: str, seed: int) -> Path:
    """Where the record of a run lies, so that a grid can ask whether it is already done.

    >>> record_path(Path("out"), "power_bert", "1/2", "sst2", 0).as_posix()
    'out/runs/power_bert--1%2F2--sst2--seed0.json'
    """
    name = f"{method}--{operating_point}--{task}--seed{seed}"
    return folder / "runs" / f"{file_name(name)}.json"


def write_record(record: Record, folder: Path) -> Path:
    """Write the record under ``folder/runs``, whole or not at all; returns its path."""
    path = record_path(folder, record.method, record.operating_point, record.task, record.seed)
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    write_text(path, text, summed=True)
    return path


def read_records(folder: Path) -> list[Record]:
    """All records of a comparison's folder, in the order of the tables.

    Raises:
        UserError: one cannot be used, or two are of the same run, as where a file was copied.
    """
    found: dict[RunKey, tuple[Path, Record]] = {}
    for path in sorted((folder / "runs").glob("*.json")):
        record = _read(path)
        first, _ = found.setdefault(record.key, (path, record))
        if first != path:
            raise UserError(f"{first} and {path} hold the same run: delete one of them")
    return ordered(record for _, record in found.values())


def records_of(folder: Path) -> list[Record]:
    """All records of a folder, which has some.

    Raises:
        UserError: it has none.
    """
    found = read_records(folder)
    if not found:
        raise UserError(
            f"{folder} holds no runs of 'tokendrop compare': name a folder given to its --out"
        )
    return found


def _read(path: Path) -> Record:
    what, cure = "a whole run record", "delete it and run again"
    schema = read_json(path, _Version, what, cure, others="ignore").schema
    if schema > SCHEMA:
        raise UserError(f"{path} was written by a newer version of tokendrop: update this one")
    if schema != SCHEMA:
        raise UserError(f"{path} has record schema {schema!r}, this is {SCHEMA}: {cure}")
    record: Record = read_json(path, Record, what, cure)
    on_dev = record.dev.predictions_file if record.dev else None
    for file in (record.predictions_file, record.fates_file, on_dev, record.details.get("model")):
        # a record may be a stranger's: it names files of its own folder only
        if file is not None and not _is_inside(file):
            raise UserError(f"{path} names the file {file}, which is not of its folder: {cure}")
    if said := edited(path):
        caveat = "; ".join(filter(None, (record.details.get("caveat"), said)))
        details = record.details | {"caveat": caveat}
        return dataclasses.replace(record, details=details, notes=[*record.notes, f"{MARK} {said}"])
    return record


def _is_inside(file: str) -> bool:
    """Whether a path leads out of no folder; one that is too long for a system leads nowhere."""
    path = Path(file)
    return not path.is_absolute() and ".." not in path.parts and len(file.encode()) < LONGEST_PATH


def check_there(path: Path) -> None:
    """
    Raises:
        UserError: a file that a run record names is missing.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing, which a run record names: copy the whole folder that 'tokendrop "
            "compare' wrote, or delete the run's record in runs/ and compare again"
        )


@dataclass(frozen=True)
class _Version:
    schema: int


def ordered(records: Iterable[Record]) -> list[Record]:
    """Dense first, what else drops nothing, and engines; then by method, point, task and seed."""

    def place(r: Record) -> tuple[Any, ...]:
        kind = r.method != DENSE, not r.is_reference, "engine" not in r.details
        return *kind, r.method, r.operating_point, r.task, r.seed

    return sorted(records, key=place)
