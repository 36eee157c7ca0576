"""Continuing in a folder that holds runs: more seeds, methods or tasks are added to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tokendrop.compare.grid.settings import Cell, Comparison, entries
from tokendrop.compare.results.outline import Config
from tokendrop.compare.results.records import SETTINGS
from tokendrop.compare.results.trust import set_aside
from tokendrop.configs import differences
from tokendrop.data.settings import SPLITS
from tokendrop.errors import UserError
from tokendrop.files import check_untaken, make_folder, write_text
from tokendrop.models.cards import SIDE_CAR
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.reducers import from_spec
from tokendrop.reducers.own_code import changed_code, code_of
from tokendrop.stored import read_json

log = logging.getLogger(__name__)

COMMON = (
    "backbone",
    "random_init",
    "fine_tune",
    "precision",
    "compile",
    "patience",
    "evaluate_in",
    "clock",
)
"""Settings that all runs of a folder share, since its tables compare them."""
UNNOTED: dict[str, Any] = {
    "recipe": 1,
    "tuning": None,
    "compile": False,
    "patience": None,
    "evaluate_in": "fp32",
}
"""What held for records of versions that did not note it."""

_TAKEN = (
    *("results.csv", "summary.md", "report.html", "rationale.csv", "figures", "runs"),
    *("stages", "model", SIDE_CAR),
)
"""What a comparison would write over, and what a training or a model is known by."""


def check_folder(out: Path) -> None:
    """Find out whether a comparison may write into a folder: none of its names is in use there.

    Raises:
        UserError: one is, and the folder is no comparison's.
    """
    # records are known too: of a folder that was copied, they may be all there is
    ours = (SETTINGS, "runs/*--*.json", "rationales/*.json")
    check_untaken(out, _TAKEN, ours, f"comparison (no {SETTINGS})")


def begin_or_continue(comparison: Comparison, out: Path, cells: Mapping[Path, Cell]) -> None:
    """Make the output folder, or check that its runs fit the comparison; write the settings there.

    Args:
        comparison: settings common to all runs.
        out: its output folder.
        cells: the runs, by the files that hold their results once they are finished.

    Raises:
        UserError: a finished run in the folder has other settings: any, if it is one of the runs of
            this comparison or another seed of one; one of :data:`COMMON`, or the data or the metric
            of its task, if it is not. Or it is of a method that was tuned within other limits
            since, so that it may be no point of it any more. Or the backbone's folder has other
            weights since, or two files hold one run.
    """
    make_folder(out)
    for path in _records(cells):
        set_aside(path, out, again=path in cells)
    common = _as_read({name: asdict(comparison)[name] for name in COMMON})
    by_task = {
        entry.task: _as_read({"data": entry.data, "metric": entry.metric})
        for entry in entries(comparison)
    }
    # tables take the seeds of a point together, so all of them have its settings
    by_point = {_key(asdict(cell.run))[:-1]: _settings_of(cell) for cell in cells.values()}
    places = {_key(asdict(cell.run)): path for path, cell in cells.items()}
    tuned = {(cell.run.task, cell.run.method) for cell in cells.values() if cell.tuning}
    backbone = backbone_fingerprint(comparison.backbone, comparison.random_init)
    chosen_before: dict[str, Path] = {}
    for path in _records(cells):
        noted = _settings(path)
        before = _untimed(UNNOTED | noted.config)
        run = before.get("run", {})
        key = _key(run)
        if run and (other := places.setdefault(key, path)) != path:
            raise UserError(
                f"{path} holds the run of {other}: delete it or, where that is not there, give it "
                "that name"
            )
        if path in cells:
            now = common | _settings_of(cells[path])
        elif point := by_point.get(key[:-1]):
            now = common | point | {"run": run}
        else:
            now = common | by_task.get(run.get("task"), {})
        if before["recipe"] < now.get("recipe", 1):
            raise UserError(
                f"{path} was made by an earlier version's training of this method, which has "
                "changed since: delete that file to run it again, or name another folder "
                "with --out"
            )
        if (
            before["tuning"] not in (None, now.get("tuning"))
            and (run.get("task"), run.get("method")) in tuned
        ):
            chosen_before[f"{path.parent}/{run['method']}--*--{run['task']}--*.json"] = path
            continue
        if path in cells:
            _tell_changed(path, noted.code, cells[path])
        # a folder that is gone has no other weights; the tables can be made without it
        if backbone and noted.backbone_fingerprint not in (None, backbone):
            raise UserError(
                f"{path} was made from other weights than {comparison.backbone} holds now: put "
                "them back, delete that file, or name another folder with --out"
            )
        for place, old, wanted in differences(before, now):
            raise UserError(
                f"{path} was made with {place} {old}, and now it is {wanted}: set it back, "
                "delete that file, or name another folder with --out (tokendrop report takes "
                "several folders)"
            )
    if chosen_before:
        raise UserError(
            f"{next(iter(chosen_before.values()))} was chosen among other trials, within other "
            "limits or in a journal that is gone: set tune back to what it was, or delete "
            f"{' '.join(chosen_before)} to measure what is chosen now, for which what was trained "
            "is found"
        )
    settings = yaml.safe_dump(asdict(comparison), sort_keys=False)
    write_text(out / SETTINGS, settings)


def _tell_changed(path: Path, code: Mapping[str, str], cell: Cell) -> None:
    """Say that a run is not made again which a method of somebody's own made with other code."""
    for kind in changed_code(code, code_of(from_spec(cell.reducer))) if code else ():
        log.warning(
            f"{path} was made before the code of {kind} changed, and stays: delete that file to "
            "make it again"
        )


