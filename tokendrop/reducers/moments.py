"""What a reducer sees at a moment of the encoder, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from operator import gt
from typing import Any, Literal

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.errors import Diverged, UserError


@dataclass(frozen=True, eq=False)
class View:
    """What a reducer sees at one moment. R live rows, T live tokens.

    Attributes:
        layer: index of the layer, from 0; ``layers`` is their number.
        layout: where the live rows lie.
        states: (T, hidden) entering the layer (``before_layer``, ``after_attention``) or leaving
            it (``after_layer``), in the precision the backbone runs in. Later layers may overwrite
            them: what is to be kept is read from ``hidden`` or ``cls``.
        memory: whatever ``start`` returned for this pass. Anything kept there for each token or
            row is best kept for the *original* ones and read at ``layout.tokens``, ``layout.rows``.
        batch: the original batch.
        received: (T,) attention each token received, summed over heads and queries, in fp32; only
            in ``after_attention`` and only if asked for.
        keys: (T, heads, head size) of the attention, overwritten like ``states``; only in
            ``after_attention``.
        reused: whether states are overwritten.
        by_token: whether the task has an answer for every original token, not for every row.
    """

    layer: int
    layers: int
    layout: Layout
    states: Tensor
    memory: Any
    batch: Batch
    received: Tensor | None = None
    keys: Tensor | None = None
    reused: bool = False
    by_token: bool = False

    @property
    def hidden(self) -> Tensor:
        """(T, hidden) the states in fp32, in which everything is decided."""
        return self.states.to(torch.float32, copy=self.reused)

    @property
    def cls(self) -> Tensor:
        """(R, hidden) the [CLS] state of each live row, in fp32.

        Raises:
            UserError: a row has lost it, which can be where the head reads every token.
        """
        if self.by_token and self.states.device.type == "cpu":
            own = self.batch.layout.first[self.layout.rows]
            if not torch.equal(self.layout.tokens[self.layout.first], own):
                raise UserError(
                    "a method reads [CLS] where another one has dropped it: let it read the mean "
                    "of a row (pooling: mean), or keep [CLS] (keep_cls: true)"
                )
        return self.states[self.layout.first].float()


@dataclass(frozen=True, eq=False)
class Decision:
    """What a reducer wants done. Everything is optional.

    Attributes:
        keep: (T,) mask of the tokens that go on.
        counts: how many of each row do, in the order of the layout, where the method knows it, be
            it for ``keep``, ``into`` or ``leave``; that spares reading them back from the device.
            On a processor others than those that stay are refused.
        scale: (T,) factors on the attention output (``after_attention``) or on the states that
            leave the layer (``after_layer``).
        into: (T,) index of the live token that each one is merged into, its own where it stays;
            a token that others go into must stay itself (``after_attention`` only). The states are
            averaged behind the attention's output projection, so that all tokens go through it.
        weight: (T,) what a token counts in that average.
        key_bias: (T,) added to the logits of each key (``before_layer`` only).
        skip: pass over this layer altogether (``before_layer`` only, and alone).
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

    def staying(self) -> Tensor | None:
        """(T,) which tokens are neither dropped nor merged into another; None where all stay."""
        if self.into is None:
            return self.keep
        own = self.into == torch.arange(len(self.into), device=self.into.device)
        return own if self.keep is None else own & self.keep


Moment = Literal["before_layer", "after_attention", "after_layer"]
_TAKES: dict[Moment, tuple[str, ...]] = {
    "before_layer": ("keep", "counts", "key_bias", "skip"),
    "after_attention": ("keep", "counts", "scale", "into", "weight"),
    "after_layer": ("leave", "counts", "answer", "scale"),
}
_NEEDS = {"leave": "answer", "answer": "leave", "into": "weight", "weight": "into"}
_TYPES = {"keep": torch.bool, "leave": torch.bool, "into": torch.int64}


def checked(found: object, view: View, reducer: object, moment: Moment) -> Decision | None:
    """What a reducer answered at a moment, if it can be done.

    Values are looked at on a processor only: another device would have to be waited for.

    Raises:
        UserError: it is no decision, or one with something that this moment does not take, that
            lacks its other half, that has another size than what is alive, or that another part of
            it contradicts.
        Diverged: it has values that are not numbers, made of states that are.
    """
    if found is None:
        return None
    name = f"{type(reducer).__name__}.{moment} returned"
    if not isinstance(found, Decision):
        raise UserError(f"{name} a {type(found).__name__}: return a Decision, or None")
    for field, value in vars(found).items():
        if value is None or value is False:
            continue
        if field not in _TAKES[moment]:
            places = " or ".join(other for other, takes in _TAKES.items() if field in takes)
            complaint = f", which does nothing there: return it from {places}"
        elif field in _NEEDS and getattr(found, _NEEDS[field]) is None:
            complaint = f" but without {_NEEDS[field]}: give both, or neither"
        else:
            complaint = _complaint(field, value, view)
        if complaint:
            raise UserError(f"{name} a Decision with {field}{complaint}")
        if _no_number(value, view):
            raise Diverged(
                f"{name} a Decision with {field} that is NaN somewhere, of states that are finite: "
                "keep logarithms, roots and divisors away from 0, or lower the learning rate"
            )
    if complaint := _contradiction(found, view):
        raise UserError(f"{name} a Decision with {complaint}")
    return found


