"""Recipes: stages are trained once, resumed after a whole epoch, and end as if undisturbed."""

from __future__ import annotations

import gc
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel

import tokendrop
from baselines import TokenMerging
from tokendrop.data import TextData
from tokendrop.engine import compiled
from tokendrop.errors import Diverged, UserError
from tokendrop.measure.flops import dense_flops
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Decision, Reducer, Stage, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import LAYERS
from tokendrop.training import recipes
from tokendrop.training.finished import TrainedStage
from tokendrop.training.module import TokenDropModule
from tokendrop.training.saliency import cost_of

FINE_TUNE = Stage("fine_tune", 3, 1e-3, weight_decay=0.01, warmup=0.1, clip=1.0)


class StopIn(Callback):
    """Break off in the middle of an epoch of a stage."""

    def __init__(self, stage: str, epoch: int) -> None:
        self.stage, self.epoch = stage, epoch

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if (module.stage.name, trainer.current_epoch) == (self.stage, self.epoch):
            raise ConnectionAbortedError


def trained(
    module: TokenDropModule, data: TextData, root: Path, *callbacks: Callback, **options: Any
) -> list[TrainedStage]:
    def make(stage: Stage, given: list[Callback]) -> Trainer:
        return Trainer(
            max_epochs=stage.epochs,
            callbacks=[*given, *callbacks],
            logger=False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            **options,
        )

    return recipes.train(module, data, 1, root, make)


def weights(stage: TrainedStage) -> dict[str, torch.Tensor]:
    return tokendrop.load(stage.model).state_dict()


