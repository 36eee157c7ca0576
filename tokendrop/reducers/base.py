"""What a token-dropping or early-exit method is: a :class:`Reducer`.

A reducer looks at the packed tokens at a few moments of the encoder and answers with a
:class:`Decision`. It never gathers, pads or loops over rows; the encoder does that for every method
alike. One method is one file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import Tensor, nn

from tokendrop.attention import Received
from tokendrop.heads import Kind, mean_divergence
from tokendrop.packed import Batch, Layout
from tokendrop.trace import Encoded, Trace


@dataclass(frozen=True)
class Shape:
    """The sizes of a backbone that a method may need to build its own weights.

    Attributes:
        max_tokens: longest row of the task, special tokens included.
        classes: outputs of the head.
        task: what the head is for.
        gated: whether the feed-forward part has a gate, a third matrix.
        projected_embedding: width of the embeddings where a matrix widens them to ``hidden``,
            else 0.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    classes: int
    max_tokens: int
    task: Kind = "classification"
    gated: bool = False
    projected_embedding: int = 0


@dataclass(frozen=True, eq=False)
class View:
    """What a reducer sees at one moment. R live rows, T live tokens.

    Attributes:
        layer: index of the layer, from 0; ``layers`` is their number.
        layout: where the live rows lie.
        states: (T, hidden) entering the layer (``before_layer``, ``after_attention``) or leaving
            it (``after_layer``), in the precision the backbone runs in.
        memory: whatever ``start`` returned for this pass. Anything kept there for each token or
            row is best kept for the *original* ones and read at ``layout.tokens``, ``layout.rows``.
        batch: the original batch.
        received: (T,) attention each token received, summed over heads and queries, in fp32; only
            in ``after_attention`` and only if asked for.
        keys: (T, heads, head size) of the attention; only in ``after_attention``.
    """

    layer: int
    layers: int
    layout: Layout
    states: Tensor
    memory: Any
    batch: Batch
    received: Tensor | None = None
    keys: Tensor | None = None

    @property
    def hidden(self) -> Tensor:
        """(T, hidden) the states in fp32, in which everything is decided."""
        return self.states.float()

    @property
    def cls(self) -> Tensor:
        """(R, hidden) the [CLS] state of each live row, in fp32."""
        return self.states[self.layout.first].float()


