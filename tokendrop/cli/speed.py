"""``tokendrop speed``: the clock of packed inference and training, without any training data."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tokendrop.bounds import Count, NonNegative, PositiveShare, check
from tokendrop.cli.lines import is_table, text_columns, texts_of
from tokendrop.cli.options import Parser, add_trust_option
from tokendrop.deploy.engines import PACKAGES, Infer, check_installed, dense_runs
from tokendrop.errors import UserError
from tokendrop.files import check_file, write_text
from tokendrop.holding import one_writer
from tokendrop.measure.measures import FLOPS_UNPADDED
from tokendrop.measure.provenance import provenance
from tokendrop.measure.speed.by_hand import METHODS
from tokendrop.measure.speed.exported import ExportedModel, time_exported
from tokendrop.measure.speed.inference import Cell, time_cell
from tokendrop.measure.speed.memory import peak_memory
from tokendrop.measure.speed.shapes import LENGTH_MIXES, MODEL_SHAPES, random_model
from tokendrop.measure.speed.shown import show, show_training
from tokendrop.measure.speed.training import time_training
from tokendrop.models.placing import DTYPES, Dtype, device_named

# what two cores get through in less than five minutes
DEFAULT_GRID = [
    Cell("minilm-l6", "short", 1),
    Cell("minilm-l6", "short", 8),
    Cell("minilm-l6", "short", 32),
    Cell("minilm-l6", "medium", 8),
    Cell("minilm-l6", "long", 8),
    Cell("minilm-l6", "all_128", 1),
    Cell("minilm-l6", "all_128", 8),
    Cell("bert-base", "short", 8),
    Cell("bert-base", "all_128", 1),
]
# the last one has some 16,000 tokens, enough for a GPU's time to go by them
GPU_GRID = [
    *(Cell(*x) for x in product(("minilm-l6", "bert-base"), ("short", "long"), (1, 32, 256))),
    Cell("bert-base", "long", 48),
]
TRAINED = ("minilm-l6", "short")
LIMITS: dict[str, Any] = {"kept": PositiveShare, "rounds": Count, "seconds": NonNegative}
LIMITS |= {"batch-sizes": Count, "train-rows": Count}
# an exported model brings its shape, its method and its weights
NOT_OF_EXPORTED = ["shapes", "methods", "kept", "memory", "attainable", "train-rows", "compile"]
NOT_OF_EXPORTED += ["device", "dtype"]


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and measure."""
    options = parser().parse_args(arguments)
    device = device_named(options.device)
    if options.memory and device.type == "cpu" and not Path("/proc/self/clear_refs").exists():
        raise UserError("--memory reads a CPU process's peak from /proc, which only Linux has")
    _check(options)
    on_gpu = device.type == "cuda"
    name: Dtype = options.dtype or ("bf16" if on_gpu else "fp32")
    if options.engines and (on_gpu or name != "fp32"):
        raise UserError("--engines run on a processor in fp32: leave out --device and --dtype")
    check_installed(options.engines)
    with one_writer(options.json, "--json") if options.json else nullcontext():
        _measure(options, device, name)


