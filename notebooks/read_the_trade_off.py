# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Read the trade-off
#
# One number says little about a method: most of them can be made faster and less accurate by one
# knob. So a comparison gives a curve, and the question is which curve lies further up and to the
# right, and by more than chance.

# %% tags=["parameters"]
train_rows = 1000
random_init = None  # or changes to the architecture, for random weights of another size
folder = "runs/notebooks"

# %%
import logging
from pathlib import Path

import matplotlib.pyplot as plt

from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.runner import compare
from tokendrop.compare.grid.settings import Comparison
from tokendrop.compare.results.frame import results_frame
from tokendrop.measure.clock import Clock
from tokendrop.reducers.base import Stage

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

# %% [markdown]
# The knob of PoWER-BERT is the weight of its mass. DACT-BERT's stopping rule needs no training of
# its own: both its points are one model. Truncation is what every method has to beat.

# %%
power_bert = {
    "soft_learning_rate": 6e-2, "learning_rate": 1e-4, "search_epochs": 1, "retrain_epochs": 1,
}  # fmt: skip
dact_bert = {
    "learning_rate": 1e-4, "unit_learning_rate": 1e-3, "epochs": 1, "pooling": "mean", "tau": 0.15,
}  # fmt: skip
comparison = Comparison(
    tasks=["rotten_tomatoes"],
    methods={
        "dense": Method("Dense"),
        "power_bert": Method(
            "PowerBert",
            power_bert,
            {"mild": {"mass_weight": 1e-4}, "strong": {"mass_weight": 5e-3}},
        ),
        "dact_bert": Method(
            "DactBert", dact_bert, {rule: {"exit_rule": rule} for rule in ("paper", "tight")}
        ),
        "truncation": Method(
            "baselines.Truncation", {}, {f"first_{n}": {"tokens": n} for n in (8, 16)}
        ),
    },
    random_init=random_init,
    fine_tune=Stage("fine_tune", 2, 1e-4, weight_decay=0.01, warmup=0.06, clip=1.0),
    data={"train_rows": train_rows, "max_length": 64},
    clock=Clock(rows=32, single_rows=4, rounds=3),
    loggers=[],
)
results = results_frame(compare(comparison, Path(folder) / "trade_off"))

# %%
tasks = results.groupby("task")
figure, panels = plt.subplots(1, len(tasks), figsize=(7 * len(tasks), 4), squeeze=False)
speed = "flops_speedup_unpadded"
for axes, (task, runs) in zip(panels.flat, tasks, strict=True):
    # a point is the mean over its seeds
    points = runs.groupby(["method", "operating_point"])[[speed, "value"]].mean()
    for method, curve in points.groupby("method"):
        curve = curve.sort_values(speed)
        axes.plot(curve[speed], curve.value, marker="o", label=method)
    metric = runs.metric.iloc[0]
    axes.set(title=task, xlabel="FLOPs speed-up, unpadded", ylabel=f"{metric} on the test split")
    axes.legend()
figure.tight_layout()

# %% [markdown]
# **Up and to the right is better.** Three things to check before believing a difference:
#
# *Is it larger than chance?* An accuracy p on n rows has a standard error of sqrt(p (1 - p) / n).
# As a rule of thumb, points closer than two of these are not told apart by one seed. Models that
# err on the same rows can be, and other metrics, such as F1 or a correlation, have other errors:
# `report.html` compares models row by row and has the intervals of all metrics.

# %%
for run in results[(results.method == "dense") & (results.metric == "accuracy")].itertuples():
    error = (run.value * (1 - run.value) / run.examples_eval) ** 0.5
    found = f"{run.value:.3f}, standard error {error:.3f} on {run.examples_eval} rows"
    print(f"dense on {run.task}, seed {run.seed}: {found}")

# %% [markdown]
# *Against what?* `padded` is against the plain Hugging Face model on padded batches, as papers
# report it; `unpadded` is against the same encoder with nothing dropped. The dense row shows what
# leaving out the padding alone is worth: no method may take the credit for that.

# %%
speedups = ["flops_speedup_padded", "flops_speedup_unpadded", "throughput_speedup_unpadded"]
shown = results[["task", "method", "operating_point", "seed", *speedups]]
print(shown.round(2).to_string(index=False))

# %% [markdown]
# *Does the clock agree?* Fewer operations are not fewer seconds at every batch size; the last
# column is the time ratio in batches of 32. `report.html` in the folder of the comparison has all
# of this with paired intervals, and one row at a time.
