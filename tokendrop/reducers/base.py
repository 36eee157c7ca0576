"""What a token-dropping or early-exit method is: a :class:`Reducer`.

A reducer looks at the packed tokens at a few moments of the encoder and answers with a
:class:`Decision`. It never gathers, pads or loops over rows; the encoder does that for every method
alike. One method is one file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import Tensor, nn

from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.heads import CLASS, Head
from tokendrop.reducers.arguments import check_operating, described, given_by_name
from tokendrop.reducers.moments import Decision, Ranking, View
from tokendrop.reducers.own_names import check_attribute, check_methods
from tokendrop.reducers.training import Group, Stage, StageContext, Step, checked_terms

# all that a method's file needs, its training too, is imported from here
__all__ = [
    "Decision",
    "Encoded",
    "Group",
    "Ranking",
    "Received",
    "Reducer",
    "Setting",
    "Shape",
    "Stage",
    "StageContext",
    "Step",
    "Trace",
    "View",
]

Setting = StageContext  # its first name, which methods elsewhere import


@dataclass(frozen=True)
class Shape:
    """The sizes of a backbone that a method may need to build its own weights.

    Attributes:
        max_tokens: longest row of the task, special tokens included.
        classes: outputs of the head.
        task: the kind of task that the head is for.
        head: what it reads and answers with.
        dropout: probability before the head's last layer in training.
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
    task: str = "classification"
    head: Head = CLASS
    dropout: float = 0.0
    gated: bool = False
    projected_embedding: int = 0


class Reducer(nn.Module):
    """Base of all methods, and the dense model: it drops nothing.

    Subclasses override what they need. Constructor arguments are the method's hyper-parameters;
    the ones in ``operating_arguments`` can be changed on a trained model without training again.

    Attributes:
        received: the kind of received attention that ``after_attention`` reads, if any.
        attention_dropout: whether the backbone's attention-probability dropout is on in training.
        note: what a reader of the method's results must know, e.g. what was reconstructed.
        recipe: counts the changes of the method's training; what another one trained is not found
            again.
        token_scores: the scores of the fine-tuned model's tokens that its training asks for, if
            any; what is left of a comparison is estimated with it.
        reference: whether it drops nothing, so that other methods are compared with it.
        evaluated_apart: whether the epochs of its training are evaluated otherwise than it runs
            afterwards, so that their numbers are those of no operating point.
        in_model: whether a model has been made with it, which is saved with its arguments.
        carried: what of ``view.memory`` later layers read: its tensors (B, ...) by name, which an
            exported model hands on.
    """

    operating_arguments: frozenset[str] = frozenset()
    received: Received | None = None
    attention_dropout: bool = True
    note: str = ""
    recipe: int = 1
    token_scores: Literal["saliency", "attention"] | None = None
    reference: bool = False
    evaluated_apart: bool = False
    in_model: bool = False
    carried: tuple[str, ...] = ()
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the arguments, and remember them: a saved reducer is made again from them.

        Raises:
            UserError: a name that is no argument's; a value that is none of its type, or out of the
                bounds beside it, or given by ``*`` or ``**``; ``operating_arguments`` that are no
                set of names of arguments with a default; a value in the place of a method.
        """
        check_methods(cls, Reducer)
        defaults = cls.argument_defaults()
        check_operating(cls, defaults)
        self = super().__new__(cls)
        nn.Module.__init__(self)  # here, because a subclass may forget to call __init__
        given = given_by_name(cls, args, kwargs, defaults)
        # with the defaults: in a later version they may be others
        full = {name: given.get(name, default) for name, default in defaults.items()}
        object.__setattr__(self, "arguments", full)
        return self

    def __init__(self) -> None:
        """Nothing is left to do; weights that a subclass made before it called this stay."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Raises:
            UserError: a name that every reducer uses itself; an operating argument of a model,
                which would be saved with the value before.
        """
        check_attribute(type(self), Reducer, name, value)
        if self.in_model and name in self.operating_arguments:
            raise UserError(
                f"{type(self).__name__}.{name} of a model cannot be set to {value!r} by hand, "
                f"because it would be saved as {self.arguments[name]!r}: name it where the model "
                f"is loaded, as in tokendrop.load(folder, {name}={value!r})"
            )
        super().__setattr__(name, value)

    @classmethod
    def argument_defaults(cls) -> dict[str, Any]:
        """The constructor's arguments by name, each with its default."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {
            p.name: p.default for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }

    def spec(self, *, trained: bool = False) -> dict[str, Any]:
        """Class and arguments as plain data, the form configuration files use.

        Args:
            trained: leave out ``operating_arguments``, which do not change the training.

        Raises:
            UserError: an argument that is no plain data.
        """
        left_out = self.operating_arguments if trained else frozenset()
        told = {k: v for k, v in self.arguments.items() if k not in left_out}
        owner = type(self).__name__
        arguments = {k: described(v, f"{owner}.{k}", trained) for k, v in told.items()}
        return {"class_path": f"{type(self).__module__}.{type(self).__name__}"} | (
            {"init_args": arguments} if arguments else {}
        )

    @property
    def operating_point(self) -> dict[str, Any]:
        """The values of the ``operating_arguments``, by name; see ``with_changes``."""
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

    def ranking(self) -> Ranking | None:
        """How it drops, where the length of a row decides how many tokens stay; else None."""
        return None

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
        yield {"task": step.task_loss(encoded)} | self.added_terms(encoded)

    def added_terms(self, encoded: Encoded) -> dict[str, Tensor]:
        """What :meth:`losses` gives, if it can be added to the task's loss.

        Raises:
            UserError: it is no dictionary of scalar tensors, or would replace the task's loss.
        """
        source = f"{type(self).__name__}.losses"
        terms = checked_terms(self.losses(encoded), source)
        if "task" in terms:
            raise UserError(
                f"{source} gave a term 'task', the name of the task's own loss: call it otherwise, "
                "or yield the loss in its place from training_passes"
            )
        return terms

    def stages(self) -> list[Stage]:
        """The recipe after the shared fine-tuning. The dense model needs nothing more."""
        return []

    def enter(self, stage: Stage, context: StageContext) -> None:
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

    def caveat(self) -> str:
        """What a reader must know of the result that was trained; it is marked in every table."""
        return ""

    def cure_for_keeping_all(self) -> str:
        """What to change where the trained method drops nothing, e.g. a setting; "" if unknown."""
        return ""

    def describe(self) -> dict[str, Any]:
        """What was learned, as plain data for logs and records, e.g. a configuration."""
        return {}
