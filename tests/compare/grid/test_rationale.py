"""`tokendrop rationale`: what methods keep against marked words, with controls of the same size."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from tests.cli.test_cli import complaint
from tests.models.test_model import model_of
from tokendrop.cli import main
from tokendrop.compare.grid.rationale import (
    Judge,
    Marked,
    kept_tokens,
    measure_agreement,
    top_tokens,
)
from tokendrop.data.split import Rationale, Split
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import IGNORED
from tokendrop.testing.tiny import tiny_rows

LENGTHS = (9, 14, 6, 11)


def split_of(lengths: tuple[int, ...] = LENGTHS) -> Split:
    """Rows of a first token, a question of two, and a document of which two tokens are marked."""
    rows = tiny_rows(lengths)
    rationales = []
    for number, row in enumerate(rows):
        tokens = [IGNORED] * 3 + [0] * (len(row.ids) - 4) + [IGNORED]
        if number != 2:  # which nobody marked
            tokens[3] = tokens[5] = 1
        rationales.append(Rationale([], [], tokens))
    return Split(
        [("a", "b")] * len(rows),
        [row.ids for row in rows],
        [row.types for row in rows],
        [row.label for row in rows],
        0,
        rationales=rationales,
    )


def judged(model: TokenDropModel, split: Split) -> tuple[Marked, Judge]:
    marked = Marked.of(split, "films", None)
    return marked, Judge(model, marked, 2, seed=0)


def probabilities(model: TokenDropModel, ids: list[int], types: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return encode(model.backbone, Batch.pack([ids], [types]), Dense()).logits[0].softmax(-1)


def test_kept_is_what_is_alive_when_the_row_leaves() -> None:
    split = split_of()
    marked = Marked.of(split, "films", None)
    model = model_of(PowerBert(configuration=[7, 5, 4]))
    kept, depths, _ = kept_tokens(model, marked, 2)
    assert list(kept) == [0, 1, 3]
    for row in kept:
        assert kept[row].sum() == 4
        assert kept[row][0]
        assert np.sort(depths[row])[::-1][:7].tolist() == [3, 3, 3, 3, 2, 1, 1]
        assert (kept[row] == (depths[row] == 3)).all()


@pytest.mark.parametrize("reducer", [Dense(), DactBert(halt_bias=4.0)], ids=["dense", "exit"])
def test_an_exit_keeps_every_token(reducer: Reducer) -> None:
    kept, depths, _ = kept_tokens(model_of(reducer), Marked.of(split_of(), "films", None), 2)
    assert all(mask.all() for mask in kept.values())
    assert all(len(set(depth.tolist())) == 1 for depth in depths.values())


def test_controls_keep_as_many_tokens_of_the_document() -> None:
    split = split_of()
    _, judge = judged(model_of(Dense()), split)
    method = model_of(PowerBert(configuration=[8, 7, 4]))
    rows = {row["source"]: row for row in measure_agreement(method, judge)}
    assert list(rows) == ["method", "saliency", "attention", "random"]
    assert len({row["kept"] for row in rows.values()}) == 1
    assert 0 < rows["method"]["kept"] < 1
    numbers = {name for name in rows["method"] if name != "source"}
    assert all(np.isfinite(row[name]) for row in rows.values() for name in numbers)


def test_accuracy_is_of_the_method_and_beside_controls_of_the_fine_tuned_model() -> None:
    split, fine_tuned = split_of(), model_of(Dense())
    method = model_of(PowerBert(configuration=[4, 2, 1]))
    with torch.no_grad():
        method.backbone.classifier.bias[split.labels[3]] += 1e3
    marked, judge = judged(fine_tuned, split)
    found = {row["source"]: row["accuracy"] for row in measure_agreement(method, judge)}
    right = [judge.probabilities[row].argmax() == split.labels[row] for row in (0, 1, 3)]
    of_that_class = [split.labels[row] == split.labels[3] for row in (0, 1, 3)]
    controls = dict.fromkeys(("saliency", "attention", "random"), np.mean(right))
    assert found == pytest.approx({"method": np.mean(of_that_class), **controls})
    assert marked.most_frequent_class == pytest.approx(2 / 3)


def test_the_best_tokens_are_of_the_document() -> None:
    scores = np.array([9.0, 1.0, 3.0, 3.0, 2.0, 8.0])
    document = np.array([False, True, True, True, True, False])
    assert top_tokens(scores, 2, document).nonzero()[0].tolist() == [2, 3]
    assert top_tokens(scores, 1, document).nonzero()[0].tolist() == [2]
    assert not top_tokens(scores, 0, document).any()


def test_controls_are_those_of_the_fine_tuned_model() -> None:
    split, model = split_of(), model_of(Dense())
    _, judge = judged(model, split)
    for row in (0, 1, 3):
        ids, types = split.input_ids[row], split.token_type_ids[row]
        whole = probabilities(model, ids, types)
        assert judge.probabilities[row] == pytest.approx(whole.numpy(), abs=1e-5)
        # every query of every head gives out 1 in every layer
        config = model.backbone.config
        total = config.num_hidden_layers * config.num_attention_heads * len(ids)
        assert judge.scores["attention"][row].sum() == pytest.approx(total, rel=1e-4)
        assert (judge.scores["saliency"][row] > 0).all()


def test_erased_rows_are_rows_of_the_tokens_that_stay() -> None:
    split, model = split_of(), model_of(Dense())
    _, judge = judged(model, split)
    stay = {row: np.arange(LENGTHS[row]) % 3 != 1 for row in (0, 1, 3)}
    found = judge.erased(stay, "")
    for row, mask in stay.items():
        ids = [i for i, here in zip(split.input_ids[row], mask, strict=True) if here]
        types = [i for i, here in zip(split.token_type_ids[row], mask, strict=True) if here]
        assert found[row] == pytest.approx(probabilities(model, ids, types).numpy(), abs=1e-5)


def test_keeping_everything_is_sufficient() -> None:
    split, model = split_of(), model_of(Dense())
    marked, judge = judged(model, split)
    method = next(measure_agreement(model, judge))
    assert method["sufficiency"] == pytest.approx(0, abs=1e-5)
    assert (method["kept"], method["recall"], method["false_positive_rate"]) == (1, 1, 1)
    bare = []
    for row in marked.rows:
        ids, types = split.input_ids[row], split.token_type_ids[row]
        whole = probabilities(model, ids, types)
        without = probabilities(model, [*ids[:3], ids[-1]], [*types[:3], types[-1]])
        bare.append(float((whole - without)[whole.argmax()]))
    assert method["comprehensiveness"] == pytest.approx(np.mean(bare), abs=1e-5)


def write_eraser(folder: Path) -> None:
    """Reviews of our own with the word that decides as the evidence."""
    (folder / "docs").mkdir()
    draw = random.Random(0)
    words = ["the", "plot", "of", "this", "long", "film", "about", "a", "town", "by", "the", "sea"]
    for name, count in (("train", 60), ("val", 12), ("test", 12)):
        lines = []
        for i in range(count):
            verdict = ("dull", "lovely")[i % 2]
            text = [*draw.sample(words, 8), "is", verdict, "and", *draw.sample(words, 4)]
            document = f"{name}{i}.txt"
            (folder / "docs" / document).write_text(" ".join(text))
            evidence = {"docid": document, "start_token": 8, "end_token": 10}
            label = ("NEG", "POS")[i % 2]
            lines.append(
                {
                    "annotation_id": document,
                    "classification": label,
                    "evidences": [[evidence]],
                    "query": "how is it",
                }
            )
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eraser")
    write_eraser(folder)
    comparison: dict[str, Any] = {
        "random_init": {
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
        },
        "tasks": ["movies"],
        "task_data": {"movies": {"dir": str(folder)}},
        "data": {"max_length": 32},
        "fine_tune": {"epochs": 1, "learning_rate": 1e-3},
        "loggers": ["csv"],
        "methods": {
            "truncation": {
                "reducer": "baselines.Truncation",
                "operating_points": {"first_8": {"tokens": 8}},
            },
            "dact_bert": {"reducer": "DactBert", "arguments": {"epochs": 1}},
        },
    }
    file = folder / "rationale.yaml"
    file.write_text(yaml.safe_dump(comparison))
    return file


@pytest.fixture(scope="module")
def measured(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rationale")
    assert main(["rationale", "--config", str(config), "--out", str(out)]) == 0
    return out


def test_one_command_trains_and_measures(measured: Path) -> None:
    found = pd.read_csv(measured / "rationale.csv")
    assert found["source"].tolist() == 2 * ["method", "saliency", "attention", "random"]
    assert (found["rows"] == 12).all()
    assert (found["most_frequent_class"] == 0.5).all()
    # [CLS] and 7 words are read; the two marked ones come later
    truncation = found.set_index(["method", "source"]).loc[("truncation", "method")]
    assert truncation["recall"] == truncation["token_f1"] == truncation["iou_f1"] == 0
    assert truncation["false_positive_rate"] > 0.3
    exits = found[found["method"] == "dact_bert"]
    assert (exits["kept"] == 1).all()
    record = json.loads(next((measured / "rationales").glob("truncation*.json")).read_text())
    assert record["provenance"]["config"]["methods"]["truncation"]


def test_again_it_only_prints(
    config: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = sorted((measured / "stages").iterdir())
    before = [path.stat().st_mtime_ns for path in stages]
    words = ["rationale", "--config", str(config), "--out", str(measured)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for part in ("movies: 12 test rows", "truncation first_8", "dact_bert (keeps all)", "random"):
        assert part in shown
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["source"] for row in rows[:4]] == ["method", "saliency", "attention", "random"]
    assert [path.stat().st_mtime_ns for path in stages] == before


def test_a_comparison_in_the_same_folder_shares_the_training(config: Path, measured: Path) -> None:
    stages = {path: path.stat().st_mtime_ns for path in measured.glob("stages/*/done.json")}
    assert main(["compare", "--config", str(config), "--out", str(measured)]) == 0
    assert len(pd.read_csv(measured / "results.csv")) == 2
    assert stages == {path: path.stat().st_mtime_ns for path in measured.glob("stages/*/done.json")}


@pytest.mark.parametrize(
    ("column", "complains"),
    [
        ("null", "no test row of movies has a human rationale: name"),
        (
            "reasons",
            "(--task_data.movies.rationale, null for none) 'reasons': did you mean",
        ),
    ],
)
def test_a_task_without_rationales_is_named_before_anything_is_trained(
    column: str, complains: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rationale", "--config", str(config), "--out", str(tmp_path / "out")]
    said = complaint(capsys, *words, "--data", f"{{max_length: 32, rationale: {column}}}")
    assert complains in said
    assert not (tmp_path / "out" / "stages").exists()


@pytest.mark.parametrize("what", ["marks", "texts"])
def test_runs_of_other_rows_do_not_join(
    what: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reviews").mkdir()
    write_eraser(tmp_path / "reviews")
    given = yaml.safe_load(config.read_text())
    given["task_data"]["movies"]["dir"] = str(tmp_path / "reviews")
    del given["methods"]["dact_bert"]
    file, out = tmp_path / "given.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(given))
    words = ["rationale", "--config", str(file), "--out", str(out)]
    assert main(words) == 0
    before = (out / "rationale.csv").read_text()
    if what == "marks":
        test = tmp_path / "reviews" / "test.jsonl"
        test.write_text(test.read_text().replace('"start_token": 8', '"start_token": 6', 1))
    else:
        text = "a town by the sea and a long dull film"
        (tmp_path / "reviews" / "docs" / "test0.txt").write_text(text)
    capsys.readouterr()
    for more in ([], ["--seeds", "[1, 2]"]):
        assert "is of other rows than movies has now" in complaint(capsys, *words, *more)
    assert (out / "rationale.csv").read_text() == before


@pytest.mark.parametrize(
    ("option", "value"),
    [("evaluate_in", "bf16"), ("engines", "[onnxruntime]"), ("tune.trials", "2")],
)
def test_settings_of_compare_that_mean_nothing_here_are_refused(
    option: str, value: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rationale", "--config", str(config), "--out", str(tmp_path / "out")]
    said = complaint(capsys, *words, f"--{option}", value)
    assert re.search(f"(leave|without) {option.split('.')[0]}", said)
    assert not (tmp_path / "out").exists()
