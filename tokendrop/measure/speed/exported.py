"""The clock of an exported model: the method against the same engine's own dense model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tokendrop.data.batching import chunks
from tokendrop.deploy import exits
from tokendrop.deploy.engines import Array, Infer, check_installed, dense_runs, openvino_run
from tokendrop.deploy.export import KEY, Description
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.measure.clock import interleave, median_ratio, noise, pad_rows
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.measure.measures import FLOPS_UNPADDED
from tokendrop.measure.speed.shapes import WORDS, random_rows
from tokendrop.models.backbones import shape_of
from tokendrop.models.checkpoints import read_config
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.stored import stored_reducer
from tokendrop.stored import first_problem, plain, read_json

FEWEST_ROWS = 8


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """An exported folder, and a dense model of its sizes with random weights.

    Attributes:
        folder: what ``tokendrop export`` wrote.
        described: what its configuration says of the export.
        dense: Hugging Face's own model.
        reducer: the method, without its weights.
    """

    folder: Path
    described: Description
    dense: PreTrainedModel
    reducer: Reducer

    @classmethod
    def read(cls, folder: Path, trusted: bool = False) -> ExportedModel:
        """
        Raises:
            UserError: it is no exported model, or of a method of somebody else's without trust.
        """
        file, cure = folder / "config.json", "write one with 'tokendrop export' and name its folder"
        if not file.is_file():
            raise UserError(f"{folder} is no exported model, it has no config.json: {cure}")
        told = read_json(file, dict[str, Any], "the configuration of an exported model", cure)
        if KEY not in told:
            raise UserError(f"{folder} is no exported model, its config.json has no {KEY}: {cure}")
        try:
            described: Description = plain(told[KEY], Description)
        except ValidationError as error:
            why = first_problem(error)
            raise UserError(f"{folder} is no exported model ({why}): {cure}") from error
        reducer = stored_reducer(described.reducer, trusted)
        config = read_config(str(folder))
        dense = AutoModelForSequenceClassification.from_config(config).eval()
        return cls(folder, described, dense, reducer)

    @property
    def method(self) -> str:
        """The name of the method's class."""
        return str(self.described.reducer.get("class_path")).rpartition(".")[2]

    def runs(self, engines: Sequence[str]) -> dict[str, tuple[Infer, Infer]]:
        """By engine and precision, the dense model and the method.

        Raises:
            UserError: an engine is not installed, or none of them runs these files.
        """
        check_installed(engines)
        files, weights = self.described.files, self.described.weights
        own: dict[str, Infer] = {}
        if "onnxruntime" in engines:
            own[f"onnxruntime {weights}"] = exits.Model(self.folder, torch.get_num_threads())
        if "openvino" in engines and len(files) == 1 and weights == "fp32":
            own["openvino fp32"] = openvino_run(self.folder / files[0])
        if not own:
            raise UserError(
                f"{self.folder} has exits or weights in int8, which are run in ONNX Runtime only: "
                "use --engines onnxruntime"
            )
        dense = dense_runs(self.dense, engines)
        return {name: (dense[name], run) for name, run in own.items()}

    def rows(self, mix: str, count: int, texts: Sequence[tuple[str, ...]]) -> list[list[int]]:
        """Token ids: of texts, else drawn, cut to the longest row of the model."""
        longest = self.described.max_length
        if not texts:
            config: Any = self.dense.config
            words = min(WORDS, config.vocab_size)
            return [row[:longest] for row in random_rows(mix, count, words)]
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        return [x.ids for x in tokenizer.encode_batch([p if len(p) > 1 else p[0] for p in texts])]

    def flops_speedup(self, rows: Sequence[list[int]]) -> float | None:
        """Over the packed dense model, where the weights do not matter for it; else None."""
        reducer = self.reducer
        shape = shape_of(self.dense.config, self.described.max_length, self.described.task)
        reducer.build(shape)
        if reducer.ranking() is None:
            return None
        trace = encode(self.dense, Batch.pack(rows), reducer.eval()).trace
        whole = dense_flops([len(row) for row in rows], self.dense, shape)
        return whole / pass_flops(trace, reducer, self.dense, shape)


@torch.inference_mode()
def time_exported(
    model: ExportedModel,
    runs: Mapping[str, tuple[Infer, Infer]],
    mix: str,
    batch_size: int,
    rounds: int,
    seconds: float,
    texts: Sequence[tuple[str, ...]] = (),
) -> Iterator[dict[str, Any]]:
    """Time the exported method against each engine's own dense model on the same padded rows.

    Args:
        model: what is timed.
        runs: what :meth:`ExportedModel.runs` gave.
        mix: of random rows, see LENGTH_MIXES.
        batch_size: rows at a time, as they come.
        rounds: repetitions, at most.
        seconds: after which no more rounds begin.
        texts: instead of random rows; those of one's own show what a method does that decides by
            content.

    Yields:
        one record by engine.
    """
    rows = model.rows(mix, max(FEWEST_ROWS, 2 * batch_size), texts)
    batches, device = [], torch.device("cpu")
    for chunk in chunks(rows, batch_size):
        padded = {name: value.numpy() for name, value in pad_rows(chunk, 0, device).items()}
        batches.append(padded | {"token_type_ids": padded["attention_mask"] * 0})
    contenders: dict[str, Callable[[], None]] = {}
    for name, (dense, method) in runs.items():
        contenders[name] = partial(_each, dense, batches)
        contenders[f"{name} again"] = partial(_each, dense, batches)
        contenders[f"{name} method"] = partial(_each, method, batches)
    place = "texts" if texts else mix
    note = f"time {model.method}, {place} rows, {batch_size} at a time"
    times = interleave(contenders, rounds, device, note, seconds)
    flops = model.flops_speedup(rows)
    for name in runs:
        found = times[f"{name} method"]
        speedup = median_ratio(times[name], found)
        yield {
            "method": model.method,
            "engine": name,
            "length_mix": place,
            "longest_row": max(map(len, rows)),  # a model may cut what is drawn
            "batch_size": batch_size,
            "throughput_speedup_engine": speedup,
            FLOPS_UNPADDED.name: flops,
            "eta": None if flops is None else speedup / flops,
            "noise": noise(times[f"{name} again"], times[name]),
            "milliseconds": 1000 * statistics.median(found),
            "rows": len(rows),
            "rounds": len(found),
        }


def _each(run: Infer, batches: Sequence[dict[str, Array]]) -> None:
    for batch in batches:
        run(batch)
