"""The search itself: from a trained model to its front."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tokendrop.data.split import Split
from tokendrop.files import write_text
from tokendrop.holding import hold
from tokendrop.measure.provenance import provenance
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.length_adaptive.search.candidates import Candidates, draw_rows
from tokendrop.reducers.length_adaptive.search.costs import searchable
from tokendrop.reducers.length_adaptive.search.evolution import (
    LengthProblem,
    LengthSearch,
    area,
    evolve,
    first_population,
)
from tokendrop.reducers.length_adaptive.search.front import Candidate, Configuration, Front
from tokendrop.reducers.length_adaptive.search.picture import write_picture
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.reducers.length_adaptive.search.store import Store, fingerprint
from tokendrop.tasks import Task


def search(
    model: TokenDropModel,
    split: Split,
    task: Task,
    settings: SearchSettings,
    folder: Path,
    budgets: Sequence[float] = (),
    advanced: Callable[[int], None] = lambda count: None,
) -> Front:
    """Search, or go on with a search that was interrupted.

    The same seed gives the same front, also after an interruption.

    Args:
        model: a trained Length-Adaptive Transformer.
        split: rows that are neither trained on nor reported.
        task: what is measured.
        settings: how to search.
        folder: where the evaluated configurations, ``front.json`` and ``front.png`` go.
        budgets: checked to be reachable before anything is evaluated.
        advanced: is told how many more configurations are known.

    Raises:
        UserError: a model of another method, or a budget that is out of reach.
    """
    reducer = searchable(model.reducer)
    rows = draw_rows(split, settings.rows)
    candidates = Candidates(model, split, rows, task)
    first = first_population(
        settings.population, reducer.length_drop, model.shape.layers, model.shape.max_tokens
    )
    candidates.cost.check(budgets)

    with hold(folder):
        return _searched(candidates, first, model, split, task, settings, folder, advanced)


def _searched(
    candidates: Candidates,
    first: Sequence[Configuration],
    model: TokenDropModel,
    split: Split,
    task: Task,
    settings: SearchSettings,
    folder: Path,
    advanced: Callable[[int], None],
) -> Front:
    rows = candidates.rows
    smallest, full = candidates.cost.smallest, candidates.cost.full
    key = fingerprint(model, split, rows, task)
    children = settings.generations * (settings.mutations + settings.crossovers)
    with _progress() as bar:
        job = bar.add_task("search", total=len(first) + children)
        path = folder / f"evaluated-{key}.jsonl"

        def advance(count: int) -> None:
            bar.advance(job, count)
            advanced(count)

        store = Store(path, candidates.scores_and_flops, advance)
        candidates.count_before(store.known)
        seen: dict[Configuration, None] = {}

        def scores(configurations: list[Configuration]) -> list[float]:
            seen.update(dict.fromkeys(configurations))
            return store.scores(configurations)

        def candidate(configuration: Configuration) -> Candidate:
            share = candidates.cost(configuration) / full
            return Candidate(configuration, store.known[configuration], share)

        algorithm = LengthSearch(
            first,
            smallest,
            settings.mutations,
            settings.crossovers,
            settings.pareto_ties,
            termination=("n_gen", settings.generations + 1),
            seed=settings.seed,
        )
        shape = model.shape
        problem = LengthProblem(shape.layers, shape.max_tokens, candidates.cost, scores)
        drawn = len(store.known)
        history: list[list[Candidate]] = []
        areas: list[float] = []
        for number, genomes in enumerate(evolve(problem, algorithm)):
            history.append([candidate(genome) for genome in genomes])
            objectives = [(one.share, -one.score) for one in history[-1]]
            areas.append(area(objectives, smallest / full, 1.0))
            front = Front(
                points=history[-1],
                constant=[candidate(configuration) for configuration in first],
                evaluated=[candidate(configuration) for configuration in seen],
                history=history,
                areas=areas,
                rows=len(rows),
                seconds=sum(store.seconds[configuration] for configuration in seen),
                flops=sum(store.flops[configuration] for configuration in seen),
            )
            # not for generations that were evaluated before an interruption
            if len(store.known) > drawn:
                write_picture(front, task.metric, folder / "front.png")
            drawn = len(store.known)
            bar.update(job, description=f"generation {number}, mean {task.metric} {areas[-1]:.4f}")
    write_picture(front, task.metric, folder / "front.png")
    described = front.described() | {
        "metric": task.metric,
        "settings": asdict(settings),
        "fingerprint": key,
        "provenance": provenance(),
    }
    write_text(folder / "front.json", json.dumps(described, indent=1) + "\n")
    return front


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
