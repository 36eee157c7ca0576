"""A comparison on somebody's own fine-tuned model, which is taken as it is."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import tokendrop
from tests.cli.test_cli import complaint
from tests.models.test_class_names import TWELVE, answers, classes_case
from tokendrop.cli import main
from tokendrop.configs import config_folder
from tokendrop.deploy import engines
from tokendrop.measure.measures import KEPT_TOKENS, MEASURES, THROUGHPUT_UNPADDED
from tokendrop.testing.tiny import MAX_TOKENS

ENGINES = ["onnxruntime", "onnxruntime-int8"]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain classifier of twelve classes whose data call two of them otherwise."""
    folder = tmp_path_factory.mktemp("own")
    classes_case(folder, TWELVE)
    for name in ("train", "dev", "test"):
        frame = pd.read_csv(folder / f"{name}.csv").rename(columns={"label": "kind"})
        frame["kind"] = frame["kind"].replace({"tea": "2", "rain": "10"})
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def options(case: Path, out: Path, **changes: Any) -> list[str]:
    """With the lines that people change, and what makes it fast: one point of each method."""
    settings = yaml.safe_load((config_folder() / "compare" / "mine.yaml").read_text())
    settings["data"] |= {"dir": str(case), "label": "kind", "max_length": MAX_TOKENS}
    settings["data"] |= {"label_map": {"2": "tea", "10": "rain"}}
    settings["clock"] = {"rows": 8, "single_rows": 1, "rounds": 1}
    for method in settings["methods"].values():
        if points := method.get("operating_points"):
            method["operating_points"] = dict(list(points.items())[:1])
    out.mkdir(exist_ok=True)
    (out / "mine.yaml").write_text(
        yaml.safe_dump(settings | {"backbone": str(case / "model")} | changes)
    )
    return ["--config", str(out / "mine.yaml"), "--out", str(out)]


