"""Model folders with random damage: they answer, or are refused in one line; never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import tokendrop
from tests.data.conftest import rows, write_csv
from tests.models.test_cards import FIGURES
from tests.models.test_model import REDUCERS, TEXTS, model_of
from tests.trust.mutations import changed, mutated, values
from tests.trust.trials import TRIED, outcome, tried
from tokendrop.cli import main

Draw = Callable[..., Any]
GIB = 2**30
# method, family, and whether the folder says how its model was trained
MODELS = [("power_bert", "bert", True), ("chain", "modernbert", True), ("dense", "albert", False)]
JSON = (".json", ".yaml")
FOREIGN: dict[str, bytes] = {
    "pytorch_model.bin": b"not weights",
    "model.safetensors.index.json": b'{"weight_map": {"a": "model.safetensors"}}',
    "adapter_config.json": b'{"peft_type": "LORA", "base_model_name_or_path": "x"}',
    "added_tokens.json": b'{"new": 99999}',
    "special_tokens_map.json": b'{"cls_token": 3}',
    "modules.json": b'[{"idx": 0, "path": "../..", "type": "x"}]',
    "vocab.txt": b"\xff\n\n[CLS]",
    "chat_template.jinja": b"{{",
    "reducer/training.yaml": b"data: {train: /nowhere.csv}",
    "reducer/extra.json": b"{",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Model folders as they should be."""
    place = tmp_path_factory.mktemp("whole")
    classes = ["bad", "fair", "good"]
    table = [row | {"label": classes[number % 3]} for number, row in enumerate(rows(48))]
    data = write_csv(place / "rows.csv", table)
    posed = {"data": {"train": data, "max_length": 16, "batch_size": 8}}
    for method, family, trained in MODELS:
        model, folder = model_of(REDUCERS[method](), family), place / method
        model.figures = FIGURES
        model.save_pretrained(folder)
        if trained:
            (folder / "reducer" / "training.yaml").write_text(yaml.safe_dump(posed))
        else:
            shutil.rmtree(folder / "reducer")
    return [place / method for method, _, _ in MODELS]


@pytest.fixture(scope="module", autouse=True)
def _enough_memory() -> Iterator[None]:
    """A size that grew by a flipped digit ends one case, not the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 6 * GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def minutes(most: int) -> Iterator[None]:
    def ended(*_: object) -> None:
        raise AssertionError(f"no answer within {most} minutes")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(60 * most)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def spoiled(draw: Draw, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of which one has another name, size, type or value, is gone or is new."""
    name = draw(st.sampled_from(sorted(weights)))
    weight = weights[name]
    kind = draw(st.sampled_from(["gone", "name", "size", "type", "value", "new"]))
    if kind in ("gone", "name"):
        del weights[name]
    if kind == "name":
        weights[draw(st.sampled_from([f"module.{name}", f"{name}_", "x"]))] = weight
    elif kind == "size":
        weights[name] = draw(st.sampled_from([weight[:-1], weight[None], weight[:0]])).clone()
    elif kind == "type":
        kinds = [torch.float16, torch.bfloat16, torch.int64, torch.bool]
        weights[name] = weight.to(draw(st.sampled_from(kinds)))
    elif kind == "value":
        weights[name] = torch.full_like(weight, draw(st.sampled_from([math.nan, math.inf, 1e38])))
    elif kind == "new":
        weights["x"] = weight.clone()
    return weights


def damage(draw: Draw, folder: Path) -> None:
    """Change one thing in a folder."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"
    )
    file = draw(st.sampled_from(files))
    kinds = ["bytes", "gone", "folder", "link", "empty", "swapped", "foreign"]
    kinds += ["entry"] * 6 * (file.suffix in JSON) + ["tensor"] * 6 * (
        file.suffix == ".safetensors"
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "bytes":
        file.write_bytes(draw(mutated(file.read_bytes())))
    elif kind == "gone":
        file.unlink()
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "link":
        file.unlink()
        file.symlink_to(draw(st.sampled_from(["nowhere", file.name, "..", *map(str, files[:3])])))
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "swapped":
        other = draw(st.sampled_from(files))
        one, two = file.read_bytes(), other.read_bytes()
        file.write_bytes(two)
        other.write_bytes(one)
    elif kind == "foreign":
        name = draw(st.sampled_from(sorted(FOREIGN)))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(FOREIGN[name])
    elif kind == "tensor":
        try:
            save_file(draw(spoiled(load_file(file))), file)
        except Exception:  # what it was before is damaged already
            file.write_bytes(b"")
    else:
        try:
            before = yaml.safe_load(file.read_bytes())
        except (yaml.YAMLError, ValueError):
            before = {}
        after = draw(changed(before)) if before else draw(values)
        file.write_text(json.dumps(after))


def ended(words: list[str]) -> int:
    """The exit code of a command, which said one line if it refused."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    lines = [x for x in said.getvalue().splitlines() if x.startswith("tokendrop: error: ")]
    assert len(lines) == (code == 2), said.getvalue()
    return code


@tried(few=25, full=500)
@given(st.data(), st.integers(0, len(MODELS) - 1), st.integers(1, 3))
def test_they_answer_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
    whole: list[Path],
    data: st.DataObject,
    number: int,
    times: int,
) -> None:
    place = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    folder = place / "model"
    shutil.copytree(whole[number], folder)
    if data.draw(st.booleans()):  # with it, nothing else is asked of changed weights
        (folder / "SHA256SUMS").unlink()
    for _ in range(times):
        with contextlib.suppress(OSError):  # it is gone or a link to nowhere already
            damage(data.draw, folder)
    before = sorted(os.listdir(place))
    with minutes(4), contextlib.chdir(place):
        model, _ = outcome("folders", lambda: tokendrop.load(folder))
        if model is not None:
            answers, _ = outcome("folders, answers", lambda: model.predict(TEXTS))
            for answer in answers or []:
                # none where the model's numbers are not finite, which is said
                total = sum(answer.probabilities.values())
                assert total == (pytest.approx(1, abs=1e-3) if answer.label else 0)
        code = ended(["predict", "--checkpoint", str(folder), *TEXTS])
        assert code in ((0, 2) if model is not None else (2,))
        if data.draw(st.integers(0, 3)) == 0:
            code = ended(["test", "--checkpoint", str(folder)])
            TRIED[f"folders, tested: {code}"] += 1
    assert sorted(os.listdir(place)) == before
