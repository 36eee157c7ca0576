"""The one LightningModule: steps, logging, optimisers. It knows no method by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tokendrop.bounds import Count, check
from tokendrop.configs import as_in_a_file
from tokendrop.data.split import Split
from tokendrop.engine.compiled import compiled_parts
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.measure.kept import Kept
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.base import Group, Reducer, Stage, Step
from tokendrop.reducers.given import description_of, groups_of, passes_of, score_of
from tokendrop.reducers.training import checked_terms
from tokendrop.tasks import Scores, Task
from tokendrop.training.loss_watch import LossWatch, check_weights
from tokendrop.training.mean_loss import MeanLoss
from tokendrop.training.objectives import backward, objectives
from tokendrop.training.processes import Draws, Part, gather, several, total
from tokendrop.training.schedule import learning_rate_factor

FINE_TUNE = Stage("fine_tune", 3, 5e-5, weight_decay=0.01, warmup=0.06, clip=1.0)


class TokenDropModule(LightningModule):
    """Train a method through the stages of its recipe, one at a time, and evaluate it."""

    model: TokenDropModel
    task: Task

    def __init__(
        self,
        reducer: Reducer,
        backbone: str = "minilm-l6",
        metric: str = "accuracy",
        fine_tune: Stage | None = FINE_TUNE,
        random_init: dict[str, Any] | None = None,
        compile: bool = False,
        patience: int | None = None,
    ) -> None:
        """
        Args:
            reducer: the method.
            backbone: pretrained encoder: the installed "minilm-l6", a folder, or a Hub name.
            metric: what checkpoints are chosen by, and reported first: accuracy, f1 or matthews of
                classes; pearson or spearman of numbers; entity_f1 or accuracy of tags; f1 or
                exact_match of answers.
            fine_tune: the first stage, shared by all methods: plain fine-tuning. None (null) takes
                a backbone that was fine-tuned for the task as it is.
            random_init: use only the backbone's architecture, with these changes to its
                configuration (e.g. num_hidden_layers), and random weights.
            compile: train with torch.compile's kernels for what layers do token by token. They
                take a minute to make, once for each method, and draw other random numbers.
            patience: end a stage whose dev score has not risen for so many epochs, and keep its
                best; stages that end with their last weights train for all of their epochs.

        Raises:
            UserError: no reducer, stage or name, or a patience of less than one epoch.
        """
        super().__init__()
        given = {"reducer": reducer, "fine_tune": fine_tune, "patience": patience}
        check(given, {"reducer": Reducer, "fine_tune": Stage | None, "patience": Count | None})
        self.backbone: str = as_in_a_file(backbone)
        check({"backbone": self.backbone}, {"backbone": str})
        # a description, not the module: every stage begins with a reducer of its own
        self.reducer_spec = reducer.spec()
        self.metric: str = metric
        self.fine_tune = fine_tune
        self.random_init = random_init
        self.compiled = compile
        self.patience = patience
        # several groups may follow different losses, which one backward pass cannot do
        self.automatic_optimization = False

    def begin(
        self,
        model: TokenDropModel,
        task: Task,
        splits: Mapping[str, Split],
        stage: Stage | None = None,
        seed: int = 0,
    ) -> None:
        """Take a model to train through a stage, or only to evaluate, on the splits of a task.

        Dropout in epoch e depends on ``seed`` and e alone, so a stage that was stopped and resumed
        after any epoch ends as if it had never stopped.
        """
        # Hugging Face loads models in eval mode and Lightning trains in the mode that it finds
        self.model = model.train(stage is not None)
        self.stage = stage
        self.watch = LossWatch("" if stage is None else stage.name)
        self.seed = seed
        self.task = task
        evaluated = {name: split for name, split in splits.items() if name != "train"}
        self.scores = nn.ModuleDict({k: task.scores(split) for k, split in evaluated.items()})
        self.kept = Kept(model.shape.layers)
        self.mean_loss = MeanLoss()
        self.flops = torch.zeros(2, dtype=torch.long)
        # of all passes of this process since, backward ones included; it only grows
        self.train_flops = 0
        self.draws: Draws | None = None

    def setup(self, stage: str) -> None:
        """Called by the trainer.

        Raises:
            UserError: there is no model yet to train or to evaluate.
        """
        if not hasattr(self, "model"):
            raise UserError(
                "a TokenDropModule has a model only while a stage of its method runs: train it by "
                "tokendrop.training.recipes.train, which asks you for a trainer of each stage; to "
                "evaluate a trained model, give it to begin() first"
            )

    # -- training -------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # not at the start of the epoch: loaders draw a number when they begin, sooner or later
        if batch_idx == 0:
            seed = self.seed * 100_003 + self.current_epoch
            torch.manual_seed(seed)
            self.draws = Draws(seed) if several() else None

    def training_step(self, batch: Batch, index: int) -> Tensor:
        step = Step(
            lambda: self._training_pass(batch),
            self._task_loss,
            lambda one, other: self.task.divergence(one, other, batch),
        )
        part = Part.of(batch, self.task) if several() else None
        if part is not None:
            step = part.weighted(step)
        self.model.reducer.before_step(self.current_epoch)
        for optimizer in _listed(self.optimizers()):
            optimizer.zero_grad()
        logged: dict[str, Tensor] = {}
        for losses in passes_of(self.model.reducer, step):
            self._backward(losses)
            for name, loss in losses.items():
                logged[f"train/{name}"] = logged.get(f"train/{name}", 0) + loss.detach()
        terms = torch.stack(list(logged.values()))
        if part is not None:
            parameters = [p for group in self.groups for p in group.parameters.values()]
            terms = part.average(parameters, terms)
            logged = dict(zip(logged, terms, strict=True))
        self.watch.note(list(logged), terms, index, self.current_epoch)
        if part is not None:
            self.watch.check()  # all processes stop in the same step
        if self._stage.clip is not None:
            for group in self.groups:
                nn.utils.clip_grad_norm_(group.parameters.values(), self._stage.clip)
        for optimizer in _listed(self.optimizers()):
            optimizer.step()
        for scheduler in _listed(self.lr_schedulers()):
            scheduler.step()
        self.model.reducer.after_step(self.current_epoch)
        if not terms.is_cuda:  # which would have to be waited for
            self._check_weights(f"step {index + 1} of epoch {self.current_epoch + 1}")
        self.log_dict(logged, batch_size=len(batch))
        self.log("loss", loss := terms.sum(), batch_size=len(batch), logger=False)
        return loss  # for callbacks: the steps are made

    def _training_pass(self, batch: Batch) -> Encoded:
        """A pass of a training step, whose FLOPs are counted with those of its backward passes.

        The gradients of the weights cost as much as the pass itself, and so do those of the states,
        once for each objective: three times the pass for the usual one objective. A pass without
        gradients costs itself alone.
        """
        own_draws = nullcontext() if self.draws is None else self.draws.own()
        with compiled_parts(self.compiled), own_draws:
            encoded = self.model(batch)
        model = self.model
        passes = 1 + len(objectives(self.groups)) if encoded.logits.requires_grad else 0
        forward = pass_flops(encoded.trace, model.reducer, model.backbone, model.shape)
        self.train_flops += (1 + passes) * forward
        return encoded

    def _task_loss(self, encoded: Encoded) -> Tensor:
        given = {"task": self.task.loss(encoded.logits, encoded.batch)}
        return checked_terms(given, f"{type(self.task).__name__}.loss")["task"]

    def _backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add to each group the gradient of the loss terms that it follows."""
        backward(losses, self.groups, self.manual_backward)

    @property
    def _stage(self) -> Stage:
        if self.stage is None:
            raise RuntimeError("this module was begun to evaluate: it has no training stage")
        return self.stage

    def configure_optimizers(self) -> list[dict[str, Any]]:  # type: ignore[override]
        self.groups = groups_of(self.model.reducer, self._stage, self.model.backbone)
        steps = int(self.trainer.estimated_stepping_batches)
        return [self._configure(group, steps) for group in self.groups]

    def _configure(self, group: Group, steps: int) -> dict[str, Any]:
        stage = self._stage
        kind = Adam if stage.optimizer == "adam" else AdamW
        decayed = {name: p for name, p in group.parameters.items() if p.ndim > 1}
        plain = [p for name, p in group.parameters.items() if name not in decayed]
        optimizer: Optimizer = kind(
            [
                {"params": list(decayed.values()), "weight_decay": stage.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=stage.learning_rate if group.learning_rate is None else group.learning_rate,
            betas=stage.betas,
            eps=stage.eps,
            fused=True,
        )
        scheduler = LambdaLR(optimizer, learning_rate_factor(stage, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}

    # -- evaluation -----------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        # before the weights of the epoch are kept
        self.watch.check()
        if self.stage is not None:
            self._check_weights(f"epoch {self.current_epoch + 1}")

    def _check_weights(self, when: str) -> None:
        weights = {name: p for group in self.groups for name, p in group.parameters.items()}
        check_weights(weights, when, self._stage.name)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._evaluate(batch, "dev")

    def test_step(self, batch: Batch, index: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: Batch, split: str) -> None:
        encoded = self.model(batch)
        scores = self.scores[split]
        assert isinstance(scores, Scores)
        scores.update(encoded.logits, batch)
        self.kept.update(encoded.trace)
        model = self.model
        reduced = pass_flops(encoded.trace, model.reducer, model.backbone, model.shape)
        dense = dense_flops(encoded.trace.start.lengths, model.backbone, model.shape)
        self.flops += torch.tensor([dense, reduced])
        self.train_flops += reduced  # what the epochs of a stage are chosen by is part of its cost
        self.mean_loss.update(self._task_loss(encoded), self.task.loss_weight(batch))
        # Lightning would look for the one of the first stage
        self.log(f"{split}/loss", self.mean_loss, metric_attribute="mean_loss")

    def on_validation_epoch_end(self) -> None:
        metrics = self._finish("dev")
        self.log("dev/score", score_of(self.model.reducer, metrics[self.metric], metrics))
        told = description_of(self.model.reducer).items()
        self.log_dict({f"reducer/{k}": v for k, v in told if isinstance(v, (int, float))})

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def _finish(self, split: str) -> dict[str, float]:
        """Log what the pass over a split gave and cost, and begin anew."""
        scores = self.scores[split]
        assert isinstance(scores, Scores)
        gather(scores.answers)
        found = scores.values(self.task.metric)
        scores.reset()
        metrics = found | self._cost()
        self.log_dict({f"{split}/{name}": value for name, value in metrics.items()})
        return metrics

    def _cost(self) -> dict[str, float]:
        """What the passes since the last call cost and kept."""
        kept = self.kept.compute()
        dense, reduced = (total(int(flops), self.device) for flops in self.flops)
        self.kept.reset()
        self.flops.zero_()
        return {
            "kept_tokens": float(kept["tokens"]),
            "layers": float(kept["layers"]),
            "flops_speedup": dense / reduced,
        }


def _listed(value: Any) -> list[Any]:
    """Lightning gives one optimiser or scheduler bare and several as a list."""
    return value if isinstance(value, list) else [value]