@pytest.fixture(scope="module")
def compared(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared")
    before = sorted(case.rglob("*"))
    assert main(["compare", *options(case, out, engines=ENGINES)]) == 0
    assert sorted(case.rglob("*")) == before
    return out


def test_dense_is_the_model_as_it_is(case: Path, compared: Path) -> None:
    test = pd.read_csv(case / "test.csv", dtype=str)
    right = test["kind"].replace({"2": "tea", "10": "rain"})
    found = answers(case / "model", test["text"])
    results = pd.read_csv(compared / "results.csv").set_index(["method", "operating_point"])
    dense = results.loc["dense", "default"]
    assert dense["value"] == pytest.approx((right == found).mean(), abs=1e-6)
    assert (dense["train_seconds"], dense["train_flops"], dense["train_cost"]) == (0, 0, 0)
    named = tokendrop.load(next(compared.glob("stages/as_given-*")) / "model")
    assert named.labels == TWELVE


def test_only_ramps_and_predictors_are_trained(compared: Path) -> None:
    results = pd.read_csv(compared / "results.csv")
    trained = set(results["method"][results["train_flops"] > 0])
    assert trained == {"saliency_top_k", "entropy_exit"}
    # in multiples of an epoch of fine-tuning: forward, backward, and the pass over dev
    cost = results.set_index("method")["train_cost"]["entropy_exit"]
    assert 3 * 0.4 < cost < 3 * 0.8
    weights = {
        name: tokendrop.load(next(compared.glob(f"stages/{name}-*")) / "model").backbone
        for name in ("as_given", "ramps", "predictors")
    }
    first = weights["as_given"].state_dict()
    for other in weights.values():
        assert all((first[name] == value).all() for name, value in other.state_dict().items())


def test_it_is_chosen_from_and_tested_like_any_other(compared: Path, tmp_path: Path) -> None:
    folder, model = tmp_path / "compared", tmp_path / "chosen"
    shutil.copytree(compared, folder)
    # the clock of so small a model says nothing, and 95 % of so short rows is all of them; an
    # engine is no candidate, however fast
    for method, speedup in [("random_drop", 900.0), *((engine, 9900.0) for engine in ENGINES)]:
        for run in (folder / "runs").glob(f"{method}--*.json"):
            record = json.loads(run.read_text())
            run.write_text(
                json.dumps(record | {THROUGHPUT_UNPADDED.name: speedup, KEPT_TOKENS.name: 0.9})
            )
    words = [str(folder), "--max-loss", "100", "--out", str(model)]
    assert main(["choose", *words]) == 0
    assert type(tokendrop.load(model).reducer).__name__ == "RandomDrop"
    assert main(["test", "--checkpoint", str(model)]) == 0


def test_engines_answer_as_it_does(compared: Path) -> None:
    results = pd.read_csv(compared / "results.csv").set_index(["method", "operating_point"])
    dense = results.loc["dense", "default"]
    for order in ("arrival", "sorted"):
        whole, small = (results.loc[engine, order] for engine in ENGINES)
        assert whole["value"] == pytest.approx(dense["value"], abs=1e-6)
        assert small["value"] == pytest.approx(dense["value"], abs=0.2)
        assert {"vs_dense_low", "mcnemar_p"} <= set(small.dropna().index)
        assert whole[[measure.name for measure in MEASURES]].notna().all()
    assert results.loc[("onnxruntime", "arrival"), "flops_speedup_padded"] == 1
    assert results.loc[("onnxruntime", "sorted"), "flops_speedup_padded"] > 1
    exact, rounded = (
        pd.read_csv(compared / "predictions" / f"{engine}-sorted-own-seed1.csv")
        for engine in ENGINES
    )
    assert list(exact["label"]) == list(rounded["label"])
    assert not exact.equals(rounded)


def test_engines_go_on_where_they_were_killed(compared: Path, case: Path, tmp_path: Path) -> None:
    folder, lost = tmp_path / "compared", "onnxruntime-int8--sorted--own--seed1.json"
    shutil.copytree(compared, folder)
    for path in (folder / "runs").glob("*.json"):
        if not path.name.startswith(("dense", "onnxruntime")) or path.name == lost:
            path.unlink()
    kept = {path: path.read_bytes() for path in (folder / "runs").glob("*.json")}
    methods = {"dense": {"reducer": "Dense"}}
    assert main(["compare", *options(case, folder, engines=ENGINES, methods=methods)]) == 0
    assert {path: path.read_bytes() for path in kept} == kept
    before, after = (
        json.loads((place / "runs" / lost).read_text()) for place in (compared, folder)
    )
    for name in ("metrics", "flops", "train_flops", "predictions_file"):
        assert before[name] == after[name]


def test_fit_takes_it_too(
    case: Path, tmp_path: Path, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.dir", str(case), "--data.train", "train.csv", "--data.dev", "dev.csv"]
    words += ["--data.label", "kind", "--data.label_map", '{"2": tea, "10": rain}']
    words += ["--model.backbone", str(case / "model"), "--model.fine_tune", "null"]
    words += ["--data.max_length", str(MAX_TOKENS), "--loggers", "[csv]", "--out", str(tmp_path)]
    assert main(["fit", *words]) == 0
    dense = next(compared.glob("runs/dense-*.json"))
    on_dev = json.loads(dense.read_text())["dev"]["value"]
    assert f"accuracy on dev: {on_dev:.4f}" in capsys.readouterr().out


def test_a_model_that_was_trained_again_in_its_folder_is_not_taken_for_the_old_one(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again, out = tmp_path / "again", tmp_path / "out"
    shutil.copytree(case, again)
    file = again / "model" / "model.safetensors"
    old = file.read_bytes()
    tensors = {name: tensor.flip(-1) for name, tensor in load_file(file).items()}
    methods = {"dense": {"reducer": "Dense"}, "cut": {"reducer": "baselines.Truncation"}}
    words = options(again, out, methods={"dense": methods["dense"]})
    assert main(["compare", *words]) == 0
    save_file(tensors, file, {"format": "pt"})
    said = f"was made from other weights than {again / 'model'} holds now: put them back"
    for wanted in (["dense"], list(methods)):
        words = options(again, out, methods={name: methods[name] for name in wanted})
        assert said in complaint(capsys, "compare", *words)
    assert main(["compare", *words[:-1], str(tmp_path / "new")]) == 0
    first, second = (
        next(place.glob("predictions/dense-*.csv")).read_text() for place in (out, tmp_path / "new")
    )
    assert first != second
    file.write_bytes(old)
    assert main(["compare", *words]) == 0
    assert {path.name.split("--")[0] for path in out.glob("runs/*.json")} == {*methods}
    # its rows, whose classes are numbered as the model's, are found to be the same
    assert main(["compare", *words]) == 0


class TestTuning:
    """What trials cost is in multiples of an epoch of the fine-tuning that there is not."""

    METHODS: ClassVar[dict[str, Any]] = {
        "dense": {"reducer": "Dense"},
        "merging": {
            "reducer": "baselines.TokenMerging",
            "operating_points": {"some": {"share": 0.2}},
            "space": {"order": {"choices": ["text", "reference"]}},
        },
        "exits": {
            "reducer": "baselines.EntropyExit",
            "arguments": {"epochs": 2},
            "space": {"learning_rate": {"choices": [1.0e-3, 1.0e-2]}},
        },
    }

    def test_it_has_an_end(self, case: Path, tmp_path: Path) -> None:
        methods = {name: self.METHODS[name] for name in ("dense", "merging")}
        tune = {"speedups": [1.1], "cost": 1}
        words = options(case, tmp_path, methods=methods, tune=tune)
        assert main(["compare", *words]) == 0
        record = json.loads(next(tmp_path.glob("runs/merging-*.json")).read_text())
        # a pass over the dev split for each of two trials
        assert 0 < record["details"]["tuning"]["cost"] < 1
        assert record["details"]["tuning"]["trials"] == 2

    def test_it_has_to_cover_a_trial(
        self, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tune = {"speedups": [1.1], "cost": 1}
        words = options(case, tmp_path, methods=self.METHODS, tune=tune)
        said = "2 epochs where the unit of cost has 1: use 2 or more"
        assert said in complaint(capsys, "compare", *words)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"backbone": "minilm-l6"}, ["no head for classification", "names BertModel"]),
            ({"random_init": {"num_hidden_layers": 1}}, ["random_init draws weights"]),
            (
                {"engines": ["openvino"]},
                ["the engine openvino needs openvino", "pip install 'tokendrop[deploy]'"],
            ),
            ({"engines": ["onnxruntime"], "evaluate_in": "bf16"}, ["evaluate_in is bf16"]),
            ({"engines": ["tensorrt"]}, ["engines", "tensorrt", "onnxruntime-int8"]),
            (
                {"engines": ["onnxruntime"], "methods": {"onnxruntime": {"reducer": "Dense"}}},
                ["methods.onnxruntime has the name of an engine"],
            ),
        ],
    )
    def test_what_cannot_be_run(
        self,
        changes: dict[str, Any],
        said: list[str],
        case: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *others: None if name == "openvino" else found(name, *others),
        )
        line = complaint(capsys, "compare", *options(case, tmp_path, **changes))
        assert all(part in line for part in said)

    def test_engines_that_cannot_run_the_model_are_refused_before_it_is_trained(
        self,
        case: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        words = options(case, tmp_path, engines=["onnxruntime"])
        with monkeypatch.context() as patched:
            patched.setattr(engines, "LARGEST", 1000)
            assert "an ONNX file holds at most 2 GiB" in complaint(capsys, "compare", *words)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert "would be measured on the GPU" in complaint(capsys, "compare", *words)
        assert not (tmp_path / "stages").exists()
