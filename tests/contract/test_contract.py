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
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny import (
    CONFIGS,
    FAMILY_NAMES,
    LAYERS,
    MAX_TOKENS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)
from tokendrop.backbones import shape_of
from tokendrop.encoder import encode
from tokendrop.families import family_of
from tokendrop.linear import linears
from tokendrop.metrics.flops import counted_flops, padding_flops, pass_flops
from tokendrop.reducers import REDUCERS, from_spec
from tokendrop.reducers.base import Decision, Reducer, Setting, Step, View

Make = Callable[[], Reducer]
CLOSE = {"atol": 1e-5, "rtol": 0}
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
            if isinstance(value, type) and issubclass(value, Reducer) and value is not Reducer:
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

ROWS = tiny_rows()


@pytest.fixture(scope="module", params=FAMILY_NAMES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


def each(makes: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makes.values(), ids=makes.keys())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_has_a_tiny_model(family: str) -> None:
    assert family in CONFIGS, f"add a tiny configuration of {family!r} to CONFIGS in tests/tiny.py"


@pytest.mark.parametrize("name", _all_reducers())
def test_every_reducer_is_under_contract(name: str) -> None:
    assert name in FILES, (
        f"reducer {name} has no tests/reducers/{_test_file(name)}.py: add it, with KEEPS_ALL, "
        "DROPS and SOFT_EQUALS_HARD as tests/contract/test_contract.py describes them"
    )


class TestNothingDropped:
    @each(PLAIN)
    def test_logits_are_those_of_hugging_face(self, make: Make, model: PreTrainedModel) -> None:
        logits, _ = padded_forward(model, ROWS)
        torch.testing.assert_close(run(model, built(make()), ROWS).logits, logits, **CLOSE)

    @each(WHOLE)
    def test_states_are_those_of_hugging_face(self, make: Make, model: PreTrainedModel) -> None:
        reducer, seen = built(make()), []
        decide = reducer.after_layer

        def after_layer(view: View) -> Decision | None:
            seen.append((view.hidden, view.layout.tokens))
            return decide(view)

        reducer.after_layer = after_layer  # type: ignore[method-assign]
        run(model, reducer, ROWS)
        _, states = padded_forward(model, ROWS)
        assert len(seen) == LAYERS
        for (mine, tokens), theirs in zip(seen, states, strict=True):
            # a backbone that normalises at the end only lets its states grow, and their rounding
            close = CLOSE["atol"] * max(1.0, float(theirs.std()))
            torch.testing.assert_close(mine, theirs[tokens], atol=close, rtol=0)

    @each(WHOLE)
    def test_the_trace_says_so(self, make: Make, model: PreTrainedModel) -> None:
        trace = run(model, built(make()), ROWS).trace
        assert trace.token_depth().eq(LAYERS).all()
        assert trace.row_depth().eq(LAYERS).all()
        assert trace.processed_tokens().tolist() == [LAYERS * len(row.ids) for row in ROWS]

    @each(WHOLE)
    def test_bf16_autocast_hardly_changes_the_logits(
        self, make: Make, model: PreTrainedModel
    ) -> None:
        reducer = built(make())
        exact = run(model, reducer, ROWS).logits
        with torch.autocast("cpu", torch.bfloat16):
            rounded = run(model, reducer, ROWS).logits
        assert rounded.dtype == torch.float32
        assert F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


class TestBatchInvariance:
    @each(EVERY)
    @pytest.mark.parametrize("grouping", ["alone", "shuffled", "regrouped"])
    def test_a_row_does_not_see_its_batch(
        self, make: Make, model: PreTrainedModel, grouping: str
    ) -> None:
        reducer = built(make())
        expected = _by_row(model, reducer, [list(range(len(ROWS)))])
        order = random.Random(1).sample(range(len(ROWS)), len(ROWS))
        groups = {
            "alone": [[i] for i in order],
            "shuffled": [order],
            "regrouped": [order[:3], order[3:7], order[7:]],
        }[grouping]
        for row, (logits, tokens, depth) in _by_row(model, reducer, groups).items():
            torch.testing.assert_close(logits, expected[row][0], **CLOSE)
            assert tokens == expected[row][1]
            assert depth == expected[row][2]


def _by_row(
    model: PreTrainedModel, reducer: Reducer, groups: list[list[int]]
) -> dict[int, tuple[Tensor, list[int], int]]:
    """Logits, depth of each token, and depth, of each row, run in these groups."""
    results = {}
    for group in groups:
        rows = [ROWS[i] for i in group]
        encoded = run(model, reducer, rows)
        tokens = encoded.trace.token_depth().split([len(row.ids) for row in rows])
        for place, row in enumerate(group):
            depth = int(encoded.trace.row_depth()[place])
            results[row] = (encoded.logits[place], tokens[place].tolist(), depth)
    return results


@each(PAIRS)
def test_saturated_soft_pass_is_the_hard_pass(make: Callable, model: PreTrainedModel) -> None:
    soft, hard = make()
    torch.testing.assert_close(
        run(model, soft, ROWS).logits, run(model, hard, ROWS).logits, **CLOSE
    )


class TestDropping:
    @each(DROPS)
    def test_something_is_dropped(self, make: Make, model: PreTrainedModel) -> None:
        trace = run(model, built(make()), ROWS).trace
        assert trace.processed_tokens().sum() < LAYERS * sum(len(row.ids) for row in ROWS)

    @each(EVERY)
    def test_every_row_is_answered(self, make: Make, model: PreTrainedModel) -> None:
        logits = run(model, built(make()), ROWS).logits
        assert logits.shape == (len(ROWS), model.config.num_labels)
        assert logits.isfinite().all()

    @each(EVERY)
    def test_cls_stays_and_nothing_comes_back(self, make: Make, model: PreTrainedModel) -> None:
        trace = run(model, built(make()), ROWS).trace
        start = trace.start
        before = set(start.tokens.tolist())
        for layer in trace.layers:
            for layout in (layer.entered, layer.attention, layer.feed_forward):
                tokens = layout.tokens.tolist()
                assert set(tokens) <= before
                assert len(set(tokens)) == len(tokens)
                assert torch.equal(layout.tokens[layout.first], start.first[layout.rows])
                # each live token lies in the row that it came from, behind its predecessor
                assert torch.equal(layout.rows[layout.row], start.row[layout.tokens])
                assert all(x.diff().gt(0).all() for x in layout.tokens.split(layout.lengths))
                before = set(tokens)

    @each(EVERY)
    def test_the_trace_is_what_was_computed(self, make: Make, model: PreTrainedModel) -> None:
        """A layer's first linear map sees what attends, its last one what is fed forward."""
        layers = family_of(model).layers(model)
        owner = {module: layer for layer in layers for module in layer.modules()}
        seen: list[dict[torch.nn.Linear, int]] = []  # rows of each map, layer by layer

        def watched(modules: Sequence[torch.nn.Linear], states: Tensor) -> Sequence[Tensor]:
            first = modules[0]
            # a layer that shares its weights with the one before begins with the same map again
            if not seen or first in seen[-1] or owner[first] is not owner[next(iter(seen[-1]))]:
                seen.append({})
            seen[-1][first] = len(states)
            return linears(modules, states)

        def watched_one(module: torch.nn.Linear, states: Tensor) -> Tensor:
            return watched([module], states)[0]

        with (
            patch("tokendrop.families.bert.linears", watched),
            patch("tokendrop.families.bert.linear", watched_one),
            patch("tokendrop.families.modernbert.linear", watched_one),
        ):
            trace = run(model, built(make()), ROWS).trace
        computed = [
            (owner[next(iter(rows))], *(list(rows.values())[i] for i in (0, -1))) for rows in seen
        ]
        assert computed == [
            (
                layers[layer.index],
                len(layer.attention.tokens) + layer.spare[0],
                len(layer.feed_forward.tokens) + layer.spare[1],
            )
            for layer in trace.layers
        ]
        spares = [rows for layer in trace.layers for rows in layer.spare]
        assert max(spares) < 4  # of at most 128 tokens

    @each(DROPS)
    def test_bf16_autocast_runs(self, make: Make, model: PreTrainedModel) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = run(model, built(make()), ROWS).logits
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


class TestTraining:
    @pytest.mark.parametrize("name", WHOLE)
    def test_every_parameter_learns_in_some_stage(self, name: str, model: PreTrainedModel) -> None:
        reducer = built(WHOLE[name]()).train()
        exempt = getattr(FILES[name], "NO_GRADIENT", "(?!)")
        missing = {n for n, _ in reducer.named_parameters() if not re.fullmatch(exempt, n)}
        batch = packed(ROWS)
        assert batch.labels is not None
        step = Step(
            lambda: encode(model, batch, reducer),
            lambda encoded: F.cross_entropy(encoded.logits, batch.labels),
        )
        for stage in reducer.stages():
            reducer.enter(stage, Setting(lengths=torch.tensor(batch.layout.lengths), steps=10))
            reducer.zero_grad()
            for losses in reducer.training_passes(step):
                assert all(loss.isfinite() for loss in losses.values())
                sum(losses.values()).backward()
            taught = {
                n for n, p in reducer.named_parameters() if p.grad is not None and p.grad.any()
            }
            offered = {id(p) for g in reducer.groups(stage, model) for p in g.parameters.values()}
            assert all(id(p) in offered for n, p in reducer.named_parameters() if n in taught)
            missing -= taught
            reducer.leave(stage, {})
        model.zero_grad()
        assert not missing, f"never gets a gradient: {sorted(missing)}"

    @each(EVERY)
    def test_dropout_acts_in_training_only(self, make: Make, model: PreTrainedModel) -> None:
        reducer = built(make())
        still = run(model, reducer, ROWS).logits
        torch.testing.assert_close(run(model, reducer, ROWS).logits, still)
        try:
            model.train()
            one, other = run(model, reducer, ROWS).logits, run(model, reducer, ROWS).logits
        finally:
            model.eval()
        assert one.isfinite().all()
        assert not torch.allclose(one, other, atol=1e-3)

    @each(EVERY)
    def test_saved_and_loaded_it_answers_the_same(self, make: Make, model: PreTrainedModel) -> None:
        reducer = built(make())
        with torch.no_grad():
            for parameter in reducer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        again = built(from_spec(reducer.spec()), seed=1)
        again.load_state_dict(reducer.state_dict())
        before, after = run(model, reducer, ROWS), run(model, again, ROWS)
        assert torch.equal(before.logits, after.logits)
        assert torch.equal(before.trace.token_depth(), after.trace.token_depth())


@each(EVERY)
def test_flops_of_the_trace_are_those_that_ran(make: Make, model: PreTrainedModel) -> None:
    reducer = built(make())
    encoded = run(model, reducer, ROWS)
    shape = shape_of(model.config, MAX_TOKENS)
    formula = pass_flops(encoded.trace, reducer, model, shape)
    formula += padding_flops(encoded.trace, shape)
    counted = counted_flops(model, packed(ROWS), reducer)
    assert abs(formula - counted) <= 0.01 * counted
