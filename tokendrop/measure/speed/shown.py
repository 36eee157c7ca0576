"""What a terminal is shown of the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

from tokendrop.measure.measures import (
    FLOPS_PADDED,
    FLOPS_UNPADDED,
    THROUGHPUT_PADDED,
    THROUGHPUT_UNPADDED,
)
from tokendrop.progress import table_console


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print a place of the grid, as a table with a line for each method and kept share."""
    place = rows[0]
    title = f"{place['model_shape']}, {place['length_mix']}, {place['batch_size']} at a time"
    title += f" (noise {place['noise']:.0%})"
    title += f"\ndense: {place['matmul_share']:.0%} of this machine's matrix product"
    if (limit := place["throughput_speedup_varlen"]) is not None:
        title += f", {limit:.2f}x as fast as variable-length attention alone"
    # in a narrow terminal names go on in the next line; cut off, they could not be told apart
    method = Column("method", overflow="fold")
    limits = [row["throughput_speedup_attainable"] for row in rows]
    asked = ["attainable"] * any(limits)
    table = Table(method, "kept", "FLOPs", *asked, "clock", "eta", title=title)
    for name in ("padded FLOPs", "clock", "sorted"):
        table.add_column(name)
    for row, limit in zip(rows, limits, strict=True):
        table.add_row(
            row["method"],
            f"{row['kept_share']:g}",
            FLOPS_UNPADDED.show(row[FLOPS_UNPADDED.name]),
            *["" if limit is None else f"{limit:.2f}x" for _ in asked],
            THROUGHPUT_UNPADDED.show(row[THROUGHPUT_UNPADDED.name]),
            f"{row['eta']:.2f}",
            FLOPS_PADDED.show(row[FLOPS_PADDED.name]),
            THROUGHPUT_PADDED.show(row[THROUGHPUT_PADDED.name]),
            f"{row['throughput_speedup_padded_sorted']:.2f}x",
        )
    table_console().print(table)


def show_training(rows: Sequence[dict[str, Any]]) -> None:
    """Print the training steps of a place, a line each."""
    place = rows[0]
    for row in rows:
        print(
            f"training step, {place['model_shape']}, {place['batch_size']} {place['length_mix']} "
            f"rows, {row['method'].replace('_', ' ')}: {row[THROUGHPUT_PADDED.name]:.2f}x as fast "
            f"as padded dense (noise {row['noise']:.0%})"
        )
