"""The table of engines in docs/performance.md: dense and dropping models, by torch and elsewhere.

    python tools/engines_table.py --out table.jsonl

Random weights, methods set to half of the FLOPs. In a cell, all dense models and then
each method are timed interleaved with packed dense, on the same rows, in seconds of one processor,
which other work on the machine does not add to. Cells that the output has already are not timed
again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertTokenizer, PreTrainedModel

from tokendrop.data.batching import chunks
from tokendrop.deploy import exits
from tokendrop.deploy.check import Rows
from tokendrop.deploy.engines import Array, Infer, dense_runs, openvino_run
from tokendrop.deploy.export import export_onnx
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.measure.clock import FEWEST_ROUNDS, median_ratio, noise, pad_rows
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.measure.provenance import provenance
from tokendrop.measure.speed import by_hand
from tokendrop.measure.speed.shapes import (
    LENGTH_MIXES,
    MODEL_SHAPES,
    WORDS,
    random_model,
    random_rows,
)
from tokendrop.models.backbones import shape_of
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Decision, Reducer, Shape, View
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense

SHARE = 0.5
PACKED, AGAIN = "packed dense", "packed dense again"


class AdapLeRByWord(AdapLeR):
    """AdapLeR that decides, and then lets tokens go at a depth drawn for their id instead, which a
    graph can do as well.
    """

    depth: Tensor  # (WORDS,) layers that a token takes part in

    def before_layer(self, view: View) -> Decision | None:
        super().before_layer(view)
        ids = view.batch.input_ids[view.layout.tokens]
        return Decision(keep=(self.depth[ids] > view.layer) | view.layout.is_first)


def adapler(shape: Shape) -> Reducer:
    """As drawn for `tokendrop speed`, but by id."""
    reducer = AdapLeRByWord()
    reducer.build(shape)
    batch = Batch.pack([list(range(WORDS))])
    drawn = by_hand.adapler(SHARE, batch, shape)
    assert isinstance(drawn, by_hand.DrawnAdapLeR)
    reducer.depth = nn.Buffer(drawn.depth)
    return reducer


def dact_bert(model: PreTrainedModel, rows: Sequence[list[int]], shape: Shape) -> Reducer:
    """With the bias of halting at which these rows leave after half of the layers."""
    batch = Batch.pack(sorted(rows, key=len))
    for bias in torch.linspace(4, -6, 200).tolist():
        torch.manual_seed(0)
        reducer = DactBert(pooling="mean", halt_bias=bias)
        reducer.build(shape)
        left = encode(model, batch, reducer.eval()).trace.row_depth().float().mean()
        if left <= SHARE * shape.layers:
            return reducer
    raise SystemExit("no bias of halting lets these rows leave in time")


def tokenizer() -> BertTokenizer:
    """Of as many words as the random models know."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{number}" for number in range(WORDS - len(special)))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def main() -> None:
    """Time the cells that are asked for and are not there."""
    options = arguments()
    torch.set_num_threads(1)
    there = options.out.read_text().splitlines() if options.out.exists() else []
    done = [json.loads(line) for line in there]
    known = {(row["model"], row["rows"], row["at a time"]) for row in done}
    for cell in product(options.shapes, options.mixes, options.batch_sizes):
        if cell not in known:
            for row in timed(*cell, options.rounds, options.seconds):
                done.append(row | provenance())
                print(row)
            options.out.write_text("".join(json.dumps(row) + "\n" for row in done))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(MODEL_SHAPES), choices=MODEL_SHAPES)
    parser.add_argument("--mixes", nargs="+", default=["short", "long"], choices=LENGTH_MIXES)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=15, help="at most")
    parser.add_argument("--seconds", type=float, default=60, help="after which no round begins")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, added to")
    return parser.parse_args()


Contenders = dict[str, tuple[Callable[[Any], object], Sequence[Any], float | None]]
"""By name, what runs a batch, the batches, and the FLOPs' speed-up if it drops."""


