"""What the class of a reducer of somebody's own gets wrong is named, before it does harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer, Shape, Stage
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.testing import check_reducer
from tokendrop.testing.tiny import built


class Half(Reducer):
    operating_arguments: Any = frozenset({"share"})

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share


@pytest.mark.parametrize("named", [{"shares"}, ["share"], "share"])
def test_operating_arguments_are_a_set_of_arguments(named: Any) -> None:
    class Mine(Half):
        operating_arguments = named

    complaint = r"Mine.operating_arguments is .*: use a set of names of .* are share"
    with pytest.raises(UserError, match=complaint):
        Mine()


class Further(Half):
    """Hands on what it does not name itself."""

    def __init__(self, layer: int = 1, **others: float) -> None:
        super().__init__(**others)
        self.layer = layer

    operating_arguments = frozenset()


def test_arguments_that_a_saved_model_would_lose() -> None:
    with pytest.raises(UserError, match=r"Further has no argument of its own for \{'share': 0.1\}"):
        Further(share=0.1)
    assert Further(layer=2).spec()["init_args"] == {"layer": 2}


class Holds(Half):
    operating_arguments = frozenset()

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held


@pytest.mark.parametrize("held", [torch.ones(2), torch.sigmoid, [{"of": Shape}]])
def test_arguments_that_no_file_holds(held: Any) -> None:
    with pytest.raises(UserError, match=r"Holds.held is a .*, which a saved model cannot describe"):
        Holds(held).spec()


def test_numbers_of_numpy_are_numbers() -> None:
    spec = Holds([np.int64(3), (np.float32(0.5), np.bool_(True))]).spec()
    assert json.loads(json.dumps(spec))["init_args"] == {"held": [3, [0.5, True]]}


@pytest.mark.parametrize("weights", [nn.Linear(2, 2), nn.Parameter(torch.ones(2))])
def test_weights_have_no_method_s_name(weights: nn.Module | nn.Parameter) -> None:
    class Mine(Half):
        def build(self, shape: Shape) -> None:
            self.score = weights  # type: ignore[assignment, method-assign]

    with pytest.raises(UserError, match=r"Mine.score cannot be weights, .* call them otherwise"):
        built(Mine())


class Terms(Half):
    """Its loss has the terms that a test gives it."""

    terms: Any = None

    def build(self, shape: Shape) -> None:
        self.weight = nn.Parameter(torch.ones(3))

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        kind = type(self).terms
        return kind(self.weight) if callable(kind) else kind  # type: ignore[no-any-return]

    def stages(self) -> list[Stage]:
        return [Stage("mine", 1, 1e-3)]


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        (lambda weight: weight.sum(), "Terms.losses gave a Tensor: give loss terms by their names"),
        ({"sparsity": 0.0}, "the term 'sparsity', a float: give a scalar tensor"),
        (lambda weight: {"sparsity": weight}, "a torch.float32 of shape [3]: give a scalar tensor"),
        (lambda weight: {"task": weight.sum()}, "a term 'task', the name of the task's own loss"),
    ],
)
@pytest.mark.parametrize("chained", [False, True])
def test_loss_terms_are_scalars_with_names(
    terms: Mapping[str, Any], complaint: str, chained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terms, "terms", terms)
    with pytest.raises(AssertionError) as found:
        check_reducer(
            keeps_all=(lambda: Chain([Dense(), Terms()])) if chained else Terms, families=["bert"]
        )
    assert complaint in str(found.value)


class CountsHalves(Half):
    def flops(self, trace: Trace, shape: Shape) -> int:
        return self.share * shape.hidden  # type: ignore[return-value]


def test_flops_are_whole_numbers() -> None:
    with pytest.raises(AssertionError, match=r"CountsHalves.flops gave 16.0: .* whole number"):
        check_reducer(keeps_all=CountsHalves, families=["bert"])
