"""What the class of a reducer of somebody's own gets wrong is named, before it does harm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tokendrop.compare.grid.evaluate import check_flops
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import Diverged, UserError
from tokendrop.reducers.base import Decision, Group, Reducer, Shape, Stage, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.given import (
    description_of,
    flops_of,
    groups_of,
    passes_of,
    score_of,
    stages_of,
)
from tokendrop.testing import check_reducer
from tokendrop.testing.tiny import built, packed, run, tiny_model, tiny_rows, tiny_shape


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


def test_what_operating_points_change_has_a_default_to_be_trained_with() -> None:
    class Mine(Reducer):
        operating_arguments = frozenset({"share"})

        def __init__(self, share: float) -> None:
            super().__init__()

    with pytest.raises(UserError, match=r"^Mine.share has no default, and operating_arguments nam"):
        Mine(0.5)


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


@pytest.mark.parametrize("given", [{"shar": 0.1}, {"share": 0.1, "layer": 2}])
def test_a_name_that_is_no_arguments_is_told_with_the_class(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"^Half: .*'(shar|layer)'; its arguments: share$"):
        Half(**given)
    with pytest.raises(UserError, match=r"^Half: too many positional arguments"):
        Half(0.1, 2)  # type: ignore[call-arg]


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


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("stages", 2, "a method"),
        ("score", 0.5, "a method"),
        ("flops", None, "a method"),
        ("arguments", 0.5, "something else"),
        ("training", 3, "something else"),
    ],
)
def test_a_value_has_no_name_that_every_reducer_uses(name: str, value: object, what: str) -> None:
    class Mine(Half):
        def build(self, shape: Shape) -> None:
            setattr(self, name, value)

    said = (
        rf"^Mine.{name} cannot be {value}, because every reducer has {what} of that name: call it"
    )
    with pytest.raises(UserError, match=said):
        built(Mine())


def test_names_that_only_pytorch_uses_are_free() -> None:
    class Mine(Half):
        def build(self, shape: Shape) -> None:
            self.half, self.type = 0.5, "mine"  # type: ignore[assignment, method-assign]

    assert built(Mine().train()).half == 0.5


def test_a_method_is_no_list() -> None:
    class Mine(Half):
        stages = (Stage("mine", 1, 1e-3),)  # type: ignore[assignment]

    with pytest.raises(UserError, match=r"^Mine.stages is a tuple, but every reducer has a method"):
        Mine()


def test_a_moment_that_never_comes_is_refused() -> None:
    """Written so, the method would drop nothing, and say nothing."""

    class Mine(Half):
        def before_layers(self, view: View) -> Decision | None:
            return None

    with pytest.raises(UserError, match="'before_layers': did you mean 'before_layer'"):
        Mine()


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


@pytest.mark.parametrize("kind", ["without diagonal", True])
def test_there_are_two_kinds_of_received_attention(kind: Any) -> None:
    class Ranks(Reducer):
        received = kind

    complaint = rf"Ranks.received is {kind!r} in layer 0: use 'with_diagonal' or 'without_d"
    with pytest.raises(UserError, match=complaint):
        run(tiny_model("bert"), built(Ranks()), tiny_rows())


def test_flops_are_whole_numbers() -> None:
    with pytest.raises(AssertionError, match=r"CountsHalves.flops gave 16.0: .* whole number"):
        check_reducer(keeps_all=CountsHalves, families=["bert"])


class Mine(Reducer):
    """One of its functions gives what a test says."""


FUNCTIONS: dict[str, Callable[[Reducer], object]] = {
    "stages": stages_of,
    "groups": lambda reducer: groups_of(reducer, Stage("mine", 1, 1e-3), nn.Linear(1, 1)),
    "score": lambda reducer: score_of(reducer, 0.5, {}),
    "describe": description_of,
    "training_passes": lambda reducer: list(passes_of(reducer, cast(Any, None))),
    "flops": lambda reducer: flops_of(reducer, cast(Any, None), cast(Any, None)),
}
PARAMETER = nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("function", "given", "complaint"),
    [
        ("stages", None, "gave None: give a list of Stage"),
        ("stages", Stage("mine", 1, 1e-3), "gave a Stage: give a list of Stage"),
        ("stages", ["mine"], "gave ['mine']: give a list of Stage"),
        ("groups", None, "gave None: give a list of Group"),
        ("groups", [], "gave []: give a list of Group, at least one"),
        ("groups", {"mine": PARAMETER}, "give a list of Group"),
        ("groups", [Group("mine", cast(Any, [PARAMETER]))], "the group 'mine' a list of param"),
        ("groups", [Group("mine", cast(Any, {"it": 1.0}))], "the group 'mine' a dict of param"),
        (
            "groups",
            [Group("mine", {"it": PARAMETER}, ignores=cast(Any, "kl"))],
            "the group 'mine' ignores 'kl': give a frozenset of names",
        ),
        ("groups", [Group("mine", {"it": PARAMETER}, -1.0)], "mine.learning_rate -1.0 is out of"),
        (
            "groups",
            [Group("mine", {"it": PARAMETER}), Group("other", {"it": PARAMETER})],
            "gave it to the groups 'mine' and 'other': leave it in one of them",
        ),
        ("score", None, "gave None: give a number"),
        ("score", np.float32("nan"), "give a number, larger for a better epoch"),
        ("score", torch.ones(2), "give a number, larger for a better epoch"),
        ("score", {"f1": 0.5}, "gave {'f1': 0.5}: give a number"),
        ("describe", None, "gave None: give plain data by names"),
        ("describe", "all done", "gave 'all done': give plain data by names"),
        ("describe", {"thresholds": torch.ones(2)}, "thresholds is a Tensor, which a saved model"),
        ("describe", {"tuning": 0.5}, "gave 'tuning', by which a comparison's record tells"),
        ("training_passes", None, "gave no loss: yield the terms of each pass"),
        ("training_passes", [], "gave no loss: yield the terms of each pass"),
        ("training_passes", [{}], "gave no loss: yield the terms of each pass"),
        ("training_passes", {"task": torch.tensor(1.0)}, "gave a str: give loss terms by their n"),
        ("flops", None, "gave None: FLOPs are a whole number"),
    ],
)
def test_what_functions_give_is_named(
    function: str, given: Any, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mine, function, lambda *_: given)
    with pytest.raises(UserError) as found:
        FUNCTIONS[function](Mine())
    assert str(found.value).startswith(f"Mine.{function}")
    assert complaint in str(found.value)


def test_what_is_described_can_be_read_by_every_reader_of_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"mean": np.float32("nan"), "shares": (0.5, [math.inf]), "by": {"head": -math.inf}}
    monkeypatch.setattr(Mine, "describe", lambda _: told)
    wanted = {"mean": None, "shares": [0.5, [None]], "by": {"head": None}}
    assert json.loads(json.dumps(description_of(Mine()), allow_nan=False)) == wanted


@pytest.mark.parametrize(
    ("function", "act"),
    [
        ("stages", built),
        ("describe", lambda chain: chain.describe()),
        ("flops", lambda chain: chain.flops(None, None)),
    ],
)
def test_a_part_of_a_chain_is_named_as_it_is_alone(
    function: str, act: Callable[[Reducer], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mine, function, lambda *_: None)
    with pytest.raises(UserError, match=rf"^Mine\.{function} gave None"):
        act(Chain([Dense(), Mine()]))


class Unsure(Reducer):
    """Gives values that are no numbers, at one of its moments."""

    moment, field = "after_layer", "scale"

    def _decide(self, view: View, moment: str) -> Decision | None:
        values = view.hidden.sum(1)
        return Decision(**{self.field: values / 0 * 0}) if moment == self.moment else None

    def before_layer(self, view: View) -> Decision | None:
        return self._decide(view, "before_layer")

    def after_attention(self, view: View) -> Decision | None:
        return self._decide(view, "after_attention")

    def after_layer(self, view: View) -> Decision | None:
        return self._decide(view, "after_layer")


@pytest.mark.parametrize(
    ("moment", "field"),
    [("after_layer", "scale"), ("after_attention", "scale"), ("before_layer", "key_bias")],
)
@pytest.mark.parametrize("chained", [False, True])
def test_values_that_are_no_numbers_are_the_method_s_where_its_states_are_some(
    moment: str, field: str, chained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unsure, "moment", moment)
    monkeypatch.setattr(Unsure, "field", field)
    reducer = built(Chain([Dense(), Unsure()]) if chained else Unsure())
    model = tiny_model("bert")
    with pytest.raises(Diverged, match=rf"^Unsure\.{moment} .* with {field} that is NaN somewhere"):
        run(model, reducer, tiny_rows([5]))
    with torch.no_grad():
        model.base_model.embeddings.word_embeddings.weight.fill_(torch.nan)
    assert run(model, reducer, tiny_rows([5])).logits.isnan().all()


class CountsNone(Reducer):
    """Its own layer is missing in ``flops``."""

    def build(self, shape: Shape) -> None:
        self.wide = nn.Linear(shape.hidden, 4 * shape.hidden)

    def before_layer(self, view: View) -> Decision:
        return Decision(key_bias=self.wide(view.hidden).mean(-1))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (CountsNone, "CountsNone.flops is wrong"),
        (lambda: Chain([Half(), CountsNone()]), "Half.flops or CountsNone.flops is wrong"),
    ],
)
def test_a_comparison_names_who_counts_too_few_flops(
    make: Callable[[], Reducer], named: str
) -> None:
    model = cast(Any, SimpleNamespace(backbone=tiny_model("bert"), reducer=built(make())))
    model.shape = tiny_shape()
    with torch.no_grad(), pytest.raises(UserError, match=named):
        check_flops(model, packed(tiny_rows()))