def _measure(options: argparse.Namespace, device: torch.device, name: Dtype) -> None:
    on_gpu, dtype = device.type == "cuda", DTYPES[name]
    if options.exported is not None:
        timed = list(_exported(options))
        _save(options.json, {"machine": provenance(), "exported": timed})
        return
    for option in ("--texts", "--column", "--trust-reducer"):
        if vars(options)[option.removeprefix("--").replace("-", "_")]:
            raise UserError(f"{option} is for an exported model: name its folder with --exported")
    rate = _matmul(device, dtype)
    machine = provenance() | _card(device) | rate | {"dtype": name}
    found: dict[str, Any] = {"machine": machine, "rows": [], "training": []}
    for rows in _inference(options, device, dtype):
        for row in rows:
            row["matmul_share"] = row["gflops_per_second"] / rate["matmul_gflops_per_second"]
        show(rows)
        found["rows"] += rows
        _save(options.json, found)
    model = random_model(TRAINED[0], device)
    trained = options.methods if on_gpu or options.train_rows else []
    for batch_size in options.train_rows or ([32, 128] if on_gpu else [32]):
        place = (*TRAINED, batch_size)
        found["training"] += time_training(
            model, *place, options.rounds, options.seconds, trained, options.compile
        )
        show_training([x for x in found["training"] if x["batch_size"] == batch_size])
        _save(options.json, found)
    if options.memory:
        found["memory"] = [
            peak_memory(shape, mix, rows, options.device) for shape, mix, rows in options.memory
        ]
        for row in found["memory"]:
            print(", ".join(f"{name} {value}" for name, value in row.items()))
    _save(options.json, found)


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "speed",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Time every method, set by hand to keep a given share of the work, against "
        "the same encoder with nothing dropped (packed) and against plain Hugging Face (padded): "
        "random weights, contenders interleaved in one process, medians of ratios. 'eta' is the "
        "share of the FLOPs speed-up that the clock sees. Without options a selection that takes "
        "less than five minutes on two cores; name shapes, mixes or batch sizes for a whole grid.",
    )
    parser.add_argument("--shapes", nargs="+", choices=MODEL_SHAPES, help="(default: selection)")
    parser.add_argument("--mixes", nargs="+", choices=LENGTH_MIXES, help="lengths of the rows")
    parser.add_argument("--batch-sizes", nargs="+", type=int, help="rows at a time")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--kept", nargs="+", type=float, default=[0.5, 0.25], help="kept shares of the work"
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions, at most")
    parser.add_argument(
        "--seconds", type=float, default=16.0, help="for each place of the grid, if 3 rounds fit"
    )
    parser.add_argument(
        "--memory",
        nargs="+",
        type=_place,
        metavar="SHAPE:MIX:ROWS",
        help="also measure the peak memory of a pass and of a training step there",
    )
    parser.add_argument(
        "--attainable",
        action="store_true",
        help="also time the operators alone, on the tokens kept: what the machine allows",
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=PACKAGES,
        default=[],
        help="also time the dense model there, padded, as yardsticks: as rows arrive, and sorted "
        "by length; ONNX Runtime with its own optimiser in fp32 and int8",
    )
    parser.add_argument(
        "--exported",
        type=Path,
        metavar="FOLDER",
        help="time only this exported model, in --engines (default: onnxruntime), against the "
        "engine's own dense model; by default rows of 128 tokens one at a time",
    )
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help="texts for --exported, one per line or a table, instead of random rows: what a method "
        "drops that decides by content, random rows do not show",
    )
    parser.add_argument(
        "--column",
        action="append",
        help="of a table in --texts, that has the texts; two of them for pairs (default: text)",
    )
    add_trust_option(parser)
    parser.add_argument(
        "--train-rows",
        nargs="+",
        type=int,
        help="rows of the training steps that are timed, with the methods' own (default: 32, of "
        "the dense models alone; on a GPU 32 and 128)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="also time training steps with compiled layers, which take a minute to make",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of weights in inference (default: fp32, on a GPU bf16)"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Raise for a number that nothing can be timed with, or figures that cannot be written."""
    for option, hint in LIMITS.items():
        given = vars(options)[option.replace("-", "_")]
        for value in [given] if isinstance(given, int | float) else given or []:
            check({option: value}, {option: hint}, "--")
    usual = parser()
    idle = NOT_OF_EXPORTED if options.exported is not None else []
    for option in [*idle, *["mixes"] * (options.texts is not None)]:
        if vars(options)[name := option.replace("-", "_")] != usual.get_default(name):
            what = "--texts" if option == "mixes" else f"--exported {options.exported}"
            raise UserError(f"--{option} changes nothing about {what}: leave it out")
    if options.json is not None:
        check_file(options.json, "--json")


def _place(text: str) -> tuple[str, str, int]:
    shape, _, rest = text.partition(":")
    mix, _, rows = rest.partition(":")
    known = shape in MODEL_SHAPES and mix in LENGTH_MIXES
    if not (known and rows.isdecimal() and int(rows) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not like minilm-l6:long:32")
    return shape, mix, int(rows)


def _inference(
    options: argparse.Namespace, device: torch.device, dtype: torch.dtype
) -> Iterator[list[dict[str, Any]]]:
    """The records of each place of the grid."""
    cells = GPU_GRID if device.type == "cuda" else DEFAULT_GRID
    if options.shapes or options.mixes or options.batch_sizes:
        shapes, mixes = options.shapes or MODEL_SHAPES, options.mixes or LENGTH_MIXES
        cells = [Cell(*x) for x in product(shapes, mixes, options.batch_sizes or [1, 8, 32, 128])]
    model, loaded, engines = None, "", dict[str, Infer]()
    for cell in cells:
        if loaded != cell.shape:
            model, loaded = random_model(cell.shape, device, dtype), cell.shape
            engines = dense_runs(model, options.engines) if options.engines else {}
        assert model is not None
        methods, rounds, seconds = options.methods, options.rounds, options.seconds
        yield list(
            time_cell(
                model, cell, options.kept, methods, rounds, seconds, options.attainable, engines
            )
        )


def _exported(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    model = ExportedModel.read(options.exported, options.trust_reducer)
    runs = model.runs(options.engines or ["onnxruntime"])
    columns = text_columns(options.column, "--texts", there=is_table(options.texts))
    texts = texts_of(options.texts, columns, model.described.task) if options.texts else []
    mixes = ["texts"] if texts else options.mixes or ["all_128"]
    for mix, size in product(mixes, options.batch_sizes or [1]):
        for row in time_exported(model, runs, mix, size, options.rounds, options.seconds, texts):
            flops = f"FLOPs {FLOPS_UNPADDED.show(row[FLOPS_UNPADDED.name])}, " if row["eta"] else ""
            what = "texts" if texts else f"{mix} rows"
            print(
                f"{row['method']} in {row['engine']}, {what} of up to {row['longest_row']} "
                f"tokens, {size} at a time: "
                f"{row['throughput_speedup_engine']:.2f}x as fast as its dense model ({flops}noise "
                f"{row['noise']:.0%})"
            )
            yield row


def _card(device: torch.device) -> dict[str, str]:
    """The GPU, for a figure means nothing without it."""
    return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def _matmul(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Rate of a large square product, the yardstick of what this machine can do."""
    size = 8192 if device.type == "cuda" else 3072  # a card is through with these at once
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return {"matmul_gflops_per_second": 2 * size**3 / best / 1e9}


def _save(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        write_text(path, json.dumps(found, indent=1) + "\n")