@dataclass(frozen=True, eq=False)
class Decision:
    """What a reducer wants done. Everything is optional.

    Attributes:
        keep: (T,) mask of the tokens that go on.
        counts: how many of each row do, in the order of the layout, where the method knows it;
            that spares reading them back from the device.
        scale: (T,) factors on the attention output (``after_attention``) or on the states that
            leave the layer (``after_layer``).
        into: (T,) index of the live token that each one is merged into, its own where it stays;
            a token that others go into must stay itself (``after_attention`` only). The states are
            averaged behind the attention's output projection, so that all tokens go through it.
        weight: (T,) what a token counts in that average.
        key_bias: (T,) added to the logits of each key (``before_layer`` only).
        skip: pass over this layer altogether (``before_layer`` only).
        leave: (R,) mask of the rows that stop here (``after_layer`` only).
        answer: (R, classes) logits of the rows, read where ``leave`` is true; for tasks that answer
            for every token, (T_0, outputs) of all original tokens.
    """

    keep: Tensor | None = None
    counts: Sequence[int] | None = None
    scale: Tensor | None = None
    into: Tensor | None = None
    weight: Tensor | None = None
    key_bias: Tensor | None = None
    skip: bool = False
    leave: Tensor | None = None
    answer: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of a method's training recipe: a start, an optimiser, a length, a choice.

    Attributes:
        name: what the stage is called in logs and folders.
        epochs: passes over the training split.
        learning_rate: peak rate of the backbone; a :class:`Group` may name another.
        optimizer: "adam" or "adamw".
        weight_decay: not applied to biases and LayerNorm.
        warmup: share of the steps over which the rate rises linearly from 0.
        schedule: how it falls after that. "linear": to 0 from the peak; "keras": as
            1 - step / steps, so it jumps down at the end of the warm-up (PoWER-BERT's code).
        clip: largest gradient norm of a group, None for no clipping.
        keep: which weights go on to the next stage: those of the epoch with the best dev metric,
            or the last.
        start: weights to begin with: the previous stage's, or the pretrained ones.
        reshuffle: a new order of the batches each epoch, or the first one for all.
    """

    name: str
    epochs: int
    learning_rate: float
    optimizer: Literal["adam", "adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: float = 0.0
    schedule: Literal["linear", "keras"] = "linear"
    clip: float | None = None
    keep: Literal["best", "last"] = "best"
    start: Literal["previous", "pretrained"] = "previous"
    reshuffle: bool = True


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share a rate, a clip and an objective.

    Attributes:
        parameters: by name.
        learning_rate: peak rate, None for the stage's.
        ignores: names of the loss terms that these parameters do not follow.
    """

    name: str
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float | None = None
    ignores: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Setting:
    """What a stage begins with.

    Attributes:
        lengths: (examples,) tokens of each training row.
        steps: optimiser steps of the stage.
        fine_tuned_score: best dev metric of the shared fine-tuning, from 0 to 1.
        saliency: gradient x input of the fine-tuned model at the embeddings, one (tokens,)
            tensor per training row, in the order of the split; worked out when first called and
            remembered beside the fine-tuned model.
        attention: the same of the attention that each token receives there, mean over layers.
        answer_range: smallest and largest label of the training rows, in regression.
    """

    lengths: Tensor
    steps: int
    fine_tuned_score: float = 0.0
    saliency: Callable[[], list[Tensor]] = list
    answer_range: tuple[float, float] = (0.0, 1.0)
    attention: Callable[[], list[Tensor]] = list


@dataclass(frozen=True)
class Step:
    """What a training step offers to a reducer.

    Attributes:
        forward: one pass over the batch, in training mode.
        task_loss: the task's loss of a pass.
        divergence: mean KL(one || other) of two passes' logits.
    """

    forward: Callable[[], Encoded]
    task_loss: Callable[[Encoded], Tensor]
    divergence: Callable[[Tensor, Tensor], Tensor] = mean_divergence


class Reducer(nn.Module):
    """Base of all methods, and the dense model: it drops nothing.

    Subclasses override what they need. Constructor arguments are the method's hyper-parameters;
    the ones in ``operating_arguments`` can be changed on a trained model without training again.

    Attributes:
        received: the kind of received attention that ``after_attention`` reads, if any.
        attention_dropout: whether the backbone's attention-probability dropout is on in training.
        note: what a reader of the method's results must know, e.g. what was reconstructed.
    """

    operating_arguments: frozenset[str] = frozenset()
    received: Received | None = None
    attention_dropout: bool = True
    note: str = ""
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments, from which a saved reducer is made again."""
        self = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        given = dict(list(bound.arguments.items())[1:])
        object.__setattr__(self, "arguments", given)
        return self

    def spec(self, *, trained: bool = False) -> dict[str, Any]:
        """Class and arguments as plain data, the form configuration files use.

        Args:
            trained: leave out ``operating_arguments``, which do not change the training.
        """
        left_out = self.operating_arguments if trained else frozenset()
        arguments = {k: _plain(v, trained) for k, v in self.arguments.items() if k not in left_out}
        return {"class_path": f"{type(self).__module__}.{type(self).__name__}"} | (
            {"init_args": arguments} if arguments else {}
        )

    @property
    def operating_point(self) -> dict[str, Any]:
        """The ``operating_arguments`` that were given, by name; see ``with_changes``."""
        return {k: v for k, v in self.arguments.items() if k in self.operating_arguments}

    def build(self, shape: Shape) -> None:
        """Create weights and check arguments against the backbone. Called once.

        Raises:
            UserError: an argument does not fit the backbone.
        """

    def start(self, batch: Batch) -> Any:
        """Begin a pass; what is returned comes back as ``view.memory`` in every moment."""
        return None

    def before_layer(self, view: View) -> Decision | None:
        """Decide on the states that enter a layer."""
        return None

    def after_attention(self, view: View) -> Decision | None:
        """Decide between attention and feed-forward."""
        return None

    def after_layer(self, view: View) -> Decision | None:
        """Decide on the states that leave a layer."""
        return None

    def wants_received(self, view: View) -> Received | None:
        """Whether received attention is needed in this layer; it costs time where it is."""
        return self.received

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """Terms that are added to the task loss, each a scalar with its weight applied."""
        return {}

    @property
    def passes(self) -> int:
        """Forward passes of a training step, over which a chain averages its other parts' terms."""
        return 1

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        """The forward passes of one training step, each followed by a backward pass.

        Yields:
            the loss terms of a pass by name; gradients add up over the passes.
        """
        encoded = step.forward()
        yield {"task": step.task_loss(encoded)} | self.losses(encoded)

    def stages(self) -> list[Stage]:
        """The recipe after the shared fine-tuning. The dense model needs nothing more."""
        return []

    def enter(self, stage: Stage, setting: Setting) -> None:
        """Called before a stage begins."""

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Called when a stage's weights are chosen, before they are saved.

        Args:
            stage: the one that ends.
            metrics: dev metrics of the chosen epoch: the task's by name, ``kept_tokens``,
                ``layers``, ``flops_speedup`` (on the unpadded base) and ``score``.
        """

    def before_step(self, epoch: int) -> None:
        """Called before each optimiser step; epochs count from 0."""

    def after_step(self, epoch: int) -> None:
        """Called after each optimiser step, e.g. to clamp; epochs count from 0."""

    def score(self, metric: float, metrics: Mapping[str, float]) -> float:
        """What the best epoch of a stage is chosen by, larger being better.

        Args:
            metric: the task's own dev metric, which is the default.
            metrics: as in :meth:`leave`.
        """
        return metric

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        """Who is trained in a stage. By default everything, together."""
        own = {f"reducer.{name}": p for name, p in self.named_parameters()}
        return [Group("all", {**dict(backbone.named_parameters()), **own})]

    def flops(self, trace: Trace, shape: Shape) -> int:
        """FLOPs of the method's own operators in a pass, charged against it."""
        return 0

    def describe(self) -> dict[str, Any]:
        """What was learned, as plain data for logs and records, e.g. a configuration."""
        return {}


def _plain(value: Any, trained: bool) -> Any:
    """A constructor argument as plain data; reducers inside it become specs."""
    if isinstance(value, Reducer):
        return value.spec(trained=trained)
    return [_plain(item, trained) for item in value] if isinstance(value, list) else value
