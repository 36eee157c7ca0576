"""A trained model as ONNX files that really drop, in a folder that runs without this package."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tokendrop.bounds import Count
from tokendrop.deploy import exits
from tokendrop.deploy.card import write_card
from tokendrop.deploy.check import Agreement, Rows, agreement, check, exported
from tokendrop.deploy.engines import check_packages, check_size
from tokendrop.deploy.graph import PaddedEncoder, segments
from tokendrop.deploy.int8 import quantise
from tokendrop.errors import UserError, one_line
from tokendrop.files import whole_folder
from tokendrop.models.model import TokenDropModel

OLDEST_OPSET, NEWEST_OPSET = 17, 20  # layer normalisation is one operator since, and torch's limit
KEY = "tokendrop_export"  # in config.json


@dataclass(frozen=True)
class Description:
    """What the configuration of an exported folder says of the export, under KEY.

    Attributes:
        files: names of the ONNX files, in the order in which they run.
        reducer: the method, see :class:`tokendrop.reducers.stored.Description`.
        task: the kind of task.
        max_length: longest row in tokens.
        weights: their type.
        opset: version of ONNX's operators.
        versions: of the packages that made them.
    """

    files: list[str]
    reducer: dict[str, Any]
    task: str
    max_length: Count
    weights: Literal["fp32", "int8"]
    opset: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: names of the ONNX files, in the order in which they run.
        agreement: with the packed model, in fp32.
        int8: agreement of the quantised files with that, None if they are in fp32.
    """

    files: list[str]
    agreement: Agreement
    int8: Agreement | None


def export_onnx(
    model: TokenDropModel, out: Path, rows: Rows, *, int8: bool = False, opset: int = OLDEST_OPSET
) -> Exported:
    """Write a model as ONNX files with a tokenizer and a card, checked on rows.

    Args:
        model: trained, on the processor, in fp32.
        out: the folder, which appears once all of it is there and right.
        rows: on which the files must answer as the packed model does.
        int8: quantise the weights, one scale for each output, and activations as they come.
        opset: version of ONNX's operators, 17 to 20.

    Raises:
        UserError: the packages are missing, the opset is not one of those, the model or its method
            cannot be exported, or the files answer otherwise.
    """
    _check(model, out, opset)
    model.eval()
    graphs = segments(model.backbone, model.reducer, model.shape)
    names = _names(graphs)
    with whole_folder(out) as draft:
        for graph, name, given in zip(graphs, names, _examples(graphs, rows), strict=True):
            _write(graph, given, draft / name, opset)
        _describe(model, draft, names, int8, opset)
        found = check(model, draft, rows)
        quantised = None
        if int8:
            fp32 = exported(draft)  # holds its files in memory
            for name in names:
                quantise(draft / name, draft / name)
            quantised = agreement(fp32, exported(draft), rows, math.inf)
        write_card(draft, model, found, quantised, exits=len(names) > 1)
    return Exported(names, found, quantised)


def _check(model: TokenDropModel, out: Path, opset: int) -> None:
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UserError(
            f"opset {opset} cannot be exported: use {OLDEST_OPSET} to {NEWEST_OPSET} (before "
            f"{OLDEST_OPSET} there is no operator for layer normalisation)"
        )
    check_packages("export", ["onnx", "onnxruntime"])
    check_size(model)
    config = out / "config.json"
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        ours = config.is_file() and KEY.encode() in config.read_bytes()
        if not ours:
            raise UserError(
                f"{out} exists and is no exported model, so it is not replaced: name another "
                "folder with --out"
            )


def _names(graphs: Sequence[PaddedEncoder]) -> list[str]:
    if len(graphs) == 1:
        return ["model.onnx"]
    return [f"layers-{graph.start + 1:02d}-{graph.stop:02d}.onnx" for graph in graphs]


def _examples(graphs: Sequence[PaddedEncoder], rows: Rows) -> Iterator[tuple[Tensor, ...]]:
    """What each graph reads for two rows, by which it is traced."""
    given = {name: torch.from_numpy(value) for name, value in rows.at([0, -1]).padded().items()}
    for graph in graphs:
        inputs = tuple(given[name] for name in graph.names)
        yield inputs
        with torch.no_grad():
            found = graph(*(value.clone() for value in inputs))
        given = dict(zip(graph.found, (value.detach() for value in found), strict=True))


def _write(graph: PaddedEncoder, given: tuple[Tensor, ...], file: Path, opset: int) -> None:
    """Trace a graph, whose rows and lengths stay free, and write it.

    Traced, because numbers of tokens that nobody knows beforehand come out of every drop.
    """
    with torch.no_grad():
        graph(*given)
    outputs = [n if n in ("leave", "logits") else exits.NEXT + n for n in graph.found]
    free: dict[str, dict[int, str]] = {}
    for name in [*graph.names, *outputs]:
        free[name] = {0: "rows"}
        if name.removeprefix(exits.NEXT) in (*exits.BY_TOKEN, "input_ids", "token_type_ids"):
            free[name][1] = "tokens_left" if name.startswith(exits.NEXT) else "tokens"
    try:
        with warnings.catch_warnings(), _silent():
            # what cannot be traced shows when the file is run on rows of other lengths
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                given,
                str(file),
                input_names=graph.names,
                output_names=outputs,
                dynamic_axes=free,
                opset_version=opset,
                dynamo=False,
            )
    except torch.onnx.errors.UnsupportedOperatorError as error:
        raise UserError(
            f"{type(graph.reducer).__name__} cannot be exported: {one_line(error)}; a method of "
            "your own can say the same by other operators, or be run by tokendrop only"
        ) from error
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:  # or of what traces
        raise UserError(
            f"{type(graph.reducer).__name__} cannot be exported: {one_line(error)}; it can be run "
            "by tokendrop only"
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the exporter's C++ prints where it fails: the whole graph."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _describe(
    model: TokenDropModel, folder: Path, names: Sequence[str], int8: bool, opset: int
) -> None:
    """Write the configuration, the tokenizer with its length and padding, and the driver."""
    export = Description(
        files=list(names),
        reducer=model.reducer.spec(),
        task=model.answering.kind,
        max_length=model.shape.max_tokens,
        weights="int8" if int8 else "fp32",
        opset=opset,
        versions={name: version(name) for name in ("tokendrop", "torch", "onnxruntime")},
    )
    described = model.backbone.config.to_diff_dict() | {
        "id2label": dict(enumerate(model.labels)),
        KEY: asdict(export),
    }
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    told: Any = model.tokenizer
    backend = Tokenizer.from_str(told.backend_tokenizer.to_str())
    backend.enable_truncation(model.shape.max_tokens, direction=told.truncation_side)
    # the mask tells what is padding, so any token will do where the tokenizer has none for it
    padding = told.pad_token_id or 0
    backend.enable_padding(pad_id=padding, pad_token=told.convert_ids_to_tokens(padding))
    backend.save(str(folder / "tokenizer.json"))
    if len(names) > 1:
        shutil.copyfile(exits.__file__, folder / "exits.py")
