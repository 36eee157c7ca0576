"""A method of somebody's own is exported, or one line says what about it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.deploy.test_export import model_of, refused, rows_of
from tokendrop.deploy import exits
from tokendrop.deploy.export import export_onnx
from tokendrop.engine.packed import Batch
from tokendrop.reducers.base import Decision, Ranking, Reducer, Shape, View
from tokendrop.reducers.chain import Chain


class Exits(Reducer):
    """Short rows leave early, with the sum of the layers' answers, which a dictionary holds."""

    carried: tuple[str, ...] = ("answer",)

    def build(self, shape: Shape) -> None:
        self.ramp = nn.Linear(shape.hidden, shape.classes)
        self.classes = shape.classes

    def start(self, batch: Batch) -> dict[str, Tensor]:
        return {"answer": torch.zeros(len(batch), self.classes)}

    def after_layer(self, view: View) -> Decision:
        rows, held = view.layout.rows, view.memory
        answer = held["answer"][rows] + self.ramp(view.cls)
        held["answer"] = held["answer"].index_copy(0, rows, answer)
        longest = 8 if view.layer < view.layers - 1 else 100
        return Decision(leave=view.layout.sizes < longest, answer=answer)


class ByKeys(Reducer):
    """Keeps the tokens with long keys."""

    def after_attention(self, view: View) -> Decision:
        assert view.keys is not None
        return Decision(keep=(view.keys.norm(dim=(1, 2)) > 7) | view.layout.is_first)


@pytest.mark.parametrize("make", [Exits, ByKeys])
def test_it_is_exported_as_it_is(make: Callable[[], Reducer], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = model_of(make())
    export_onnx(model, tmp_path / "onnx", rows_of([7, 1, 32, 12], 1))
    rows = rows_of([30, 1, 7, 2, 32, 12, 7, 19, 3], 2)
    with torch.inference_mode():
        wanted = model(rows.packed())
    assert 0 < int((wanted.trace.token_depth() < 2).sum()) < len(wanted.trace.start.tokens)
    found = exits.Model(tmp_path / "onnx")(rows.padded())
    np.testing.assert_allclose(found, wanted.logits.numpy(), atol=1e-4)


class OfAllTokens(Reducer):
    """Works out before the first layer what each token of the batch is."""

    def start(self, batch: Batch) -> dict[str, Tensor]:
        return {"early": batch.positions < 4}

    def before_layer(self, view: View) -> Decision:
        return Decision(keep=view.memory["early"][view.layout.tokens])


class BySecondLayer(Reducer):
    """Reads token ids in the second layer."""

    def before_layer(self, view: View) -> Decision | None:
        if view.layer == 0:
            return None
        ids = view.batch.input_ids[view.layout.tokens]
        return Decision(keep=(ids < 50) | view.layout.is_first)


class NotTraced(Reducer):
    """Joins a tensor and a bool, which torch cannot trace."""

    def before_layer(self, view: View) -> Decision:
        return Decision(keep=view.layout.is_first | (view.layer == 0))


class OfGivenIds(Reducer):
    """Asks by an operator that ONNX lacks."""

    def before_layer(self, view: View) -> Decision:
        ids = view.batch.input_ids[view.layout.tokens]
        return Decision(keep=torch.isin(ids, torch.arange(50)) | view.layout.is_first)


class CarriesNothing(Exits):
    carried = ("lost",)


class Ranks(Reducer):
    """Says of itself what it is given."""

    def __init__(self, lengths: Any) -> None:
        super().__init__()
        self.lengths = lengths

    def ranking(self) -> Ranking:
        def lengths(tokens: int) -> Sequence[int]:
            return self.lengths  # type: ignore[no-any-return]

        return Ranking(lengths, lambda view: view.hidden, before=True)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (OfAllTokens, "OfAllTokens.before_layer raised IndexError while it was exported ("),
        (lambda: Chain([BySecondLayer(), Exits()]), "token ids or types behind an exit cannot be"),
        (NotTraced, "NotTraced cannot be exported: "),
        (OfGivenIds, "is not supported; a method of your own can say the same by other operators"),
        (CarriesNothing, "its carried names 'lost', which is no tensor of what its start returns"),
        (
            lambda: Ranks([2]),
            "the lengths of its ranking() are [2] for a row of 1 tokens: give a whole number, 1 or "
            "more, for each of the 2 layers",
        ),
        (lambda: Ranks([2, 1.5]), "are [2, 1.5] for a row"),
        (lambda: Ranks(3), "Ranks.ranking raised TypeError while it was exported ("),
        (lambda: Ranks([3, 3]), "Ranks.ranking raised RuntimeError while it was exported ("),
    ],
)
def test_what_cannot_be_exported_is_named(
    make: Callable[[], Reducer], complaint: str, tmp_path: Path
) -> None:
    assert complaint in refused(make(), tmp_path / "onnx")
