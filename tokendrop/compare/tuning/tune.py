"""Tuning the methods of a comparison, each within the same limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tokendrop.compare.grid.data import DataOf, settings_of
from tokendrop.compare.grid.settings import Comparison, Entry, entries
from tokendrop.compare.tuning.outcomes import Chosen, Outcome, Trial, best, choose, covers
from tokendrop.compare.tuning.progress import Progress
from tokendrop.compare.tuning.settings import Tuning
from tokendrop.compare.tuning.spaces import Space
from tokendrop.compare.tuning.trials import Asked, run_trial
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.files import file_name
from tokendrop.models.backbones import shape_of
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.reducers import from_spec
from tokendrop.reducers.length_adaptive.search import load_search
from tokendrop.reducers.length_adaptive.search.costs import searchable
from tokendrop.training import recipes

if TYPE_CHECKING:
    from tokendrop.compare.tuning.batches import Batch
    from tokendrop.compare.tuning.study import Study

TryAll = Callable[[Sequence[Asked], Collection[str]], list[Outcome]]
"""Makes the trials of a batch, given the scores of the training rows that are paid for."""


def load_study() -> tuple[type[Study], Callable[..., Batch]]:
    """The class of a method's trials and what draws them, which need optional packages.

    Raises:
        UserError: one of them is not installed.
    """
    try:
        from tokendrop.compare.tuning.batches import next_batch
        from tokendrop.compare.tuning.study import Study
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "optuna":
            raise
        raise UserError(f"tuning needs {error.name}: pip install 'tokendrop[tune]'") from error
    return Study, next_batch


def check_tuning(comparison: Comparison, data_of: DataOf) -> None:
    """Find out whether the methods of a comparison can be tuned, before anything is trained.

    Raises:
        UserError: a space that does not fit a method, the backbone or the task, a method that
            cannot be searched, a cost that does not cover one training, a package that is missing.
    """
    limits = comparison.tune
    for entry in entries(comparison):
        if limits is None or not entry.method.space:
            continue
        load_study()
        space = entry.space()
        data = data_of(entry.task, entry.data)
        with settings_of(entry.task):
            data.make_task(entry.metric)
            config = recipes.backbone_config(
                comparison.backbone, comparison.random_init, data, comparison.fine_tune
            )
            shape = shape_of(config, data.longest, data.task)
            space.check(shape)
            if entry.method.search is not None:
                load_search()
                searchable(from_spec(entry.reducer))
        epochs, all_epochs = space.epochs(space.first), comparison.epochs_of_unit
        unit = "the fine-tuning" if comparison.fine_tune else "the unit of cost"
        if limits.cost is not None and not covers(limits.cost, epochs / all_epochs):
            raise UserError(
                f"tune.cost {limits.cost:g} does not cover one training of {entry.name}, which "
                f"begins with {epochs} epochs where {unit} has {all_epochs}: use "
                f"{-(-100 * epochs // all_epochs) / 100:g} or more"
            )


def tuned_entries(comparison: Comparison) -> list[Entry]:
    """The methods that have a space, on their tasks, in the order in which they are tuned."""
    return [entry for entry in entries(comparison) if entry.method.space]


def tune(
    comparison: Comparison,
    out: Path,
    data_of: DataOf,
    studies: Iterable[list[Trial]] | None = None,
) -> dict[tuple[str, str], list[Chosen]]:
    """Tune every method that has a space, or go on where that was interrupted.

    Args:
        comparison: with limits, and checked.
        out: output folder, see :func:`tune_method`.
        data_of: gives a task's data; of its test split nothing is read.
        studies: the trials of each of :func:`tuned_entries`, in order, where they are made
            elsewhere.

    Returns:
        the operating points to run, by task and method.

    Raises:
        UserError: a journal of other settings.
    """
    assert comparison.tune is not None
    console = Console(stderr=True)
    chosen: dict[tuple[str, str], list[Chosen]] = {}
    every = tuned_entries(comparison)
    if studies is None:
        studies = (tune_method(comparison, entry, data_of, out) for entry in every)
    tried = zip(every, studies, strict=True)
    for task, of_task in groupby(tried, lambda one: one[0].task):
        found: dict[str, list[Trial]] = {}
        for entry, trials in of_task:
            chosen[task, entry.name] = points(comparison, entry, trials)
            if _speedups(entry, comparison.tune):
                found[entry.name] = trials
        _say_unreached(task, comparison.tune.speedups, found, console)
    return chosen


def points(comparison: Comparison, entry: Entry, trials: Sequence[Trial]) -> list[Chosen]:
    """The operating points to run of a method on a task, from its trials.

    Args:
        comparison: with limits.
        entry: the method on a task.
        trials: all that its budget pays for.
    """
    assert comparison.tune is not None
    speedups = _speedups(entry, comparison.tune)
    return choose(trials, speedups, entry.method.operating_points)


def _speedups(entry: Entry, limits: Tuning) -> list[float]:
    """What a method is tuned for: nothing but its metric, where it drops nothing."""
    return [] if from_spec(entry.reducer).reference else limits.speedups


def journal(out: Path, entry: Entry) -> Path:
    """Where the trials of a method on a task are written down."""
    return out / "tuning" / f"{file_name(f'{entry.task}--{entry.name}')}.journal"


def tune_method(
    comparison: Comparison,
    entry: Entry,
    data_of: DataOf,
    out: Path,
    *,
    wait: bool = False,
    side_by_side: TryAll | None = None,
) -> list[Trial]:
    """Try settings of a method until its budget is spent, or go on where that was interrupted.

    Args:
        comparison: with limits, and checked.
        entry: the method on a task.
        data_of: gives the task's data; of its test split nothing is read.
        out: output folder: the journal goes to ``tuning``, trainings where those of all runs lie.
        wait: for another process that tunes the same.
        side_by_side: makes the trials of a batch; this process does, one by one, if not given.

    Raises:
        UserError: a journal of other settings, or one that another process writes.
    """
    limits = comparison.tune
    assert limits is not None
    console = Console(stderr=True)
    speedups, data = _speedups(entry, limits), data_of(entry.task, entry.data)
    space, path = entry.space(), journal(out, entry)
    settings = _settings(comparison, entry, data)
    several = bool(speedups)
    study_class, next_batch = load_study()

    def one_by_one(trials: Sequence[Asked], paid: Collection[str]) -> list[Outcome]:
        return [run_trial(comparison, asked, data, out, paid) for asked in trials]

    make = side_by_side or one_by_one
    with study_class(
        path, space.ranges, space.first, limits.seed, several, settings, wait=wait
    ) as study:
        standing = study.within(limits)
        who = f"{entry.name} on {entry.task}"
        progress = Progress(who, entry.metric, limits, speedups, console)
        progress.begin(standing.trials, standing.left)
        price = partial(_asked, comparison, entry, space)
        while not standing.ended:
            batch = next_batch(study, standing, limits, price)
            # what others of the batch pay for is not known to them
            paid = {name for trial in batch.known for name in trial.outcome.scores}
            batch.tell(study, make(batch.asked, paid))
            before, standing = len(standing.trials), study.within(limits)
            for count in range(before, len(standing.trials)):
                progress.tried(standing.trials[: count + 1], standing.left)
    return standing.trials


def _asked(
    comparison: Comparison,
    entry: Entry,
    space: Space,
    trials: Sequence[Trial],
    beside: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
) -> Asked:
    """A trial with these values: what of it is new, and what it may cost.

    Args:
        comparison: settings common to all runs.
        entry: the method on a task.
        space: of the method.
        trials: whose outcomes are known.
        beside: values of trials of the same batch that come before it.
        values: of the trial.
    """

    def training(of: Mapping[str, Any]) -> dict[str, Any]:
        return from_spec(space.at(of)).spec(trained=True)

    earlier = [*(trial.values for trial in trials), *beside]
    seen = any(training(of) == training(values) for of in earlier)
    epochs = 0 if seen else space.epochs(values)
    outcomes = [trial.outcome for trial in trials]
    dense = 1 / comparison.epochs_of_unit
    # what one that diverged cost is an estimate itself, the measuring included
    trained = [one for one in outcomes if one.epochs and one.points]
    epoch = max((one.training / one.epochs for one in trained), default=dense)
    measuring = max((one.measuring for one in outcomes), default=0.0)
    method = entry.method
    return Asked(
        entry.cell(f"trial{len(earlier) + 1}", comparison.seeds[0], values),
        method.operating_points,
        method.search.settings if method.search is not None else None,
        epochs,
        epochs * epoch + measuring,
    )


def _settings(comparison: Comparison, entry: Entry, data: TextData) -> dict[str, Any]:
    """All that what trials give depends on, beside their values."""
    assert comparison.tune is not None
    batch = comparison.tune.batch
    weights = backbone_fingerprint(comparison.backbone, comparison.random_init)
    return {
        "space": {name: asdict(among) for name, among in entry.method.space.items()},
        "reducer": entry.reducer,
        "recipe": from_spec(entry.reducer).recipe,
        "operating_points": entry.method.operating_points,
        "search": asdict(entry.method.search) if entry.method.search is not None else None,
        "tune": {"seed": comparison.tune.seed} | ({"batch": batch} if batch > 1 else {}),
        "seed": comparison.seeds[0],
        "backbone": comparison.backbone,
        "random_init": comparison.random_init,
        "fine_tune": asdict(comparison)["fine_tune"],
        "precision": comparison.precision,
        "metric": entry.metric,
        "data": entry.data | {"fingerprint": data.fingerprint()},
        # journals of versions without these are found again
        **({"backbone_fingerprint": weights} if weights else {}),
        **({"compile": True} if comparison.compile else {}),
        **({"patience": comparison.patience} if comparison.patience is not None else {}),
    }


def _say_unreached(
    task: str, speedups: Sequence[float], found: Mapping[str, Sequence[Trial]], console: Console
) -> None:
    """Say which methods do not reach a speed-up, and how far they came."""
    for speedup in speedups:
        for name, trials in found.items():
            if best(trials, speedup) is None:
                points = [point.speedup for trial in trials for point in trial.outcome.points]
                how_far = f"its fastest trial has {max(points):.2f}x" if points else "none trained"
                console.print(
                    f"{name} on {task} does not reach {speedup:g}x: {how_far}", soft_wrap=True
                )
