"""What every method must fulfil with every family of backbones, on tiny random models.

Methods are found by themselves. The file ``tests/reducers/test_<snake_name>.py`` of a method
defines:

- ``KEEPS_ALL``: a function giving a reducer that drops nothing; or None if the method never answers
  with the backbone's own head, and then ``OWN_HEAD``: such a reducer that runs every token to the
  last layer.
- ``DROPS``: named functions giving reducers that drop tokens or retire rows of the tiny rows.
- ``SOFT_EQUALS_HARD``: a function giving two built reducers, one whose soft pass is saturated and
  one that really removes, which must agree; or a string saying why the method has no such pair.
- ``NO_GRADIENT``, only if needed: a pattern of the names of parameters whose gradient is 0 in exact
  arithmetic, e.g. a bias in front of a softmax.

What is checked stands in ``checks.py`` and ``invariants.py`` of ``tokendrop/testing``, which
reducers of other people use too.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from inspect import isabstract
from pathlib import Path
from types import ModuleType

import pytest
from transformers import PreTrainedModel

from tokendrop.reducers import REDUCERS
from tokendrop.reducers.base import Reducer
from tokendrop.testing import checks, invariants
from tokendrop.testing.checks import NEVER, Make, Pair
from tokendrop.testing.tiny import CONFIGS, FAMILY_NAMES, tiny_model

TEST_FILES = Path(__file__).parents[1] / "reducers"


def _all_reducers() -> dict[str, type[Reducer]]:
    """Every registered method, and those in ``baselines``, by class name."""
    found = dict(REDUCERS)
    try:
        baselines = importlib.import_module("baselines")
    except ImportError:
        return found
    for module in pkgutil.iter_modules(baselines.__path__, "baselines."):
        for value in vars(importlib.import_module(module.name)).values():
            if not isinstance(value, type) or not issubclass(value, Reducer):
                continue
            if value is not Reducer and not isabstract(value):
                found[value.__name__] = value
    return found


def _test_file(name: str) -> str:
    """``test_power_bert`` for PowerBert; where capitals stand inside a name, as the file has it."""
    files = {path.stem.replace("_", ""): path.stem for path in TEST_FILES.glob("test_*.py")}
    split = "test_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return files.get(f"test{name.lower()}", split)


def _declared() -> dict[str, ModuleType]:
    """The test file of each method that has one."""
    files = {}
    for name in _all_reducers():
        module = f"tests.reducers.{_test_file(name)}"
        if importlib.util.find_spec(module):
            files[name] = importlib.import_module(module)
    return files


FILES = _declared()
# reducers through which every token passes; the first kind answers as Hugging Face does
PLAIN = {name: file.KEEPS_ALL for name, file in FILES.items() if file.KEEPS_ALL}
WHOLE = {name: file.KEEPS_ALL or file.OWN_HEAD for name, file in FILES.items()}
DROPS = {f"{name}-{key}": make for name, file in FILES.items() for key, make in file.DROPS.items()}
PAIRS = {n: f.SOFT_EQUALS_HARD for n, f in FILES.items() if not isinstance(f.SOFT_EQUALS_HARD, str)}
EVERY = {f"{name}-whole": make for name, make in WHOLE.items()} | DROPS


@pytest.fixture(
    scope="module",
    params=[
        *FAMILY_NAMES,
        *(pytest.param(f"{family} on cuda", marks=pytest.mark.gpu) for family in FAMILY_NAMES),
    ],
)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    family, _, device = request.param.partition(" on ")
    return tiny_model(family).to(device or "cpu")


def each(makes: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makes.values(), ids=makes.keys())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_has_a_tiny_model(family: str) -> None:
    assert family in CONFIGS, f"add a tiny configuration of {family!r} to tokendrop/testing/tiny.py"


@pytest.mark.parametrize("name", _all_reducers())
def test_every_reducer_is_under_contract(name: str) -> None:
    assert name in FILES, (
        f"reducer {name} has no tests/reducers/{_test_file(name)}.py: add it, with KEEPS_ALL, "
        "DROPS and SOFT_EQUALS_HARD as tests/contract/test_contract.py describes them"
    )


class TestNothingDropped:
    @each(PLAIN)
    def test_logits_are_those_of_hugging_face(self, make: Make, model: PreTrainedModel) -> None:
        checks.logits(make, model)

    @each(WHOLE)
    def test_states_are_those_of_hugging_face(self, make: Make, model: PreTrainedModel) -> None:
        checks.states(make, model)

    @each(WHOLE)
    def test_the_trace_says_so(self, make: Make, model: PreTrainedModel) -> None:
        checks.whole_trace(make, model)

    @each(WHOLE)
    def test_bf16_autocast_hardly_changes_the_logits(
        self, make: Make, model: PreTrainedModel
    ) -> None:
        checks.rounding(make, model)

    @each(WHOLE)
    def test_weights_in_bf16_hardly_change_the_logits(
        self, make: Make, model: PreTrainedModel
    ) -> None:
        checks.half_rounding(make, model)


class TestBatchInvariance:
    @each(EVERY)
    def test_a_row_does_not_see_its_batch(self, make: Make, model: PreTrainedModel) -> None:
        invariants.batch_invariance(make, model)

    @each(EVERY)
    def test_nor_does_it_in_a_chain(self, make: Make, model: PreTrainedModel) -> None:
        invariants.chained(make, model)


@each(PAIRS)
def test_saturated_soft_pass_is_the_hard_pass(make: Pair, model: PreTrainedModel) -> None:
    checks.soft_is_hard(make, model)


class TestDropping:
    @each(DROPS)
    def test_something_is_dropped(self, make: Make, model: PreTrainedModel) -> None:
        checks.something_is_dropped(make, model)

    @each(EVERY)
    def test_every_row_is_answered(self, make: Make, model: PreTrainedModel) -> None:
        invariants.every_row_is_answered(make, model)

    @each(EVERY)
    def test_cls_stays_and_nothing_comes_back(self, make: Make, model: PreTrainedModel) -> None:
        invariants.trace_shrinks(make, model)

    @each(EVERY)
    def test_the_trace_is_what_was_computed(self, make: Make, model: PreTrainedModel) -> None:
        invariants.trace_is_what_ran(make, model)

    @each(EVERY)
    def test_what_it_is_shown_is_left_alone(self, make: Make, model: PreTrainedModel) -> None:
        invariants.shown_is_left_alone(make, model)

    @each(DROPS)
    def test_bf16_autocast_runs(self, make: Make, model: PreTrainedModel) -> None:
        checks.bf16(make, model)

    @each(DROPS)
    def test_it_runs_with_weights_in_bf16(self, make: Make, model: PreTrainedModel) -> None:
        checks.half_weights(make, model)


class TestTraining:
    @pytest.mark.parametrize("name", WHOLE)
    def test_every_parameter_learns_in_some_stage(self, name: str, model: PreTrainedModel) -> None:
        exempt = getattr(FILES[name], "NO_GRADIENT", NEVER)
        checks.parameters_learn(WHOLE[name], model, no_gradient=exempt)

    @each(EVERY)
    def test_dropout_acts_in_training_only(self, make: Make, model: PreTrainedModel) -> None:
        invariants.dropout(make, model)

    @each(EVERY)
    def test_saved_and_loaded_it_answers_the_same(self, make: Make, model: PreTrainedModel) -> None:
        invariants.saved_and_loaded(make, model)


@each(EVERY)
def test_flops_of_the_trace_are_those_that_ran(make: Make, model: PreTrainedModel) -> None:
    invariants.flops(make, model)
