"""Engines that people deploy, on padded rows: yardsticks for what is measured here.

A dense model is given as Hugging Face makes it, so that each engine can do its best with it:
ONNX Runtime by its own optimiser of transformers, in fp32 and in int8, OpenVINO as it comes.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.deploy.int8 import quantise, quiet
from tokendrop.errors import UserError
from tokendrop.heads import reads_tokens

Array = NDArray[Any]
Infer = Callable[[Mapping[str, Array]], Array]
"""Logits of padded rows: ``input_ids``, ``attention_mask`` and more that it may read."""

LARGEST = 2 * 1024**3  # bytes of a file in protobuf's format

EngineName = Literal["onnxruntime", "onnxruntime-int8", "openvino"]


@dataclass(frozen=True)
class Engine:
    """An engine with the type of the weights that it runs.

    Attributes:
        package: that has to be installed, of PACKAGES.
        run: of what :func:`dense_runs` gives.
        title: for people.
    """

    package: str
    run: str
    title: str


ENGINES: dict[str, Engine] = {
    "onnxruntime": Engine("onnxruntime", "onnxruntime fp32", "ONNX Runtime"),
    "onnxruntime-int8": Engine("onnxruntime", "onnxruntime int8", "ONNX Runtime, int8"),
    "openvino": Engine("openvino", "openvino fp32", "OpenVINO"),
}
"""By EngineName, as a comparison names them."""


def dense_runs(model: PreTrainedModel, engines: Sequence[str]) -> dict[str, Infer]:
    """A dense model in some engines, each with as many threads as torch has.

    Args:
        model: of Hugging Face, on the processor, in fp32, with any of the heads of this package.
        engines: names of PACKAGES.

    Returns:
        what runs it, by engine and precision; of a head that reads every token the logits are
        (B, S, numbers).

    Raises:
        UserError: an engine is not installed, or the model is too large for it.
    """
    check_installed(engines)
    check_size(model)
    with TemporaryDirectory() as place:
        file = Path(place, "dense.onnx")
        _write(model, file)
        return {
            name: run for engine in engines for name, run in PACKAGES[engine](file, model).items()
        }


def check_packages(what: str, needed: Sequence[str]) -> None:
    """
    Raises:
        UserError: a package that ``what`` needs is not installed.
    """
    if missing := [name for name in dict.fromkeys(needed) if not importlib.util.find_spec(name)]:
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


def check_size(model: PreTrainedModel | nn.Module) -> None:
    """
    Raises:
        UserError: an ONNX file cannot hold the weights.
    """
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if size > LARGEST:
        raise UserError(
            f"the weights take {size / 1024**3:.1f} GiB, and an ONNX file holds at most 2 GiB: "
            "take a smaller model"
        )


def onnxruntime_run(file: Path) -> Infer:
    """An ONNX file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda given: session.run(None, {name: given[name] for name in names})[0]


def openvino_run(file: Path) -> Infer:
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


def _onnxruntime(file: Path, model: PreTrainedModel) -> dict[str, Infer]:
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


def _openvino(file: Path, model: PreTrainedModel) -> dict[str, Infer]:
    return {"openvino fp32": openvino_run(file)}


PACKAGES: dict[str, Callable[[Path, PreTrainedModel], dict[str, Infer]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


class _Logits(nn.Module):
    """Hugging Face's model with a tensor for its answer, read by the order of its inputs."""

    def __init__(self, model: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names
        self.eval()

    def forward(self, *given: Tensor) -> Tensor:
        answer = self.model(**dict(zip(self.names, given, strict=True)))
        if "logits" in answer:
            logits: Tensor = answer.logits
            return logits
        return torch.stack([answer.start_logits, answer.end_logits], -1)


def _write(model: PreTrainedModel, file: Path) -> None:
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    given = {"input_ids": torch.ones_like(mask), "attention_mask": mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        given["token_type_ids"] = torch.zeros_like(mask)
    free = {0: "rows", 1: "tokens"}
    used = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the pattern that the optimiser knows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Logits(model, list(given)),
                tuple(given.values()),
                str(file),
                input_names=list(given),
                output_names=["logits"],
                dynamic_axes={
                    **dict.fromkeys(given, free),
                    "logits": free if reads_tokens(model) else {0: "rows"},
                },
                opset_version=17,
                dynamo=False,
            )
    finally:
        model.set_attn_implementation(used)