def test_a_stage_cut_off_in_an_epoch_ends_as_if_it_had_not_been(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    module = TokenDropModule(DactBert(epochs=1), backbone, fine_tune=FINE_TUNE)
    whole = trained(module, data, tmp_path / "whole")
    with pytest.raises((ConnectionAbortedError, UserError)):
        trained(module, data, tmp_path / "cut", StopIn("fine_tune", 1))
    resumed = trained(module, data, tmp_path / "cut")
    assert [stage.name for stage in resumed] == ["fine_tune", "joint"]
    for one, other in zip(whole, resumed, strict=True):
        assert one.curve == other.curve
        assert one.flops == other.flops
        for name, weight in weights(one).items():
            torch.testing.assert_close(weights(other)[name], weight, rtol=0, atol=0)


def test_what_was_trained_does_not_stay_in_memory(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    large = (PreTrainedModel, torch.optim.Optimizer)
    module = TokenDropModule(PowerBert(search_epochs=1, retrain_epochs=1), backbone)
    gc.collect()
    gc.disable()  # which would come late, as it counts objects and not what they take
    try:
        before = {id(one) for one in gc.get_objects() if isinstance(one, large)}
        trained(module, data, tmp_path / "whole")
        with pytest.raises((ConnectionAbortedError, UserError)):
            trained(module, data, tmp_path / "cut", StopIn("search", 0))
        left = [one for one in gc.get_objects() if isinstance(one, large) and id(one) not in before]
    finally:
        gc.enable()
    assert not left


class SpoilGradient(Callback):
    """Let a gradient be no number in one step, as that of a square root at 0 is."""

    weight = "bert.pooler.dense.bias"

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: object, index: int
    ) -> None:
        if (trainer.current_epoch, index) == (1, 2):
            parameter = module.model.backbone.get_parameter(self.weight)
            parameter.register_hook(lambda gradient: gradient * torch.nan)


def test_a_weight_that_becomes_no_number_ends_the_stage_in_its_last_good_epoch(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    module = TokenDropModule(Dense(), backbone, fine_tune=replace(FINE_TUNE, clip=None))
    whole = trained(module, data, tmp_path / "whole")
    said = rf"weight {SpoilGradient.weight} is not a number after step 3 of epoch 2: .*'fine_tune'"
    with pytest.raises(Diverged, match=said):
        trained(module, data, tmp_path / "cut", SpoilGradient())
    (kept,) = (tmp_path / "cut").glob("fine_tune-*/last.ckpt")
    state = torch.load(kept, weights_only=True)["state_dict"]
    assert all(torch.isfinite(weight).all() for weight in state.values())
    resumed = trained(module, data, tmp_path / "cut")
    assert resumed[0].curve == whole[0].curve


def test_methods_share_the_fine_tuning_and_repeat_no_stage(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    dense = trained(TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE), data, tmp_path)
    method = TokenDropModule(DactBert(epochs=1), backbone, fine_tune=FINE_TUNE)
    first = trained(method, data, tmp_path)
    assert first[0].folder == dense[0].folder
    changed = (first[1].folder / "done.json").stat().st_mtime_ns
    assert trained(method, data, tmp_path)[1].folder == first[1].folder
    assert (first[1].folder / "done.json").stat().st_mtime_ns == changed


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_backbone_whose_weights_were_replaced_is_another_start(
    backbone: str, data: TextData, tmp_path: Path, form: str
) -> None:
    own = tmp_path / "own"
    shutil.copytree(backbone, own)
    file = own / "model.safetensors"
    tensors = load_file(file)
    old = {name: tensor.clone() for name, tensor in tensors.items()}

    def put(tensors: dict[str, torch.Tensor]) -> None:
        if form == "safetensors":
            save_file(tensors, file, {"format": "pt"})
        else:
            file.unlink(missing_ok=True)
            torch.save(tensors, own / "pytorch_model.bin")

    def fine_tuned() -> TrainedStage:
        module = TokenDropModule(Dense(), str(own), fine_tune=FINE_TUNE)
        return trained(module, data, tmp_path / "stages")[0]

    put(old)
    first = fine_tuned()
    # what lies beside the weights is none of theirs
    for name in ("notes.txt", "optimizer.safetensors", "training_args.bin"):
        (own / name).write_text("something else")
    assert fine_tuned().folder == first.folder
    put({name: tensor.flip(-1) for name, tensor in old.items()})
    second = fine_tuned()
    assert first.folder != second.folder
    assert first.curve != second.curve
    put(old)
    assert fine_tuned().folder == first.folder


def test_what_only_matters_at_inference_needs_no_training(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    folders = {
        trained(
            TokenDropModule(DactBert(epochs=1, exit_rule=rule), backbone, fine_tune=FINE_TUNE),
            data,
            tmp_path,
        )[-1].folder
        for rule in ("paper", "tight")
    }
    assert len(folders) == 1


def test_what_cannot_be_trained_is_found_before_any_weights_are_read(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    (Path(backbone) / "model.safetensors").rename(tmp_path / "elsewhere")
    try:
        module = TokenDropModule(PowerBert(configuration=[9, 8]), backbone, fine_tune=FINE_TUNE)
        with pytest.raises(UserError, match="2 entries but the backbone has 3"):
            trained(module, data, tmp_path)
    finally:
        (tmp_path / "elsewhere").rename(Path(backbone) / "model.safetensors")


def test_rows_in_tokens_of_another_backbone_are_refused(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(backbone, copy)
    settings = {"train": data.settings.train, "max_length": 24}
    module = TokenDropModule(Dense(), str(copy), fine_tune=replace(FINE_TUNE, epochs=1))
    # the same tokenizer in another place will do
    trained(module, TextData(tokenizer=backbone, **settings), tmp_path / "same")
    with pytest.raises(UserError, match=f"give TextData tokenizer='{re.escape(str(copy))}'"):
        trained(module, TextData(**settings), tmp_path / "another")


def test_training_turns_dropout_on(backbone: str, data: TextData, tmp_path: Path) -> None:
    class Watch(Callback):
        seen: bool | None = None

        def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
            self.seen = module.model.backbone.base_model.embeddings.dropout.training

    watch = Watch()
    trained(TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE), data, tmp_path, watch)
    assert watch.seen


def test_training_in_bf16_is_another_stage_with_weights_in_fp32(
    backbone: str, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[torch.dtype] = []
    received: list[torch.dtype] = []
    decide = PowerBert.after_attention

    def watch(reducer: PowerBert, view: View) -> Decision | None:
        assert view.keys is not None
        keys.append(view.keys.dtype)
        if view.received is not None:
            received.append(view.received.dtype)
        return decide(reducer, view)

    monkeypatch.setattr(PowerBert, "after_attention", watch)
    reducer = PowerBert(configuration=[9] * LAYERS, retrain_epochs=1)
    module = TokenDropModule(reducer, backbone, fine_tune=replace(FINE_TUNE, epochs=1))
    plain = trained(module, data, tmp_path)
    assert set(keys) == {torch.float32}
    make = recipes.trainer_maker([], "mixed", "bf16-mixed")
    mixed = recipes.train(module, data, 1, tmp_path, make)
    assert keys[-1] == torch.bfloat16
    assert set(received) == {torch.float32}
    for one, other in zip(plain, mixed, strict=True):
        assert one.folder != other.folder
        assert other.chosen["dev/loss"] == pytest.approx(one.chosen["dev/loss"], abs=0.05)
        assert {weight.dtype for weight in weights(other).values()} <= {torch.float32, torch.int64}


def test_compiled_training_is_another_stage_that_learns_the_same(
    backbone: str, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def count(graph: Any, _inputs: Any) -> Any:
        made.append(type(graph).__name__)
        return graph

    monkeypatch.setattr(compiled, "BACKEND", count)
    compiled._compiled.cache_clear()
    plain, others = (
        trained(
            TokenDropModule(AdapLeR(epochs=1), backbone, fine_tune=FINE_TUNE, compile=compile),
            data,
            tmp_path,
        )
        for compile in (False, True)
    )
    compiled._compiled.cache_clear()
    torch._dynamo.reset()
    assert made
    for one, other in zip(plain, others, strict=True):
        assert one.folder != other.folder
        assert other.flops == one.flops
        assert other.chosen["dev/loss"] == pytest.approx(one.chosen["dev/loss"], abs=0.05)


def test_the_search_of_power_bert_decides_what_is_kept_afterwards(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    reducer = PowerBert(mass_weight=1.0, soft_learning_rate=0.2, search_epochs=2, retrain_epochs=1)
    stages = trained(TokenDropModule(reducer, backbone, fine_tune=FINE_TUNE), data, tmp_path)
    model = tokendrop.load(stages[-1].model)
    configuration = model.reducer.describe()["configuration"]
    assert len(configuration) == LAYERS
    assert configuration == sorted(configuration, reverse=True)
    assert configuration[-1] < 24
    found = tokendrop.load(stages[-2].model).reducer.describe()["configuration"]
    assert configuration == found
    (prediction,) = model.predict(["the plot is thin but but but but but but but but"])
    assert sum(depth == LAYERS for depth in prediction.token_depth) == min(
        configuration[-1], len(prediction.tokens)
    )


def test_without_retraining_the_model_of_the_search_runs_at_its_configuration(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    reducer = PowerBert(mass_weight=1.0, soft_learning_rate=0.2, search_epochs=2, retrain_epochs=0)
    module = TokenDropModule(reducer, backbone, fine_tune=FINE_TUNE)
    _, search, retrain = trained(module, data, tmp_path)
    assert (retrain.name, retrain.epochs, retrain.curve) == ("retrain", 0, [])
    for name, weight in weights(search).items():
        assert torch.equal(weights(retrain)[name], weight)
    # what is reported is that of removing tokens, not of the search, which removes none
    assert search.chosen["dev/flops_speedup"] == pytest.approx(1)
    assert retrain.chosen["dev/flops_speedup"] > 1


def test_thresholds_of_adapler_without_a_rate_stay_where_they_begin(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    fixed = AdapLeR(epochs=1, first_threshold=0.7, threshold_learning_rate=0.0)
    learned = AdapLeR(epochs=1, first_threshold=0.7, threshold_learning_rate=0.01)
    for reducer in (fixed, learned):
        module = TokenDropModule(reducer, backbone, fine_tune=FINE_TUNE)
        eta = tokendrop.load(trained(module, data, tmp_path)[-1].model).reducer.eta
        assert (eta.tolist() == pytest.approx([0.7] * LAYERS, abs=1e-6)) == (reducer is fixed)


def test_predictors_may_learn_the_attention_that_hugging_face_computes(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    reducer = AdapLeR(epochs=1, target="attention")
    module = TokenDropModule(reducer, backbone, fine_tune=replace(FINE_TUNE, epochs=1))
    tuned, _ = trained(module, data, tmp_path)
    file = load_file(tuned.folder / "attention.safetensors")["attention"]
    found = file.split(data.splits["train"].lengths)
    model = AutoModelForSequenceClassification.from_pretrained(
        tuned.model, attn_implementation="eager"
    )
    for ids, received in zip(data.splits["train"].input_ids, found, strict=True):
        attentions = model(torch.tensor([list(ids)]), output_attentions=True).attentions
        expected = torch.stack([layer[0].sum((0, 1)) for layer in attentions]).mean(0)
        torch.testing.assert_close(received, expected, atol=1e-5, rtol=0)
    assert not (tuned.folder / "saliency.safetensors").exists()


CHAINS: dict[str, tuple[list[Reducer], list[str]]] = {
    "power_bert": (
        [
            PowerBert(soft_learning_rate=0.2, search_epochs=1, retrain_epochs=1),
            DactBert(epochs=2, learning_rate=1e-3),
        ],
        ["fine_tune", "0_search", "0_retrain", "1_joint"],
    ),
    "adapler": (
        [
            AdapLeR(epochs=1, learning_rate=1e-3),
            DactBert(epochs=2, learning_rate=1e-3),
        ],
        ["fine_tune", "0_adaptive", "1_joint"],
    ),
    "length_adaptive": (
        [
            DactBert(epochs=1, learning_rate=1e-3),
            LengthAdaptive(epochs=2, learning_rate=1e-3, length_basis="row"),
        ],
        ["fine_tune", "0_joint", "1_length_adaptive"],
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_train_from_stage_to_stage(
    name: str, backbone: str, data: TextData, tmp_path: Path
) -> None:
    parts, stages = CHAINS[name]
    module = TokenDropModule(Chain(parts), backbone, fine_tune=FINE_TUNE)
    whole = trained(module, data, tmp_path / "whole")
    assert [stage.name for stage in whole] == stages
    exit_ = next(i for i, part in enumerate(parts) if isinstance(part, DactBert))
    for stage in whole[1:]:
        model = tokendrop.load(stage.model)
        assert (exit_ in model.reducer.active) == (not stage.name.startswith("0") or exit_ == 0)
    # the exit's units learn in the last stage, whoever owns it
    before, after = weights(whole[-2]), weights(whole[-1])
    unit = f"reducer.parts.{exit_}.units.0.halt.weight"
    assert not torch.equal(before[unit], after[unit])
    # cut off in the last stage and resumed, it ends the same
    with pytest.raises((ConnectionAbortedError, UserError)):
        trained(module, data, tmp_path / "cut", StopIn(stages[-1], 1))
    resumed = trained(module, data, tmp_path / "cut")
    for key, weight in weights(resumed[-1]).items():
        torch.testing.assert_close(weight, after[key], rtol=0, atol=0)


def test_a_trained_chain_runs_at_any_length(backbone: str, data: TextData, tmp_path: Path) -> None:
    parts, _ = CHAINS["length_adaptive"]
    stages = trained(TokenDropModule(Chain(parts), backbone, fine_tune=FINE_TUNE), data, tmp_path)
    point = {"parts.1.configuration": [12, 6, 3], "parts.0.check_every": LAYERS}
    model = tokendrop.load(stages[-1].model, **point)
    (prediction,) = model.predict(["the plot is thin but but but but but but but but"])
    assert prediction.row_depth == LAYERS
    assert [sum(d >= n for d in prediction.token_depth) for n in (1, 2, 3)] == [7, 4, 2]
    # trained for both points at once
    changed = Chain([DactBert(epochs=1, learning_rate=1e-3, exit_rule="tight"), parts[1]])
    again = trained(TokenDropModule(changed, backbone, fine_tune=FINE_TUNE), data, tmp_path)
    assert again[-1].folder == stages[-1].folder


def test_the_best_epoch_goes_on(backbone: str, data: TextData, tmp_path: Path) -> None:
    stages = trained(TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE), data, tmp_path)
    curve = [metrics["dev/accuracy"] for metrics in stages[0].curve]
    model = tokendrop.load(stages[0].model)
    split = data.splits["dev"]
    predicted = model.predict(split.texts)
    right = [
        prediction.label == data.labels[label]
        for prediction, label in zip(predicted, split.labels, strict=True)
    ]
    assert sum(right) / len(right) == pytest.approx(max(curve), abs=1e-6)


def test_a_method_without_stages_runs_on_the_fine_tuned_weights(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    method = TokenDropModule(TokenMerging(share=0.4), backbone, fine_tune=FINE_TUNE)
    tuned, untrained = trained(method, data, tmp_path)
    assert (untrained.name, untrained.epochs, untrained.seconds) == ("untrained", 0, 0.0)
    merging = tokendrop.load(untrained.model, share=0.2)
    assert isinstance(merging.reducer, TokenMerging)
    for name, weight in weights(tuned).items():
        assert torch.equal(merging.state_dict()[name], weight)
    # what is reported is the method's own, not that of the model it runs on
    assert untrained.chosen["dev/flops_speedup"] > 1
    assert tuned.chosen["dev/flops_speedup"] == pytest.approx(1)
    changed = (untrained.folder / "done.json").stat().st_mtime_ns
    assert trained(method, data, tmp_path)[1] == untrained
    assert (untrained.folder / "done.json").stat().st_mtime_ns == changed


def test_fine_tuning_costs_three_passes_over_train_and_one_over_dev(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    (stage,) = trained(TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE), data, tmp_path)
    train, dev = (dense_cost(stage, data, split) for split in ("train", "dev"))
    assert stage.flops == FINE_TUNE.epochs * (3 * train + dev)


def test_saliencies_are_charged_to_the_stage_that_asks_for_them(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    method = TokenDropModule(AdapLeR(epochs=1), backbone, fine_tune=FINE_TUNE)
    tuned, adaptive = trained(method, data, tmp_path)
    flops, seconds = cost_of(tuned.folder / "saliency.safetensors")
    train = dense_cost(tuned, data, "train")
    # one set of weights for each epoch; gradients of the embeddings, none of the weights
    assert flops == FINE_TUNE.epochs * 2 * train
    assert 0 < seconds < adaptive.seconds
    # removal is soft, so a step is a pass over all tokens and a backward pass of two objectives
    rest = adaptive.flops - flops - 4 * train
    assert 0 < rest < 4 * train


def dense_cost(stage: TrainedStage, data: TextData, split: str) -> int:
    model = tokendrop.load(stage.model)
    return dense_flops(data.splits[split].lengths, model.backbone, model.shape)


def test_a_stage_whose_score_does_not_rise_ends_early(
    backbone: str, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rises = {1: 0.5, 2: 0.7, 3: 0.6, 4: 0.7, 5: 0.9}  # of epoch 5 nothing is known after epoch 4
    epochs = iter(())

    def score(reducer: Dense, value: float, metrics: Any) -> float:
        return rises[next(epochs)]

    monkeypatch.setattr(Dense, "score", score)
    tuned = replace(FINE_TUNE, epochs=5)

    def run(folder: str, patience: int | None, *cuts: Callback) -> list[TrainedStage]:
        module = TokenDropModule(Dense(), backbone, fine_tune=tuned, patience=patience)
        return trained(module, data, tmp_path / folder, *cuts)

    epochs = iter(range(1, 6))
    (whole,) = run("whole", None)
    assert whole.epochs == 5
    epochs = iter(range(1, 6))
    (early,) = run("whole", 2)
    assert early.folder != whole.folder
    assert early.epochs == len(early.curve) == 4
    assert early.chosen["epoch"] == 2
    # cut after the epoch in which it would have ended, it trains no other one
    epochs = iter(range(1, 6))
    with pytest.raises((ConnectionAbortedError, UserError)):
        run("cut", 2, StopAtTheEnd())
    epochs = iter(())
    (resumed,) = run("cut", 2)
    assert resumed.curve == early.curve
    with pytest.raises(UserError, match="patience 0 is too small"):
        TokenDropModule(Dense(), backbone, patience=0)


class StopAtTheEnd(Callback):
    """Break off once all epochs are trained."""

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        raise ConnectionAbortedError


def test_a_stage_of_another_version_is_named(backbone: str, data: TextData, tmp_path: Path) -> None:
    module = TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE)
    (stage,) = trained(module, data, tmp_path)
    marker = stage.folder / "done.json"
    marker.write_text(marker.read_text().replace('"flops"', '"flips"'))
    (stage.folder / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="remove its folder to train it again") as error:
        trained(module, data, tmp_path)
    assert str(stage.folder) in str(error.value)


def test_the_best_epoch_stays_the_best_in_a_folder_of_another_name(
    backbone: str, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the second and third epoch differ by less than what a curve is rounded to
    rises = iter([0.6, 0.700_000_1, 0.700_000_4, 0.5])
    monkeypatch.setattr(Dense, "score", lambda *_: next(rises))
    module = TokenDropModule(Dense(), backbone, fine_tune=replace(FINE_TUNE, epochs=4))
    with pytest.raises((ConnectionAbortedError, UserError)):
        trained(module, data, tmp_path / "before", StopIn("fine_tune", 3))
    (tmp_path / "before").rename(tmp_path / "after")
    (stage,) = trained(module, data, tmp_path / "after")
    assert stage.chosen["epoch"] == 3
    kept = tokendrop.load(stage.model).backbone.state_dict()
    for epoch in range(1, 5):
        found = load_file(stage.folder / f"epoch{epoch}.safetensors")
        same = all(torch.equal(found[name], weight) for name, weight in kept.items())
        assert same == (epoch == 3)


def test_a_method_is_told_the_steps_that_a_limited_trainer_takes(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    """AdapLeR's removal would stay soft if it were told more of them."""

    class Sharpness(Callback):
        def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
            if module.stage.name == "adaptive":
                assert trainer.limit_train_batches == limit
                ends.append(float(module.model.reducer.sharpness))

    ends: list[float] = []
    module = TokenDropModule(AdapLeR(epochs=1), backbone, fine_tune=replace(FINE_TUNE, epochs=1))
    for limit in (5, 0.9):
        trained(module, data, tmp_path / str(limit), Sharpness(), limit_train_batches=limit)
    assert ends == [1e5, 1e5]
