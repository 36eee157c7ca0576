"""What a comparison is made of: the grid, as configuration files describe it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any

from tokendrop.bounds import Count, Natural, Seed, check, check_fields
from tokendrop.compare.grid.apart import Apart
from tokendrop.compare.grid.method import Method
from tokendrop.compare.tuning.outcomes import Chosen
from tokendrop.compare.tuning.settings import Tuning
from tokendrop.compare.tuning.spaces import Space
from tokendrop.configs import as_in_a_file, find_config, find_configs, read_config, set_for
from tokendrop.deploy.engines import EngineName
from tokendrop.errors import UserError
from tokendrop.measure.clock import Clock
from tokendrop.models.placing import Dtype
from tokendrop.reducers import from_spec, with_changes
from tokendrop.reducers.base import Stage
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.training.loggers import LoggerKind
from tokendrop.training.module import FINE_TUNE
from tokendrop.training.recipes import Precision, check_fine_tune
from tokendrop.training.tracking import Run


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison is made of.

    Attributes:
        tasks: names of files in configs/task, or paths of such files.
        methods: what is compared, by the name it has in the tables.
        backbone: the pretrained encoder all methods start from.
        random_init: take only its architecture, with these changes, and random weights.
        seeds: each gives a run of every method.
        fine_tune: the shared first stage; None (null) takes a backbone that was fine-tuned for the
            task as it is.
        precision: of training; bf16-mixed takes about half the time where the hardware has it.
        compile: train with compiled layers, as ``--model.compile`` does.
        patience: end a stage whose dev score has not risen for so many epochs.
        evaluate_in: the weights of the backbone when metrics, FLOPs and time are measured after
            training, bf16 if that is what will be deployed. Decisions are made in fp32 always, and
            epochs and settings are chosen in fp32.
        data: changes to the settings of every task, e.g. a smaller train_rows.
        task_data: changes for single tasks, by their names, e.g. the dir where one has its files.
        clock: how time is measured.
        loggers: where curves go: csv, wandb, wandb_models, or a logger's class and arguments.
        engines: run the dense models there too, as yardsticks; see docs/deploy.md.
        floor: also fit TF-IDF with logistic regression to every task, as a line below the tables.
        samples: how many test texts are shown with their dropped tokens.
        tune: speed-ups that the methods with a space are tuned for, and what that may cost each.
    """

    tasks: list[str]
    methods: dict[str, Method]
    backbone: str = "minilm-l6"
    random_init: dict[str, Any] | None = None
    seeds: list[Seed] = field(default_factory=lambda: [1])
    fine_tune: Stage | None = FINE_TUNE
    precision: Precision = "32-true"
    compile: bool = False
    patience: Count | None = None
    evaluate_in: Dtype = "fp32"
    data: dict[str, Any] = field(default_factory=dict)
    task_data: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    loggers: list[LoggerKind] = field(default_factory=lambda: ["csv", "wandb"])
    engines: list[EngineName] = field(default_factory=list)
    floor: bool = False
    samples: Natural = 16
    tune: Tuning | None = None

    def __post_init__(self) -> None:
        for name in ("tasks", "backbone", "data", "task_data"):
            object.__setattr__(self, name, as_in_a_file(getattr(self, name)))
        check_fields(self)
        check({"methods": self.methods}, {"methods": dict[str, Any]})
        check_fine_tune(self.fine_tune)
        if len(set(self.seeds)) < max(1, len(self.seeds)):
            raise UserError(f"seeds {self.seeds} cannot be used: name one or more, each once")
        tuned = {name: method for name, method in self.methods.items() if method.space}
        if self.tune is not None:
            self.tune.check()
            if not tuned:
                raise UserError(
                    "tune: no method has a space: give one the values to try, or leave tune out"
                )
        for name, method in tuned.items():
            for argument, among in method.space.items():
                among.check(f"methods.{name}.space.{argument}")
            if self.tune is None:
                raise UserError(
                    f"methods.{name}.space is not used without tune: say what the trials may cost, "
                    "e.g. tune: {speedups: [2], cost: 8}"
                )
            if method.search is None and not method.operating_points:
                raise UserError(
                    f"methods.{name}.operating_points is empty, so nothing of its trials would be "
                    "measured: leave it out"
                )
            if method.search is not None and method.search.budgets:
                raise UserError(
                    f"methods.{name}.search.budgets: a tuned method is searched for tune.speedups: "
                    "leave them out"
                )

    @property
    def epochs_of_unit(self) -> int:
        """Epochs of the training that costs are multiples of: of one, where nothing is tuned."""
        return 1 if self.fine_tune is None else self.fine_tune.epochs


