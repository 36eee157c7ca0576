"""Classes of somebody's own that cannot be found, read or made are named, with the cure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tokendrop.cli import main
from tokendrop.cli.lightning_cli import parse
from tokendrop.errors import UserError
from tokendrop.reducers import from_spec
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.reducers.stored import stored_reducer
from tokendrop.testing.tiny import built


class Forgetful(Reducer):
    """Calls super().__init__() late, or never."""

    def __init__(self, late: bool = False) -> None:
        self.weight = nn.Parameter(torch.ones(2))
        if late:
            super().__init__()

    def build(self, shape: Shape) -> None:
        self.score_of_each = nn.Linear(shape.hidden, 1)


@pytest.mark.parametrize("late", [False, True])
def test_init_may_be_forgotten(late: bool) -> None:
    weights = {name for name, _ in built(Forgetful(late)).named_parameters()}
    assert weights == {"weight", "score_of_each.weight", "score_of_each.bias"}


class Refuses(Reducer):
    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        raise ValueError(f"share {share} is too large for me")


REFUSES = f"{__name__}.Refuses"


def test_a_class_that_refuses_its_arguments_is_named() -> None:
    said = r"Refuses cannot be made: share 0.7 is too large for me"
    with pytest.raises(UserError, match=said):
        from_spec({"class_path": REFUSES, "init_args": {"share": 0.7}})
    # and no option of the trainer that happens to be given
    with pytest.raises(UserError, match=r"Refuses cannot be made"):
        parse(["--model.reducer", REFUSES, "--trainer.enable_progress_bar", "false"])


def test_a_file_that_is_not_python_is_named_with_its_line(
    put_on_path: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path("theirs", "import torch\n\nclass Mine(:\n")
    assert main(["fit", "--model.reducer", "theirs.Mine"]) == 2
    assert "theirs.py, line 3 cannot be read: invalid syntax" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["not_there.Mine", "theirs.Mine"])
def test_a_module_that_is_not_found_is_named_with_the_way_to_it(
    path: str, put_on_path: Callable[..., Path]
) -> None:
    put_on_path("theirs", "import not_there\n")
    said = rf"{path} cannot be imported \(No module named 'not_there'\): .*'PYTHONPATH=\. tokendrop"
    for make in (from_spec, partial(stored_reducer, trusted=True)):
        with pytest.raises(UserError, match=said):
            make({"class_path": path})


@pytest.mark.parametrize("path", ["theirs.Mine", "theirs.mine"])
def test_a_class_that_its_module_lacks_is_named_with_those_that_it_has(
    path: str, put_on_path: Callable[..., Path]
) -> None:
    put_on_path("theirs", "def helper(): ...\nclass MyOwn: ...\n")
    for make in (from_spec, partial(stored_reducer, trusted=True)):
        with pytest.raises(
            UserError, match=rf"unknown class of theirs '{path[7:]}': .*from MyOwn$"
        ):
            make({"class_path": path})


def test_a_class_of_a_script_is_not_found_elsewhere() -> None:
    said = r"'__main__.MyOwn', a class of the script that trained it: in a script that has the clas"
    with pytest.raises(UserError, match=said):
        stored_reducer({"class_path": "__main__.MyOwn"}, trusted=True)


@pytest.mark.parametrize("name", ["MyOwn", "theirs:MyOwn"])
def test_a_class_is_named_with_its_module(name: str) -> None:
    said = rf"unknown reducer '{name}': .*, or name a class of your own by its dotted path, as "
    with pytest.raises(UserError, match=said):
        parse(["--model.reducer", name])
    with pytest.raises(UserError, match=said):
        from_spec({"class_path": name})


class OfTensors(Reducer):
    def __init__(self, ids: Tensor) -> None:
        super().__init__()


def test_an_argument_that_no_setting_can_say() -> None:
    with pytest.raises(UserError, match=r"OfTensors.ids \[1, 2\] is to be a Tensor, which no sett"):
        from_spec({"class_path": f"{__name__}.OfTensors", "init_args": {"ids": [1, 2]}})
