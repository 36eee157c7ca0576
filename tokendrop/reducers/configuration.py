"""Checking a configuration: how many tokens of a row leave each layer."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.errors import UserError


def check_configuration(counts: Sequence[int], layers: int, least: int = 1) -> list[int]:
    """A retention or length configuration that fits the backbone.

    Args:
        counts: tokens that leave each layer.
        layers: of the backbone.
        least: smallest count that the method allows.

    Raises:
        UserError: its length is not the number of layers, a count is too small, or it grows.
    """
    counts = list(counts)
    if len(counts) != layers:
        raise UserError(
            f"configuration {counts} has {len(counts)} entries but the backbone has {layers} "
            "layers: give one count per layer"
        )
    for layer, count in enumerate(counts):
        if count < least:
            raise UserError(
                f"configuration {counts} keeps {count} tokens in layer {layer + 1}: keep at least "
                f"{least}"
            )
        if layer and count > counts[layer - 1]:
            raise UserError(
                f"configuration {counts} grows from {counts[layer - 1]} to {count} in layer "
                f"{layer + 1}: a dropped token cannot come back, so counts must not grow"
            )
    return counts
