"""Which differences of docs/study would not be told with a t distribution for the few seeds.

    python tools/few_seeds.py

Resamples of two or three seeds give too small a variance of their mean (docs/statistics.md). Here
it is replaced by the seeds' sample variance, in two intervals with Student's t: beside the variance
of the examples, with Welch and Satterthwaite's degrees of freedom; and alone, the paired t test
of the seeds. half_least and half_most are half of the smaller and of the larger one. Writes
docs/study/few_seeds.csv, the differences with an interval beside 0 that are smaller than half_most,
and prints how many are smaller than half_least.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t

STUDY = Path(__file__).parents[1] / "docs" / "study"
FIRST = "first three sets"
LEFT_OUT = {"by_hand", "ablations", "leaderboard"}  # of one seed, or no pages
POINT = ["task", "method", "operating_point"]
NORMAL = 1.96
OUTSIDE = 0.975


def halves(deviation: float, seeds: int, half: float) -> tuple[float, float]:
    """Half of the smaller and of the larger interval by t.

    Args:
        deviation: of the difference between seeds, by the sample.
        seeds: their number, at least two.
        half: half of the interval by resamples of seeds and examples.
    """
    of_seeds = deviation**2 / seeds
    drawn = of_seeds * (seeds - 1) / seeds
    of_examples = max(0.0, (half / NORMAL) ** 2 - drawn)
    if of_seeds == 0:
        return 0.0, half
    alone = t.ppf(OUTSIDE, seeds - 1) * math.sqrt(of_seeds)
    together = of_examples + of_seeds
    freedom = (seeds - 1) * (together / of_seeds) ** 2
    both = t.ppf(OUTSIDE, freedom) * math.sqrt(together)
    return min(alone, both), max(alone, both)


def told(place: Path) -> Iterator[dict[str, Any]]:
    """The differences of a page over several seeds whose interval leaves 0 out, in points."""
    results = pd.read_csv(place / "results.csv")
    for task, of_task in results.groupby("task", sort=False):
        points = dict(iter(of_task.groupby(POINT, sort=False)))
        by_seed = {key: runs.set_index("seed")["value"] for key, runs in points.items()}
        (reference,) = (
            key
            for key, runs in points.items()
            if runs["vs_dense"].isna().all() and key[1].startswith("dense")
        )
        for (_, method, point), runs in points.items():
            if method.startswith("dense"):
                continue
            first = runs.iloc[0]
            differences = 100 * (by_seed[task, method, point] - by_seed[reference])
            if len(differences) < 2 or not first["vs_dense_low"] * first["vs_dense_high"] > 0:
                continue
            low, high = 100 * first["vs_dense_low"], 100 * first["vs_dense_high"]
            deviation = float(differences.std(ddof=1))
            least, most = halves(deviation, len(differences), (high - low) / 2)
            yield {
                "page": FIRST if place == STUDY else place.name,
                "task": task,
                "method": method,
                "point": point,
                "difference": 100 * first["vs_dense"],
                "low": low,
                "high": high,
                "seeds": len(differences),
                "deviation": deviation,
                "half_least": least,
                "half_most": most,
            }


def every_difference() -> pd.DataFrame:
    """Those of all pages; runs that lie in two of them count once."""
    pages = sorted(path.parent for path in STUDY.glob("*/results.csv"))
    places = [STUDY, *(page for page in pages if page.name not in LEFT_OUT)]
    found = pd.DataFrame([row for place in places for row in told(place)])
    return found.drop_duplicates([name for name in found.columns if name != "page"])


if __name__ == "__main__":
    every = every_difference()
    distance = every["difference"].abs()
    lost = every[distance < every["half_most"]]
    lost.to_csv(STUDY / "few_seeds.csv", index=False, float_format="%.2f")
    sure = (distance < every["half_least"]).sum()
    print(f"of {len(every)} differences {sure} are no longer told, and perhaps {len(lost) - sure}")
