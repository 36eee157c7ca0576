"""Agreement with human rationales as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich import box
from rich.table import Table

METRICS = {
    "accuracy": "Accu-\nracy",
    "kept": "Kept",
    "false_positive_rate": "FPR",
    "precision": "Precision",
    "recall": "Recall",
    "token_f1": "Token F1",
    "iou_f1": "IOU F1",
    "auprc": "AUPRC",
    "comprehensiveness": "Compre-\nhensiveness",
    "sufficiency": "Suffi-\nciency",
}


def rationale_tables(found: pd.DataFrame) -> Iterator[Table]:
    """A table for each task: every method, with the controls that keep as many tokens below it.

    Args:
        found: what `rationale.csv` holds; seeds are averaged over.
    """
    for task, of_task in found.groupby("task", sort=False):
        first = of_task.iloc[0]
        title = (
            f"{task}: {first['rows']} test rows with a rationale, "
            f"{first['most_frequent_class']:.1%} of them of one class"
        )
        if first["marked_words_cut"]:
            title += f", {first['marked_words_cut']:.1%} of the marked words cut"
        caption = (
            "below each method: controls that keep as many tokens of each row, chosen by the "
            "fine-tuned model or at random; their accuracy, comprehensiveness and sufficiency are "
            "the fine-tuned model's."
        )
        if (of_task["kept"] == 1).any():
            caption += (
                " (keeps all): no token was dropped, as by an early exit or the dense model; only "
                "AUPRC says anything, and only the base rate where all tokens go equally deep."
            )
        table = Table("", box=box.SIMPLE_HEAD, title=title, caption=caption)
        for name in METRICS.values():
            table.add_column(name, justify="right")
        for (method, point), rows in of_task.groupby(["method", "operating_point"], sort=False):
            means = rows.groupby("source", sort=False)[list(METRICS)].mean()
            for source, values in means.iterrows():
                name = f"{method} {point}".removesuffix(" default")
                if values["kept"] == 1:
                    name += " (keeps all)"
                cells = [f"{value:.3f}" for value in values]
                is_method = source == "method"
                shown = name if is_method else f"  {source}"
                table.add_row(shown, *cells, style="bold" if is_method else None)
            table.add_section()
        yield table
