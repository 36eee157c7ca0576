"""Engines that people deploy, on padded rows: yardsticks for what is measured here.

A dense model is given as Hugging Face makes it, so that each engine can do its best with it:
ONNX Runtime by its own optimiser of transformers, in fp32 and in int8, OpenVINO as it comes.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.deploy.int8 import quantise, quiet
from tokendrop.errors import UserError

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Array]
"""Logits of padded rows: ``input_ids``, ``attention_mask`` and more that it may read."""


def dense_runs(model: PreTrainedModel, engines: Sequence[str]) -> dict[str, Run]:
    """A dense model in some engines, each with as many threads as torch has.

    Args:
        model: a classifier on the processor, in fp32.
        engines: names of ENGINES.

    Returns:
        what runs it, by engine and precision.

    Raises:
        UserError: an engine is not installed.
    """
    check_installed(engines)
    with TemporaryDirectory() as place:
        file = Path(place, "dense.onnx")
        _write(model, file)
        return {
            name: run for engine in engines for name, run in ENGINES[engine](file, model).items()
        }


def check_packages(what: str, needed: Sequence[str]) -> None:
    """
    Raises:
        UserError: a package that ``what`` needs is not installed.
    """
    if missing := [name for name in needed if not importlib.util.find_spec(name)]:
        raise UserError(
            f"{what} needs {' and '.join(missing)}: pip install 'tokendrop[deploy]', or pip "
            f"install {' '.join(missing)}"
        )


def check_installed(engines: Sequence[str]) -> None:
    """
    Raises:
        UserError: an engine is not installed.
    """
    for engine in engines:
        check_packages(f"the engine {engine}", [engine, "onnx"])


def onnxruntime_run(file: Path) -> Run:
    """An ONNX file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda given: session.run(None, {name: given[name] for name in names})[0]


def openvino_run(file: Path) -> Run:
    """An ONNX file in OpenVINO, in fp32, which it leaves by itself where bf16 is faster."""
    import openvino

    wanted = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    model = core.read_model(str(file))
    names = [value.any_name for value in model.inputs]
    compiled = core.compile_model(model, "CPU", wanted)
    return lambda given: compiled({name: given[name] for name in names})[0]


def _onnxruntime(file: Path, model: PreTrainedModel) -> dict[str, Run]:
    from onnxruntime.transformers import optimizer

    config: Any = model.config
    fast, small = file.with_suffix(".fast.onnx"), file.with_suffix(".int8.onnx")
    with quiet():
        optimizer.optimize_model(
            str(file),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=1,
        ).save_model_to_file(str(fast))
    quantise(fast, small, ("MatMul", "Attention"))
    return {"onnxruntime fp32": onnxruntime_run(fast), "onnxruntime int8": onnxruntime_run(small)}


def _openvino(file: Path, model: PreTrainedModel) -> dict[str, Run]:
    return {"openvino fp32": openvino_run(file)}


ENGINES: dict[str, Callable[[Path, PreTrainedModel], dict[str, Run]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


class _Logits(nn.Module):
    """Hugging Face's model with tensors for answers."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _write(model: PreTrainedModel, file: Path) -> None:
    ids = torch.ones(2, 7, dtype=torch.long)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    free = {0: "rows", 1: "tokens"}
    used = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the pattern that the optimiser knows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Logits(model),
                (ids, mask),
                str(file),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_axes={"input_ids": free, "attention_mask": free, "logits": {0: "rows"}},
                opset_version=17,
                dynamo=False,
            )
    finally:
        model.set_attn_implementation(used)
