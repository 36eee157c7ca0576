"""Every setting of every method, stage and comparison says no to what it cannot mean, in one line.

The settings are found by their signatures, so a new one is held to the same, and one that takes an
odd value says so here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import baselines
from tests.cli.test_cli import complaint
from tokendrop.compare.grid.method import Method, SearchedPoints
from tokendrop.compare.grid.settings import Comparison
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.configs import find_config
from tokendrop.data.settings import DataSettings
from tokendrop.errors import UserError
from tokendrop.measure.clock import Clock
from tokendrop.reducers import REDUCERS, from_spec
from tokendrop.reducers.base import Reducer, Stage
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.reducers.stored import stored_reducer
from tokendrop.training.module import FINE_TUNE, TokenDropModule

ODD = (math.nan, math.inf, -math.inf, -1, None, "x", 0)
METHODS = [*REDUCERS.values(), *(getattr(baselines, name) for name in baselines.__all__)]

# 0 means: without this term, this training, this bound, or this kind of thing
MAY_BE_0 = {
    *("contribution_weight", "length_weight", "mass_weight", "saliency_weight", "tau"),
    *("threshold_learning_rate", "weight_decay", "warmup", "betas", "length_drop", "layer_drop"),
    *("epochs", "search_epochs", "retrain_epochs", "soft_epochs", "hard_epochs"),
    *("exit_tolerance", "threshold", "share", "halt_bias", "random_models", "draw", "seed"),
    *("generations", "population", "mutations", "crossovers", "samples", "doc_stride"),
    *("split_seed", "low", "high"),
}
NEVER_0 = {
    ("AdapLeR", "epochs"),
    ("DactBert", "epochs"),
    ("EntropyExit", "epochs"),
    ("PatienceExit", "epochs"),
    ("Stage", "betas"),
}
MAY_BE_NEGATIVE = {"halt_bias", "low", "high", "split_seed"}
# any text: names of files, columns, methods and the like, which are looked up when they are read
TEXTS = {
    *("name", "reducer", "backbone", "dataset", "train", "dev", "test", "dir", "text", "label"),
    *("rationale", "tokenizer", "cache"),
}
# of which one is named, so that another one is too much
PLACES = {"dataset", "train", "dev", "test", "dir"}


def methods() -> Iterator[tuple[str, str, Any, Callable[..., object]]]:
    for kind in METHODS:
        for name, default in kind.argument_defaults().items():
            yield kind.__name__, name, default, kind


def others() -> Iterator[tuple[str, str, Any, Callable[..., object]]]:
    """Owner, name and default of each field, and what makes the object with other values."""
    method = Method("Dense")
    made: list[tuple[type, Callable[..., object]]] = [
        (Stage, lambda **x: Stage(**({"name": "s", "epochs": 1, "learning_rate": 1e-3} | x))),
        (SearchSettings, SearchSettings),
        (SearchedPoints, SearchedPoints),
        (Clock, Clock),
        (Tuning, lambda **x: Tuning(**({"cost": 1.0, "trials": 1} | x)).check()),
        (Range, lambda **x: Range(**({"low": -2, "high": 2} | x)).check("space.x")),
        (Method, lambda **x: Method(**({"reducer": "Dense"} | x))),
        (Comparison, lambda **x: Comparison(**({"tasks": ["a"], "methods": {"d": method}} | x))),
        (DataSettings, lambda **x: DataSettings(**({"dataset": "imdb"} | x))),
    ]
    for kind, make in made:
        for field in fields(kind):
            default = None if field.default is MISSING else field.default
            is_optional = field.default is not MISSING and default is None
            # a range has both ends
            is_optional &= (kind, field.name) not in ((Range, "low"), (Range, "high"))
            is_optional |= field.name == "fine_tune"
            # null takes back what a file says of a method
            is_optional |= kind is Method and field.default_factory is not MISSING
            yield kind.__name__, field.name, None if is_optional else MISSING, make


@pytest.mark.parametrize(
    ("owner", "name", "default", "make"),
    [pytest.param(*one, id=f"{one[0]}.{one[1]}") for one in [*methods(), *others()]],
)
def test_what_a_setting_cannot_mean_is_refused(
    owner: str, name: str, default: Any, make: Callable[..., object]
) -> None:
    for value in ODD:
        meant = (
            (value is None and default is None)
            or (value == 0 and name in MAY_BE_0 and (owner, name) not in NEVER_0)
            # of a model that is taken as it is
            or (value == 0 and (owner, name) == ("Stage", "learning_rate"))
            or (value == -1 and name in MAY_BE_NEGATIVE)
            or (value == "x" and name in TEXTS)
        )
        if meant and name not in PLACES:
            make(**{name: value})
        if meant:
            continue
        with pytest.raises(UserError) as refused:
            make(**{name: value})
        said = str(refused.value)
        assert name in said, (value, said)
        assert "\n" not in said
        assert len(said) < 300


@pytest.mark.parametrize("name", [f.name for f in fields(Stage) if f.name != "name"])
def test_the_shared_fine_tuning_is_named(name: str) -> None:
    with pytest.raises(UserError, match=rf"fine_tune\.{name} 'x' cannot be used: use "):
        Stage(**{**vars(FINE_TUNE), name: "x"})


@pytest.mark.parametrize("make", [from_spec, stored_reducer])
@pytest.mark.parametrize("value", [math.nan, -1.0, None, "x"])
def test_files_are_held_to_the_same(make: Callable[..., object], value: Any) -> None:
    spec = {"class_path": "PowerBert", "init_args": {"mass_weight": value}}
    for one in (spec, {"class_path": "Chain", "init_args": {"parts": [spec]}}):
        with pytest.raises(UserError, match="mass_weight") as refused:
            make(one)
        assert "\n" not in str(refused.value)


# what the odd file comes behind
BEFORE = {"fit": [], "compare": ["--config", str(find_config("compare", "smoke"))]}


@pytest.mark.parametrize("value", ["null", "[]", "3", ".nan"])
@pytest.mark.parametrize(
    ("command", "group"),
    [("fit", "model"), ("fit", "data"), ("fit", "trainer"), ("compare", "clock")],
)
def test_settings_that_are_none_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, group: str, value: str
) -> None:
    (tmp_path / "odd.yaml").write_text(f"{group}: {value}\n")
    words = [*BEFORE[command], "--config", str(tmp_path / "odd.yaml")]
    assert group in complaint(capsys, command, *words)


@pytest.mark.parametrize(
    ("command", "group"), [("fit", "model"), ("compare", "clock"), ("compare", "tune")]
)
def test_a_text_that_no_file_can_be_called_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, group: str
) -> None:
    (tmp_path / "odd.yaml").write_text(f'{group}: "\\0"\n')
    assert complaint(capsys, command, *BEFORE[command], "--config", str(tmp_path / "odd.yaml"))


def test_a_width_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(UserError, match="trunk_width 1000000000000000000000000 is out of range"):
        from_spec({"class_path": "DactBert", "init_args": {"trunk_width": 10**24}})


@pytest.mark.parametrize(
    ("command", "name"), [("fit", "out"), ("fit", "loggers"), ("compare", "out")]
)
def test_a_value_that_null_cannot_stand_for_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    (tmp_path / "odd.yaml").write_text(f"{name}: null\n")
    words = [*BEFORE[command], "--config", str(tmp_path / "odd.yaml")]
    assert f"{name} null cannot be used" in complaint(capsys, command, *words)


@pytest.mark.parametrize("patience", [0, -1, math.nan, "x", True])
def test_patience_counts_epochs(patience: Any) -> None:
    with pytest.raises(UserError, match=f"patience {patience!r} "):
        TokenDropModule(Dense(), patience=patience)


def test_a_run_happens_once() -> None:
    method = Method("Dense")
    for seeds in ([], [1, 1]):
        with pytest.raises(UserError, match=r"seeds .* each once"):
            Comparison(["a"], {"dense": method}, seeds=seeds)


def test_methods_of_others_may_have_any_types() -> None:
    class Mine(Reducer):
        def __init__(self, table: dict[int, object] | None = None, odd: float = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
            super().__init__()

    assert Mine({1: object()}).arguments["odd"] is None
