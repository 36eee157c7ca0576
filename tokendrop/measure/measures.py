"""The measures: each number that a run of a comparison records, named and described once.

To add one: describe it here, give :class:`tokendrop.compare.results.records.Record` a field of its
name, and work it out where that record is made. Tables, figures, cards and trackers read this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Better = Literal["more", "less"]


@dataclass(frozen=True)
class TradeOff:
    """The figure that shows the task's metric against a measure.

    Attributes:
        name: of the figure and its file.
        axis: label of the measure's axis.
        title, caption: of the figure in the report.
    """

    name: str
    axis: str
    title: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of a run: its name, what it means, and where it is shown.

    Attributes:
        name: the field of the record, the column of ``results.csv`` and the name in W&B.
        better: whether more or less of it is better, None where neither is.
        show: the number as text for people.
        column: its heading in tables for people, empty where they leave it out.
        meaning: explains that column.
        trade_off: its figure, None where it has none.
        card: what a model's card calls it as a speed-up, empty where it is none.
        logged: what the training calls it in its logs, after the name of the split.
        timing: the timing of a record that it is a ratio of, whose noise it has.
    """

    name: str
    better: Better | None
    show: Callable[[float], str]
    column: str = ""
    meaning: str = ""
    trade_off: TradeOff | None = None
    card: str = ""
    logged: str = ""
    timing: Literal["", "batch32", "batch1"] = ""


_ratio = "{:.2f}x".format

VALUE = Measure(
    name="value",
    better="more",
    show=lambda value: f"{100 * value:.2f} %",
    column="Value",
    meaning="the metric on the test split, ± the standard deviation over seeds if several ran.",
)
FLOPS_PADDED = Measure(
    name="flops_speedup_padded",
    better="more",
    show=_ratio,
    column="FLOPs (padded)",
    meaning="how many times fewer FLOPs than the plain Hugging Face model on padded batches of the "
    "same rows in the same order. Papers report this one; a part of it is only the padding that no "
    "packed model computes, which is why dense is above 1 too.",
    card="FLOPs speed-up, padded",
)
FLOPS_UNPADDED = Measure(
    name="flops_speedup_unpadded",
    better="more",
    show=_ratio,
    column="FLOPs (unpadded)",
    meaning="how many times fewer FLOPs than the same packed encoder with nothing dropped. What "
    "the method itself saves on paper; its own scores and exits count against it.",
    trade_off=TradeOff(
        "trade_off_flops",
        "Times fewer FLOPs than packed dense",
        "Quality against FLOPs",
        "Up and to the right is better. The grey steps join the points that no other point beats; "
        "the dashed line is the dense model.",
    ),
    card="FLOPs speed-up, unpadded",
    logged="flops_speedup",
)
THROUGHPUT_PADDED = Measure(
    name="throughput_speedup_padded",
    better="more",
    show=_ratio,
    column="Clock (padded)",
    meaning="how many times more rows per second than the plain Hugging Face model on padded "
    "batches of the same rows in the same order, measured at 32 rows a batch.",
    card="clock speed-up, 32 rows at once, padded",
    timing="batch32",
)
THROUGHPUT_UNPADDED = Measure(
    name="throughput_speedup_unpadded",
    better="more",
    show=_ratio,
    column="Clock (unpadded)",
    meaning="how many times more rows per second than the same packed encoder with nothing "
    "dropped, measured at 32 rows a batch. What the method itself saves on the clock.",
    trade_off=TradeOff(
        "trade_off_throughput",
        "Times more rows per second than packed dense",
        "Quality against measured speed",
        "The same against the clock, at 32 rows a batch; grey is within its noise of 1. What FLOPs "
        "promise and the clock does not show is lost to the hardware and to the method's own work.",
    ),
    card="clock speed-up, 32 rows at once, unpadded",
    timing="batch32",
)
LATENCY = Measure(
    name="latency_speedup_b1",
    better="more",
    show=_ratio,
    column="Clock (1 row)",
    meaning="how many times faster one row alone is answered than by the same packed encoder with "
    "nothing dropped.",
    trade_off=TradeOff(
        "trade_off_latency",
        "Times faster on one row than packed dense",
        "Quality against the time of one row",
        "The same for one row alone, where there is the least to save; grey is within noise of 1.",
    ),
    card="clock speed-up, single rows, unpadded",
    timing="batch1",
)
KEPT_TOKENS = Measure(
    name="kept_tokens_mean",
    better="less",
    show=lambda share: f"{100 * share:.0f} %",
    column="Tokens kept",
    meaning="the share of a row's tokens x layers that were processed, mean over rows.",
    logged="kept_tokens",
)
LAYERS = Measure(
    name="layers_mean",
    better="less",
    show="{:.1f}".format,
    column="Layers",
    meaning="how many layers a row went through, mean over rows.",
    logged="layers",
)
TRAIN_SECONDS = Measure(
    name="train_seconds",
    better="less",
    show="{:.0f}".format,
    column="Train s",
    meaning="seconds of training, all stages from the pretrained model on; a stage that several "
    "methods share, such as the fine-tuned start, was run once and counts in each.",
)
EXAMPLES = Measure(name="examples_eval", better=None, show="{:,}".format)
TRAIN_FLOPS = Measure(name="train_flops", better="less", show="{:.3g}".format)
TRAIN_COST = Measure(
    name="train_cost",
    better="less",
    show="{:.1f}x".format,
    column="Train cost",
    meaning="FLOPs of all stages of training, as a multiple of the fine-tuned start alone; of one "
    "epoch of fine-tuning where a fine-tuned model was taken as it is.",
)

MEASURES = (
    VALUE,
    FLOPS_PADDED,
    FLOPS_UNPADDED,
    THROUGHPUT_PADDED,
    THROUGHPUT_UNPADDED,
    LATENCY,
    KEPT_TOKENS,
    LAYERS,
    TRAIN_SECONDS,
    EXAMPLES,
    TRAIN_FLOPS,
    TRAIN_COST,
)
"""All of them, in the order of ``results.csv``."""

SUMMARY = (
    FLOPS_UNPADDED,
    FLOPS_PADDED,
    THROUGHPUT_UNPADDED,
    THROUGHPUT_PADDED,
    LATENCY,
    KEPT_TOKENS,
    LAYERS,
    TRAIN_SECONDS,
    TRAIN_COST,
)
"""Those that tables for people show behind the metric, in their order."""

TRADE_OFFS = tuple((measure, measure.trade_off) for measure in MEASURES if measure.trade_off)
SPEEDUPS = tuple(measure for measure in MEASURES if measure.card)
"""Those that a model's card shows."""


def within_noise(ratio: float, noise: float) -> bool:
    """Whether a ratio of the clock cannot be told from 1."""
    return abs(ratio - 1) <= noise