@torch.no_grad()
def timed(name: str, mix: str, size: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Everything in one cell: records with their speed over packed dense."""
    found = list[dict[str, Any]]()
    for contenders, rows in groups(name, mix, size):
        calls = {key: partial(each, run, batches) for key, (run, batches, _) in contenders.items()}
        with torch.inference_mode():
            times = interleaved(calls, rounds, seconds)
        known = {record["what"] for record in found}
        found += [
            {
                "model": name,
                "rows": mix,
                "at a time": size,
                "what": key,
                "over packed dense": median_ratio(times[PACKED], times[key]),
                "flops": contenders[key][2],
                "milliseconds a row": 1000 * statistics.median(times[key]) / rows,
                "noise": noise(times[AGAIN], times[PACKED]),
                "rounds": len(times[key]),
            }
            for key in contenders
            if key not in known
        ]
        del contenders, calls  # before the next engines take theirs
    return found


def groups(name: str, mix: str, size: int) -> Iterator[tuple[Contenders, int]]:
    """What is timed together, each time with packed dense, and the number of rows.

    Dense models and the methods one by one, since an engine keeps the memory that its longest batch
    took: all at once want 18 GiB at 32 long rows.
    """
    model = random_model(name)
    # of long rows one batch, so that sorting has nothing to do where there are 8 or more
    rows = random_rows(mix, max(8, size if mix == "long" else 2 * size))
    shape = shape_of(model.config, LENGTH_MIXES[mix][1])
    packed = [Batch.pack(sorted(chunk, key=len)) for chunk in chunks(rows, size)]
    arrival = [pad_rows(chunk, 0, model.device) for chunk in chunks(rows, size)]
    by_length = [pad_rows(c, 0, model.device) for c in chunks(sorted(rows, key=len), size)]
    orders = {"": arrival, ", sorted": by_length} if len(packed) > 1 else {"": arrival}
    dense: Contenders = {
        PACKED: (partial(packed_pass, model, Dense()), packed, None),
        AGAIN: (partial(packed_pass, model, Dense()), packed, None),
    }
    contenders = dict(dense)
    engines = dense_runs(model, ["onnxruntime", "openvino"])
    for order, batches in orders.items():
        contenders[f"Hugging Face{order}"] = (lambda batch: model(**batch), batches, None)
        for engine, run in engines.items():
            contenders[f"{engine}{order}"] = (run, numpy(batches), None)
    yield contenders, len(rows)
    del contenders, engines, run
    methods = {
        "adapler": adapler(shape),
        "dact_bert": dact_bert(model, rows, shape),
        "length_adaptive": by_hand.length_adaptive(SHARE, packed[0], shape),
        "power_bert": by_hand.power_bert(SHARE, packed[0], shape),
    }
    for method, reducer in methods.items():
        torch.manual_seed(0)
        dropping = TokenDropModel(model, reducer, tokenizer(), shape.max_tokens).eval()
        spent = sum(pass_flops(dropping(b).trace, reducer, model, shape) for b in packed)
        flops = dense_flops([len(row) for row in rows], model, shape) / spent
        elsewhere = {
            f"{method}, {engine}, sorted": (run, numpy(by_length), flops)
            for engine, run in exported(dropping, rows).items()
        }
        own = {method: (partial(packed_pass, model, reducer), packed, flops)}
        yield dense | own | elsewhere, len(rows)
        del elsewhere


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Processor seconds of each call in each round, in a random order, after one that warms up."""
    order, draw, begun = list(calls), random.Random(0), time.perf_counter()
    times: dict[str, list[float]] = {key: [] for key in order}
    for number in range(-1, rounds):
        if number >= FEWEST_ROUNDS and time.perf_counter() - begun > seconds:
            break
        draw.shuffle(order)
        for key in order:
            before = time.process_time()
            calls[key]()
            if number >= 0:
                times[key].append(time.process_time() - before)
    return times


def exported(model: TokenDropModel, rows: Sequence[list[int]]) -> dict[str, Infer]:
    """A method in both engines; one with exits has a driver for ONNX Runtime alone."""
    with TemporaryDirectory() as place:
        out = Path(place, "exported")
        shown = Rows(rows[:8], [[0] * len(row) for row in rows[:8]], "random rows")
        files = export_onnx(model, out, shown).files
        found: dict[str, Infer] = {"onnxruntime": exits.Model(out, torch.get_num_threads())}
        if len(files) == 1:
            found["openvino"] = openvino_run(out / files[0])
    return found


def packed_pass(model: PreTrainedModel, reducer: Reducer, batch: Batch) -> object:
    return encode(model, batch, reducer)


def each(run: Callable[[Any], object], batches: Sequence[Any]) -> None:
    for batch in batches:
        run(batch)


def numpy(batches: Sequence[dict[str, Tensor]]) -> list[dict[str, Array]]:
    """What engines read; the dense models know one type of token."""
    found = [{key: value.numpy() for key, value in batch.items()} for batch in batches]
    return [batch | {"token_type_ids": 0 * batch["input_ids"]} for batch in found]


if __name__ == "__main__":
    main()
