"""ONNX files in int8, as ONNX Runtime makes them without any data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokendrop.errors import UserError, one_line


def quantise(source: Path, target: Path, operators: Sequence[str] = ("MatMul",)) -> None:
    """Write a file whose weights are in int8, a scale for each output; activations follow as they
    come.

    Args:
        source: in fp32.
        target: may be the same file.
        operators: whose weights.

    Raises:
        UserError: what was written on the way cannot be read again.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnxruntime.quantization import QuantType, quantize_dynamic

    try:
        with quiet():
            quantize_dynamic(
                source,
                target,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(operators),
                extra_options={"DefaultTensorType": 1},  # fp32, where a fused operator hides it
            )
    except DecodeError as error:
        # onnx writes the shapes that it infers beside the file, and does not look whether it could
        raise UserError(
            f"{source.name} cannot be quantised: what was written beside it is torn, as it is when "
            f"the disk is full ({one_line(error)}): make room, and export again"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without what onnxruntime's tools tell of every step."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
