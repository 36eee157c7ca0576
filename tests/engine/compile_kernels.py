"""Compiles every kernel for GPUs, for which none has to be there: the interpreter takes what no GPU
does. A program of its own, since Triton decides at its import whether it interprets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

from triton import compile as compiled
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tokendrop.engine.blocks import TILE
from tokendrop.engine.ragged import kernels, row_kernels
from tokendrop.engine.ragged.rows import STEP

WARP = 32
PLAIN = {"BIAS": False, "WINDOW": False, "BUCKETS": 0, "DROPOUT": False}
EVERYTHING = {"BIAS": True, "WINDOW": True, "BUCKETS": 32, "DROPOUT": True}
TILES = {"BLOCK": TILE, "SIZE": 24, "COLUMNS": 32}
NUMBERS = {"scale": "fp32", "dropout": "fp32"}
OTHERS = {
    "places": "*i64", "bucket": "*i32", "offsets": "*i64", "tiles": "*i32", "tokens": "i32",
    "reach": "i32", "middle": "i32", "seed": "i32", **NUMBERS,
}  # fmt: skip
OF_TYPE = ("query", "key", "value", "context", "gradient", "to_query", "to_key", "to_value")
ATTENTION = ("forward", "backward_queries", "backward_keys", "received")
ROWS = {
    "scores": "*fp32", "mask": "*i1", "found": "*i64", "counts": "*i64", "offsets": "*i64",
    "tiles": "*i32", "tokens": "*i64", "came": "*i64", "begins": "*i64", "index": "*i64",
    "kept": "*i64",
}  # fmt: skip


def variants() -> Iterator[tuple[Any, dict[str, str], dict[str, Any]]]:
    """Each kernel with the types of its arguments and its constants."""
    for name in ATTENTION:
        kernel = getattr(kernels, name)
        for kind, flags in (("bf16", PLAIN), ("fp32", EVERYTHING), ("fp16", EVERYTHING)):
            types = {
                argument: f"*{kind}" if argument in OF_TYPE else "*fp32"
                for argument in kernel.arg_names
            }
            types |= {argument: "i32" for argument in types if argument.endswith("_stride")}
            diagonal = {"DIAGONAL": False} if name == "received" else {}
            yield kernel, types | OTHERS, flags | TILES | diagonal
    for first in (True, False):
        ranks = {"KEEP_FIRST": first, "BLOCK": TILE}
        yield row_kernels.rank, ROWS, ranks | {"COUNTED": False}
        yield row_kernels.rank, ROWS | {"found": "*i1"}, ranks | {"COUNTED": True}
    yield row_kernels.count, ROWS, {"BLOCK": STEP}
    yield row_kernels.gather, ROWS, {"BLOCK": STEP}


def main(architecture: int) -> None:
    """Print the kernels that were compiled for an architecture, 90 for Hopper."""
    done = set()
    for kernel, types, constants in variants():
        names = kernel.arg_names
        signature = {name: "constexpr" if name in constants else types[name] for name in names}
        places = {(names.index(name),): value for name, value in constants.items()}
        source = ASTSource(kernel, signature=signature, constexprs=places)
        binary = compiled(source, target=GPUTarget("cuda", architecture, WARP))
        assert binary.asm["cubin"], kernel
        done.add(kernel.fn.__name__)
    print(*sorted(done))


if __name__ == "__main__":
    main(int(sys.argv[1]))