def _no_number(value: Any, view: View) -> bool:
    """Whether a method itself made something that is no number."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not _on_host(view):
        return False
    return bool(value.isnan().any()) and bool(view.states.isfinite().all())


def _on_host(view: View) -> bool:
    """Whether values can be looked at without waiting for a device."""
    return view.states.device.type == "cpu"


def _contradiction(found: Decision, view: View) -> str:
    """What of a decision would be ignored or undone by the rest of it, "" if nothing would."""
    if found.skip:
        beside = [name for name in ("keep", "counts", "key_bias") if vars(found)[name] is not None]
        if beside:
            return f"skip beside {beside[0]}, which a layer that is passed over has not: give one"
    on_host = _on_host(view)
    if found.into is not None and on_host and (complaint := _lost(found.into, view)):
        return f"into {complaint}"
    if found.counts is None:
        return ""
    if found.keep is None and found.into is None and found.leave is None:
        return "counts alone: they say how many tokens keep, into or leave let stay, so give one"
    lengths, kinds = view.layout.lengths, set(map(type, found.counts))
    whole = bool not in kinds and all(issubclass(kind, Integral) for kind in kinds)
    if not whole or min(found.counts) < 0 or any(map(gt, found.counts, lengths)):
        rows = f"rows of {list(lengths)} tokens: use whole numbers"
        return f"counts {list(found.counts)} for {rows} from 0 to these"
    if not on_host:
        return ""
    if found.leave is not None:
        leaving = zip(found.leave.tolist(), lengths, strict=True)
        if (stay := [0 if leaves else length for leaves, length in leaving]) != list(found.counts):
            return f"counts {list(found.counts)} where leave says {stay}: give these, or no counts"
        return ""
    stays = found.staying()
    assert stays is not None
    # where the head reads [CLS], that they are right row by row follows: each begins with its own
    if int(stays.count_nonzero()) != sum(found.counts) or (
        view.by_token and view.layout.counts(stays) != list(found.counts)
    ):
        right = view.layout.counts(stays)
        return f"counts {list(found.counts)} where {right} stay: give these, or no counts"
    return ""


def _lost(into: Tensor, view: View) -> str:
    """Why the token that some are merged into does not hold them afterwards, "" if all do."""
    if not len(into):
        return ""
    if int(into.amin()) < 0 or int(into.amax()) >= len(into):
        return f"beyond the {len(into)} live tokens: give the index of one of them"
    if not torch.equal(into[into], into):
        return "a token that goes into another itself: merge into one that stays"
    row = view.layout.row
    if not torch.equal(row[into], row):
        return "a token of another row: merge inside a row"
    return ""


def _complaint(field: str, value: Any, view: View) -> str:
    """What is wrong with one value of a decision, "" if nothing is."""
    kind = type(value).__name__
    if field == "skip":
        return "" if value is True else f", a {kind}: use True or False"
    if field == "counts":
        if not isinstance(value, Sequence):
            return f", a {kind}: use a list of whole numbers"
        shape = [len(value)]
    else:
        if not isinstance(value, Tensor):
            return f", a {kind}: use a torch.Tensor"
        if value.dtype != _TYPES.get(field, value.dtype):
            return f" in {value.dtype}: it must be in {_TYPES[field]}"
        if field == "key_bias" and not value.is_floating_point():
            # of a mask, the padding beside short rows would be true
            return f" in {value.dtype}: it is added to logits, so use a floating-point type"
        if value.device != view.states.device:
            return f" on {value.device}, but the states are on {view.states.device}: make it there"
        shape = list(value.shape)
    if field == "answer" and view.by_token:
        size, alive = len(view.batch.input_ids), "tokens of the batch"
    elif field in ("answer", "leave", "counts"):
        size, alive = len(view.layout.lengths), "live rows, which are view.layout.rows of the batch"
    else:
        size, alive = (
            len(view.layout.tokens),
            "live tokens, which are view.layout.tokens of the batch",
        )
    each, dimensions = ("the logits", 2) if field == "answer" else ("one value", 1)
    if shape[:1] == [size] and len(shape) == dimensions:
        return ""
    return f" of shape {shape}: give {each} for each of the {size} {alive}"


@dataclass(frozen=True)
class Ranking:
    """Dropping of a number that is known beforehand: the length of a row decides how many stay.

    An exported graph asks for it, because it cannot count on the host. What it says is what the
    method does at its moments.

    Attributes:
        lengths: for a row of so many tokens, how many of them leave each layer at most.
        scores: (T,) by which tokens stay, the larger ones first, and of equal ones the earlier.
        before: whether they are dropped before the layer, instead of between its attention and
            its feed-forward part.
        keep_first: whether [CLS] stays whatever its score.
    """

    lengths: Callable[[int], Sequence[int]]
    scores: Callable[[View], Tensor]
    before: bool = False
    keep_first: bool = True


def received_attention(view: View) -> Tensor:
    """(T,) the scores of methods that rank tokens by the attention they received."""
    assert view.received is not None
    return view.received
