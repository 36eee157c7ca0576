"""What a training step costs, as counted from the operators that ran forward and backward."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import AutoModelForSequenceClassification, BertConfig

from baselines.entropy_exit import EntropyExit
from tokendrop.engine.packed import Batch
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Reducer, Stage, StageContext, Step
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import SequenceClassification
from tokendrop.training.module import TokenDropModule

ROWS, LENGTH = 16, 24
FINE_TUNE = Stage("fine_tune", 1, 1e-3)


def counter() -> FlopCounterMode:
    """Counts what torch's own counter does not know on a CPU."""
    aten = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def backward(_gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return 5 * sdpa_flop_count(query, key, value) // 2

    def linear(states: Any, weight: Any, *_: Any, **__: Any) -> int:
        return 2 * states[0] * states[1] * weight[0]

    known = {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        torch.ops.mkldnn._linear_pointwise: linear,
    }
    return FlopCounterMode(display=False, custom_mapping=known)


@pytest.mark.parametrize(
    "reducer",
    [
        Dense(),
        PowerBert(configuration=[20, 12, 8, 4]),
        AdapLeR(),
        DactBert(),
        LengthAdaptive(length_basis="row"),
        EntropyExit(),
    ],
    ids=lambda reducer: type(reducer).__name__,
)
def test_a_step_costs_what_its_operators_cost(reducer: Reducer) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        vocab_size=50,
    )
    backbone = AutoModelForSequenceClassification.from_config(config)
    tokenizer: Any = SimpleNamespace()
    model = TokenDropModel(backbone, reducer, tokenizer, LENGTH)
    rows = torch.randint(5, 50, (ROWS, LENGTH)).tolist()
    batch = Batch.pack(rows, labels=[i % 2 for i in range(ROWS)], examples=range(ROWS))
    stage = (reducer.stages() or [FINE_TUNE])[-1]
    module = TokenDropModule(Dense())
    module.begin(model, SequenceClassification(["a", "b"]), {}, stage)
    lengths = torch.full((ROWS,), LENGTH)
    reducer.enter(stage, StageContext(lengths, 10, 0.5, lambda: list(torch.rand(ROWS, LENGTH))))
    module.groups = reducer.groups(stage, backbone)
    module.manual_backward = lambda loss: loss.backward()  # what it is without a trainer
    step = Step(
        lambda: module._training_pass(batch),
        module._task_loss,
        lambda one, other: module.task.divergence(one, other, batch),
    )
    with counter() as counted:
        for losses in reducer.training_passes(step):
            module._backward(losses)
    assert module.train_flops == pytest.approx(counted.get_total_flops(), rel=0.02)