def check_same_data(cells: Mapping[Path, Cell], fingerprint: Callable[[Cell], str | None]) -> None:
    """Find out whether the data are those of the finished runs, whether or not some are missing.

    Args:
        cells: the runs, by the files that hold their results once they are finished.
        fingerprint: what the data of a run are known by, as its record notes it; None of data that
            are not at hand, which need not be where no run of their task is missing.

    Raises:
        UserError: the rows of a task have changed since.
    """
    of_task = {cell.run.task: cell for cell in cells.values()}
    for path in _records(cells):
        before = _settings(path)
        cell = of_task.get(before.config.get("run", {}).get("task"))
        if cell is None or before.data_fingerprint is None:
            continue
        if fingerprint(cell) not in (None, before.data_fingerprint):
            # earlier versions drew others
            drawn = any(cell.data.get(f"{split}_rows") for split in SPLITS)
            raise UserError(
                f"{path} is of other rows than {cell.run.task} has now, whose files have changed "
                f"since{', or an earlier version drew them' * drawn}: put them back, delete the "
                "records of this task, or name another folder with --out"
            )


def _records(cells: Mapping[Path, Cell]) -> list[Path]:
    """The records that lie where those of these runs do, of whatever comparison."""
    folders = sorted({path.parent for path in cells})
    return [path for folder in folders for path in sorted(folder.glob("*.json"))]


def _key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a run is known by: its point, and behind it the seed."""
    return tuple(run.get(name) for name in ("task", "method", "operating_point", "seed"))


def _settings_of(cell: Cell) -> dict[str, Any]:
    """The settings of a run, as its record should have them."""
    return _untimed(_as_read(asdict(cell)))


def _untimed(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without the seconds of tuning, which are others where a journal is made anew."""
    tuning = settings["tuning"]
    if not isinstance(tuning, dict):
        return settings
    return settings | {"tuning": {name: tuning[name] for name in tuning if name != "seconds"}}


def _as_read(settings: dict[str, Any]) -> Any:
    """The settings as a file would give them back: tuples as lists, keys as texts."""
    return json.loads(json.dumps(settings))


def _settings(path: Path) -> _Provenance:
    what, cure = "a whole run record", "delete it and run again"
    return read_json(path, _Finished, what, cure, others="ignore").provenance


@dataclass(frozen=True)
class _Provenance:
    config: Config
    # versions before did not note these
    data_fingerprint: str | None = None
    backbone_fingerprint: str | None = None  # nor is it noted where the backbone's name says it
    code: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Finished:
    """The part that is the same in the records of ``compare`` and of ``rationale``."""

    provenance: _Provenance
