"""A trained model, run by torch or by an engine that has better operators for single rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, overload

import torch
from torch import Tensor

from tokendrop.data.batching import chunks
from tokendrop.deploy import exits
from tokendrop.deploy.check import Array
from tokendrop.deploy.engines import PACKAGES, check_packages, openvino_run
from tokendrop.deploy.export import export_onnx
from tokendrop.deploy.sentences import own_sentences
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.models import model as models
from tokendrop.models.answering import AnsweringModel
from tokendrop.models.model import TokenDropModel
from tokendrop.models.placing import Dtype

Engine = Literal["onnxruntime", "openvino"]


class EngineModel(AnsweringModel):
    """A trained model as an engine runs it: padded, in fp32, on the processor.

    It answers as the model that it was made from, and does not tell what was dropped.
    """

    def __init__(self, model: TokenDropModel, run: Callable[[dict[str, Array]], Array]) -> None:
        """
        Args:
            model: whose answers these are.
            run: logits of padded rows.
        """
        super().__init__()
        self.backbone, self.tokenizer = model.backbone, model.tokenizer
        self.answering, self.shape = model.answering, model.shape
        self._engine = run

    def forward(self, batch: Batch) -> Tensor:
        """(B, classes) logits."""
        layout = batch.layout
        padded = {
            "input_ids": batch.input_ids,
            "attention_mask": torch.ones_like(batch.input_ids),
            "token_type_ids": batch.token_type_ids,
        }
        given = {name: layout.pad(values, 0).numpy() for name, values in padded.items()}
        return torch.from_numpy(self._engine(given))

    def _run(self, batch: Batch) -> tuple[Tensor, None]:
        return self(batch), None

    def _cut(self, lengths: Sequence[int], batch_size: int) -> list[Sequence[int]]:
        """Rows of like lengths together, which leaves little to pad."""
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        return chunks(order, batch_size)


@overload
def load(
    path: str | Path,
    *,
    engine: None = None,
    trust_reducer: bool = False,
    device: str | None = None,
    dtype: Dtype = "fp32",
    **operating_point: Any,
) -> TokenDropModel: ...


@overload
def load(
    path: str | Path,
    *,
    engine: Engine,
    trust_reducer: bool = False,
    device: str | None = None,
    dtype: Dtype = "fp32",
    **operating_point: Any,
) -> EngineModel: ...


def load(
    path: str | Path,
    *,
    engine: Engine | None = None,
    trust_reducer: bool = False,
    device: str | None = None,
    dtype: Dtype = "fp32",
    **operating_point: Any,
) -> TokenDropModel | EngineModel:
    """A trained model, ready to predict; see :func:`tokendrop.models.model.load`.

    Args:
        path: as there.
        engine: "onnxruntime" or "openvino", to which the model is exported, checked against the
            packed one; None for torch.
        trust_reducer: as there.
        device: as there; an engine runs on the processor.
        dtype: as there; an engine runs in fp32.
        operating_point: as there.

    Raises:
        UserError: as there; an engine that is unknown or not installed, or that cannot run this
            model, or another device or type of weights with one.
    """
    if engine is None:
        return models.load(
            path, trust_reducer=trust_reducer, device=device, dtype=dtype, **operating_point
        )
    if engine not in PACKAGES:
        raise UserError(f"there is no engine {engine!r}: use {' or '.join(PACKAGES)}")
    check_packages(f"the engine {engine}", ["onnx", "onnxruntime", engine])
    if device not in (None, "cpu") or dtype != "fp32":
        raise UserError(
            f"the engine {engine} runs on the processor in fp32, not on {device or 'cpu'} in "
            f"{dtype}: leave out the engine, or the device and the type"
        )
    model = models.load(path, trust_reducer=trust_reducer, **operating_point)
    with TemporaryDirectory() as place:
        return EngineModel(model, _run(model, engine, Path(place, "exported")))


def _run(model: TokenDropModel, engine: Engine, folder: Path) -> Callable[..., Array]:
    """A model in an engine, which keeps it in memory."""
    files = export_onnx(model, folder, own_sentences(model)).files
    if engine == "onnxruntime":
        return exits.Model(folder, torch.get_num_threads())
    if len(files) > 1:
        raise UserError(
            f"rows may leave {type(model.reducer).__name__} early, which openvino does not run: "
            "use the engine onnxruntime"
        )
    return openvino_run(folder / files[0])
