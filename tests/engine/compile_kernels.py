"""Compiles every kernel for GPUs, for which none has to be there: the interpreter takes what no GPU
does. A program of its own, since Triton decides at its import whether it interprets.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton import compile as compiled
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tokendrop.engine.blocks import TILE
from tokendrop.engine.ragged import kernels, row_kernels
from tokendrop.engine.ragged.operators import tile_of
from tokendrop.engine.ragged.rows import STEP
from tokendrop.reducers.soft_removal import kernels as removal_kernels

WARP = 32
PLAIN = {"BIAS": False, "WINDOW": False, "BUCKETS": 0, "DROPOUT": False}
EVERYTHING = {"BIAS": True, "WINDOW": True, "BUCKETS": 32, "DROPOUT": True}
# types of states with the size of a head, one of which is no power of 2
KINDS = (
    ("bf16", torch.bfloat16, PLAIN, 64), ("fp32", torch.float32, EVERYTHING, 64),
    ("fp16", torch.float16, EVERYTHING, 24),
)  # fmt: skip
SPILLED = 1024  # bytes a thread; where registers do not suffice, it is several thousand
USAGE = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
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

REMOVAL = ("soften", "soften_backward")
REMOVED = ("CONTRIBUTIONS", "MASK", "BIAS", "THETA")


def variants() -> Iterator[tuple[Any, dict[str, str], dict[str, Any]]]:
    """Each kernel with the types of its arguments and its constants."""
    for name in ATTENTION:
        kernel = getattr(kernels, name)
        for kind, dtype, flags, size in KINDS:
            types = {
                argument: f"*{kind}" if argument in OF_TYPE else "*fp32"
                for argument in kernel.arg_names
            }
            types |= {argument: "i32" for argument in types if argument.endswith("_stride")}
            diagonal = {"DIAGONAL": False} if name == "received" else {}
            yield kernel, types | OTHERS, flags | tile_of(dtype, size) | diagonal
    for first in (True, False):
        ranks = {"KEEP_FIRST": first, "BLOCK": TILE}
        yield row_kernels.rank, ROWS, ranks | {"COUNTED": False}
        yield row_kernels.rank, ROWS | {"found": "*i1"}, ranks | {"COUNTED": True}
    yield row_kernels.count, ROWS, {"BLOCK": STEP}
    yield row_kernels.gather, ROWS, {"BLOCK": STEP}
    for name in REMOVAL:
        kernel = getattr(removal_kernels, name)
        numbers = dict.fromkeys(kernel.arg_names, "*fp32") | {"offsets": "*i64"}
        flags = {flag: True for flag in REMOVED if flag in numbers}
        yield kernel, numbers, flags | {"BLOCK": STEP}


def spilled(binary: bytes) -> int:
    """Bytes of memory that each thread of a kernel uses in the place of registers."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        said = subprocess.run(
            [USAGE, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    found = re.search(r"STACK:(\d+)", said.stdout + said.stderr)
    assert found, said
    return int(found[1])


def main(architecture: int) -> None:
    """Print the kernels that were compiled for an architecture, 90 for Hopper."""
    done = set()
    for kernel, types, constants in variants():
        options = {"num_warps": constants.pop("num_warps", 4)}
        names = kernel.arg_names
        signature = {name: "constexpr" if name in constants else types[name] for name in names}
        places = {(names.index(name),): value for name, value in constants.items()}
        source = ASTSource(kernel, signature=signature, constexprs=places)
        binary = compiled(source, GPUTarget("cuda", architecture, WARP), options)
        assert spilled(binary.asm["cubin"]) <= SPILLED, (kernel, types, constants)
        done.add(kernel.fn.__name__)
    print(*sorted(done))


if __name__ == "__main__":
    main(int(sys.argv[1]))
