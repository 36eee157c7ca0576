"""Learned threshold pruning: soft, then hard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from baselines import FewerLayers, ThresholdPruning
from tokendrop.engine.encoder import encode, walk
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer, StageContext
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import (
    LAYERS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)


def KEEPS_ALL() -> Reducer:
    return ThresholdPruning(thresholds=[0.0] * LAYERS)


DROPS: dict[str, Callable[[], Reducer]] = {
    "some": lambda: ThresholdPruning(thresholds=[0.02, 0.04, 0.06]),
    "all_but_cls": lambda: ThresholdPruning(thresholds=[2.0] * LAYERS),
}
SOFT_EQUALS_HARD = "a softly pruned token stays a key, as in the paper"
# given thresholds are fixed; those that the soft stage learns are tested below
NO_GRADIENT = "thresholds"
ROWS = tiny_rows()


def begun(reducer: ThresholdPruning) -> ThresholdPruning:
    """The reducer in training, in its soft stage."""
    reducer.enter(reducer.stages()[0], StageContext(torch.tensor([8]), steps=10))
    return reducer.train()


def test_a_token_stays_where_its_mean_attention_reaches_the_threshold() -> None:
    model, (row,) = tiny_model("bert"), tiny_rows([16])
    model.set_attn_implementation("eager")
    batch = packed([row])
    with torch.no_grad():
        found = model(
            input_ids=batch.input_ids[None],
            token_type_ids=batch.token_type_ids[None],
            output_attentions=True,
        )
    mean = found.attentions[0][0].mean((0, 1))
    threshold = float(mean.sort().values[7:9].mean())
    expected = (mean >= threshold).nonzero().flatten().tolist()
    reducer = built(ThresholdPruning(thresholds=[threshold, 0.0, 0.0]))
    tokens = run(model, reducer, [row]).trace.layers[0].feed_forward.tokens.tolist()
    assert tokens == sorted({0, *expected})
    assert len(tokens) in (8, 9)


def test_a_low_threshold_weakens_nothing() -> None:
    model = tiny_model("bert")
    reducer = begun(built(ThresholdPruning()))
    with torch.no_grad():
        reducer.thresholds.fill_(-1.0)
    expected, _ = padded_forward(model, ROWS)
    torch.testing.assert_close(run(model, reducer, ROWS).logits, expected, atol=1e-5, rtol=0)


def test_the_soft_mask_weakens_what_leaves_the_layer() -> None:
    """In the last layer: all but [CLS] are then 0, and [CLS] is what it was."""
    model, (row,) = tiny_model("bert"), tiny_rows([9])
    reducer = begun(built(ThresholdPruning(temperature=1e-4)))
    with torch.no_grad():
        reducer.thresholds.copy_(torch.tensor([-1.0, -1.0, 2.0]))
    seen = []
    after_layer = reducer.after_layer
    reducer.after_layer = lambda view: seen.append(view) or after_layer(view)  # type: ignore
    encoded = run(model, reducer, [row])
    expected, _ = padded_forward(model, [row])
    torch.testing.assert_close(encoded.logits, expected, atol=1e-5, rtol=0)
    assert seen[-1].memory.factors.tolist() == [1.0] + [0.0] * 8
    assert float(encoded.memory.kept[-1]) == pytest.approx(1 / 9)
    # and in the second layer the third one gets them as zeros
    with torch.no_grad():
        reducer.thresholds.copy_(torch.tensor([2.0, 2.0, -1.0]))
    entering = []
    reducer.before_layer = lambda view: entering.append(view.hidden)  # type: ignore
    run(model, reducer, [row])
    assert entering[1].abs().amax(-1).gt(0).all()  # the first layer has no mask
    assert entering[2][1:].abs().max() == 0
    assert entering[2][0].abs().max() > 0


def test_the_soft_stage_raises_thresholds_and_the_hard_one_holds_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, batch = tiny_model("bert"), packed(ROWS)
    reducer = built(
        ThresholdPruning(length_weight=1.0, temperature=0.02, threshold_learning_rate=1e-3)
    )
    soft, hard = reducer.stages()
    assert (soft.name, hard.name) == ("soft", "hard")
    begun(reducer)
    before = reducer.thresholds.detach().clone()
    _, group = reducer.groups(soft, model)
    assert group.learning_rate == 1e-3
    optimizer = torch.optim.Adam(group.parameters.values(), lr=1e-2)
    for _ in range(5):
        encoded = encode(model, batch, reducer)
        loss = F.cross_entropy(encoded.logits, batch.labels)
        optimizer.zero_grad()
        (0.01 * loss + reducer.losses(encoded)["length"]).backward()
        optimizer.step()
    assert (reducer.thresholds[1:] > before[1:]).all()
    assert reducer.thresholds[0] == 0
    # the dev split of the soft stage is already seen with tokens removed
    with torch.no_grad():
        reducer.thresholds[1:] = 2.0
    first, *others = run(model, reducer.eval(), ROWS).trace.layers
    assert sorted(first.feed_forward.lengths) == sorted(len(row.ids) for row in ROWS)
    assert all(layer.feed_forward.lengths == (1,) * len(ROWS) for layer in others)
    with caplog.at_level("INFO", "baselines"):
        reducer.leave(soft, {"kept_tokens": 0.375})
    assert "after the soft stage 37.5% of the token-layers are kept" in caplog.text
    assert reducer.losses(encoded) == {}
    assert [group.name for group in reducer.groups(hard, model)] == ["backbone"]
    processed = run(model, reducer.eval(), ROWS).trace.processed_tokens()
    assert processed.sum() < LAYERS * sum(len(row.ids) for row in ROWS)


def test_it_begins_as_the_code_does() -> None:
    thresholds = built(ThresholdPruning(), layers=12).describe()["thresholds"]
    assert thresholds == pytest.approx([0.01 * layer / 12 for layer in range(12)])
    assert [stage.name for stage in ThresholdPruning(thresholds=[0.0]).stages()] == ["hard"]
    higher = built(ThresholdPruning(final_threshold=0.05), layers=4).describe()["thresholds"]
    assert higher == pytest.approx([0.0, 0.0125, 0.025, 0.0375])


def test_a_skipped_layer_weakens_nothing_again() -> None:
    pruning = ThresholdPruning(temperature=0.02)
    chain = built(Chain([FewerLayers(layers=2), pruning])).train()
    begun(pruning)
    whole, shallow = tiny_model("bert"), tiny_model("bert")
    shallow.bert.encoder.layer = shallow.bert.encoder.layer[:2]
    expected = walk(shallow, packed(ROWS), pruning).hidden
    torch.testing.assert_close(walk(whole, packed(ROWS), chain).hidden, expected)
    assert not torch.allclose(expected, walk(shallow, packed(ROWS), Dense()).hidden)


def test_there_is_a_layer_to_prune_in() -> None:
    with pytest.raises(UserError, match="this backbone has 1 layer: give thresholds, or take"):
        built(ThresholdPruning(), layers=1)
    assert built(ThresholdPruning(thresholds=[0.1]), layers=1).describe()["threshold_mean"] > 0


@pytest.mark.parametrize(
    ("reducer", "complaint"),
    [
        (ThresholdPruning(thresholds=[0.1]), "are 1 but the backbone has 3 layers"),
    ],
)
def test_what_does_not_fit(reducer: Reducer, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        built(reducer)