@dataclass(frozen=True)
class Cell:
    """One run of the grid: who, with which reducer, on which data.

    Attributes:
        budget: share of the FLOPs for which a configuration is searched, None for no search.
        search: how.
        recipe: the method's count of changes to its training, see :class:`Reducer`.
        tuning: where a tuned operating point comes from, see :class:`Chosen`.
    """

    run: Run
    reducer: dict[str, Any]
    data: dict[str, Any]
    metric: str
    budget: float | None = None
    search: SearchSettings | None = None
    recipe: int = 1
    tuning: dict[str, Any] | None = None


@dataclass(frozen=True)
class Entry:
    """A method on a task: what its runs have in common.

    Attributes:
        reducer: its class and arguments on this task.
        data: settings of the task.
        metric: of the task.
    """

    task: str
    name: str
    method: Method
    reducer: dict[str, Any]
    data: dict[str, Any]
    metric: str

    def space(self) -> Space:
        """What trials of the method draw.

        Raises:
            UserError: an argument or an operating point that cannot be tuned.
        """
        points = self.method.operating_points
        return Space(self.name, self.reducer, self.method.space, points)

    def cell(self, point: str, seed: int, changes: Mapping[str, Any], **others: Any) -> Cell:
        """A run with these changes to the arguments."""
        reducer = with_changes(self.reducer, changes)
        run = Run(self.task, self.name, point, seed)
        recipe = from_spec(reducer).recipe
        return Cell(run, reducer, self.data, self.metric, recipe=recipe, **others)


def entries(comparison: Comparison) -> Iterator[Entry]:
    """All methods on all tasks, task by task.

    Raises:
        UserError: nothing to compare, a task that does not exist, or two of one name.
    """
    for name in ("tasks", "methods"):
        if not getattr(comparison, name):
            raise UserError(f"a comparison of no {name}: name one or more with --{name}")
    paths = find_configs("task", comparison.tasks)
    names = {path.stem for path in paths}
    # a comparison's file may serve one task at a time, so there may be settings of others
    arguments = [name for method in comparison.methods.values() for name in method.task_arguments]
    for name in {*comparison.task_data, *arguments} - names:
        find_config("task", name, names)
    for path in paths:
        task = read_config(path)
        data = task.get("data", {}) | comparison.data | set_for(path.stem, comparison.task_data)
        metric = task.get("model", {}).get("metric", "accuracy")
        for method_name, method in comparison.methods.items():
            own_arguments = method.arguments | set_for(path.stem, method.task_arguments)
            reducer = {"class_path": method.reducer, "init_args": own_arguments}
            yield Entry(path.stem, method_name, method, reducer, data, metric)


def grid(
    comparison: Comparison,
    chosen: Mapping[tuple[str, str], Sequence[Chosen]] = MappingProxyType({}),
) -> Iterator[Cell]:
    """All runs of a comparison, in order.

    Args:
        comparison: what to compare.
        chosen: operating points of tuned methods, by task and method. Before these are known,
            their spaces are checked and nothing else.

    Raises:
        UserError: a task or a reducer that does not exist, arguments it does not take, a space over
            what cannot be tuned, or runs whose files would have one name.
    """
    apart = Apart()
    for task, of_task in groupby(entries(comparison), lambda entry: entry.task):
        every = list(of_task)
        for seed in comparison.seeds:
            for entry in every:
                if entry.method.space and not chosen:
                    entry.space()
                for cell in _cells(entry, seed, chosen.get((task, entry.name), [])):
                    apart.add(cell.run)
                    yield cell


def _cells(entry: Entry, seed: int, chosen: Sequence[Chosen]) -> Iterator[Cell]:
    """The runs of a method on a task with a seed."""
    method = entry.method
    settings = method.search.settings if method.search is not None else None
    for point in chosen:
        search = settings if point.budget is not None else None
        found = {"budget": point.budget, "search": search, "tuning": point.tuning}
        yield entry.cell(point.name, seed, point.changes, **found)
    if method.space:
        return
    for name, changes in method.operating_points.items():
        yield entry.cell(name, seed, changes)
    if method.search is not None:
        for name, budget in method.search.budgets.items():
            yield entry.cell(name, seed, {}, budget=budget, search=settings)
