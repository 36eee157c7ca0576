"""What the methods give at the same budgets, in a few sentences that claim nothing more.

They are made of :class:`tokendrop.compare.results.budgets.SameBudget` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.compare.results.budgets import AtBudget, SameBudget, Standing
from tokendrop.compare.results.points import Point
from tokendrop.compare.results.resampled import Difference
from tokendrop.measure.measures import KEPT_TOKENS, VALUE


def verdict(budgets: Sequence[SameBudget]) -> list[str]:
    """The sentences of each task, and one on how far the intervals reach.

    They name what is told apart from dense at each budget, and a best method only where one beats
    every other. Where dense has learned nothing, they say that and no more.
    """
    sentences = [sentence for one in budgets for sentence in _of_task(one)]
    judged = [
        standing
        for one in budgets
        if one.dense_learned
        for at in one.budgets
        for standing in at.standings
        if standing.to_dense.difference
    ]
    if not judged:
        return sentences
    return [*sentences, _doubt(judged)]


def _of_task(found: SameBudget) -> list[str]:
    if found.dense is None:
        return [f"On {found.task} the dense model has not run, so no method is compared with it."]
    value, level = found.dense.mean(VALUE), found.baseline
    metric = found.dense.runs[0].metric.replace("_", " ")
    reached = f"On {found.task} {found.dense.name} reaches {VALUE.show(value)} {metric}"
    if not level.is_below(value):
        return [
            f"{reached}, which is {level.not_below(value)}: it has learned nothing that a method "
            "could keep, so none is judged."
        ]
    rows = found.dense.runs[0].examples_eval
    reached += f" on the {rows:,} rows of the test split"
    if not found.dense_learned:
        assert found.interval is not None
        return [
            f"{reached}, {level.not_told(found.interval)}: what is as good may have learned "
            "nothing, so no method is judged."
        ]
    if level.value > 0:
        reached += f", {level.name} {VALUE.show(level.value)}"
    sentences = [f"{reached}."]
    if found.without_dev:
        sentences.append(
            f"What {enumerated(found.without_dev)} did on the dev split of {found.task} was not "
            "recorded, by which the point at a budget is chosen, so nothing is said of it at the "
            "same budget: compare again into a new folder."
        )
    sentences += [_at_budget(at, found.task, found.dense.name) for at in found.budgets]
    sentences += [_keeps_all(point) for point in found.keep_all]
    return sentences


def _at_budget(at: AtBudget, task: str, dense: str) -> str:
    ties = [one for one in at.standings if _compared(one) and not one.to_dense.told_apart]
    apart = [one for one in at.standings if one.to_dense.told_apart]
    unknown = [one for one in at.standings if not _compared(one)]
    claims = []
    if ties:
        claims.append(f"{_names(ties)} cannot be told from {dense}")
    claims += [f"{one.point.method} {_told(one.to_dense.difference)}" for one in apart]
    if unknown:
        claims.append(
            f"{_names(unknown)} cannot be compared, for want of answers with the seeds of {dense}"
        )
    if at.best:
        claims.append(f"{at.best} beats every other method")
    if at.too_slow:
        claims.append(
            f"{enumerated(at.too_slow)} {'does' if len(at.too_slow) == 1 else 'do'} not reach it"
        )
    return f"At {at.speedup:g}x fewer FLOPs on {task}, {'; '.join(claims)}."


def _compared(standing: Standing) -> bool:
    return standing.to_dense.difference is not None


def _told(difference: Difference | None) -> str:
    assert difference is not None
    low, high = sorted((100 * abs(difference.low), 100 * abs(difference.high)))
    verb = "loses" if difference.value < 0 else "gains"
    return f"{verb} {100 * abs(difference.value):.1f} points ({low:.1f} to {high:.1f})"


def _keeps_all(point: Point) -> str:
    kept = 100 * point.mean(KEPT_TOKENS)
    return f"{point.name} drops nothing on {point.task}: it keeps {kept:.1f} % of tokens x layers."


def _doubt(judged: Sequence[Standing]) -> str:
    """What the intervals are over."""
    seeds = {len(standing.point.runs) for standing in judged}
    if seeds == {1}:
        over = "test examples alone, as there is one seed"
    else:
        over = "test examples and seeds" + (", where there are several" if 1 in seeds else "")
    return (
        f"Intervals of 95 % are over {over}, and are not corrected; tests on the same resamples, "
        "corrected for the number of methods, tell apart, and what they do not is not ranked."
    )


def _names(standings: Sequence[Standing]) -> str:
    return enumerated([one.point.method for one in standings])


def enumerated(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> enumerated(["a"]), enumerated(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
