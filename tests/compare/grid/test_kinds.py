"""Numbers, tags and questions go through a whole comparison, with every kind of reducer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tokendrop.cli import main

WORDS = ["the", "quiet", "film", "begins", "slowly", "and", "nobody", "in", "town", "sleeps"]
PEOPLE = ["Ada", "Bo", "Cleo"]
COUNT = {"train": 60, "dev": 12, "test": 12}


def sentence(draw: random.Random) -> list[str]:
    return [draw.choice(WORDS) for _ in range(draw.randint(3, 9))]


def numbers(folder: Path, name: str, draw: random.Random) -> None:
    rows = [(" ".join(sentence(draw)), round(draw.uniform(0, 5), 2)) for _ in range(COUNT[name])]
    lines = ["sentence1\tsentence2\tscore", *(f"{text}\t{text}\t{n}" for text, n in rows)]
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def tags(folder: Path, name: str, draw: random.Random) -> None:
    suffix = {"train": "train", "dev": "testa", "test": "testb"}[name]
    blocks = []
    for _ in range(COUNT[name]):
        words = [(word, "O") for word in sentence(draw)]
        words[draw.randrange(len(words))] = (draw.choice(PEOPLE), "I-PER")
        blocks.append("\n".join(f"{word} X X {tag}" for word, tag in words))
    (folder / f"eng.{suffix}").write_text("\n\n".join(blocks) + "\n")


def questions(folder: Path, name: str, draw: random.Random) -> None:
    content = []
    for number in range(COUNT[name]):
        words = sentence(draw)
        words[draw.randrange(len(words))] = draw.choice(PEOPLE)
        context = " ".join([*words, str(number), name])
        who = next(person for person in PEOPLE if person in words)
        answer = {"text": who, "answer_start": context.index(who)}
        asked = {"id": f"{name}{number}", "question": "who sleeps", "answers": [answer]}
        content.append({"context": context, "qas": [asked]})
    (folder / f"{name}.json").write_text(json.dumps({"data": [{"paragraphs": content}]}))


def comparison(folder: Path) -> dict[str, Any]:
    places = {name: str(folder / name) for name in ("stsb", "conll2003", "squad")}
    asked = {name: str(folder / "squad" / f"{name}.json") for name in COUNT}
    learn = {"learning_rate": 1e-3, "epochs": 1}
    ranks = {"learning_rate": 1e-3, "retrain_epochs": 1, "configuration": [8, 4]}
    exits = {"class_path": "DactBert", "init_args": {**learn, "halt_bias": -3}}
    parts = [{"class_path": "PowerBert", "init_args": ranks}, exits]
    return {
        "random_init": {
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
        },
        "tasks": list(places),
        "data": {"max_length": 24},
        "task_data": {
            "stsb": {"dir": places["stsb"], "max_length": 32},
            "conll2003": {"dir": places["conll2003"]},
            "squad": {"dataset": None, "files": None, "doc_stride": 4, **asked},
        },
        "fine_tune": {"epochs": 1, "learning_rate": 1e-3},
        "clock": {"rows": 12, "single_rows": 3, "rounds": 3},
        "loggers": ["csv"],
        "engines": ["openvino"],
        "methods": {
            "dense": {"reducer": "Dense"},
            "power_and_dact": {"reducer": "Chain", "arguments": {"parts": parts}},
            "adapler": {"reducer": "AdapLeR", "arguments": {**learn, "init": "finetuned"}},
            "length_adaptive": {
                "reducer": "LengthAdaptive",
                "arguments": {**learn, "length_basis": "row", "length_drop": 0.4},
                "operating_points": {},
                "search": {
                    "budgets": {"half": 0.8},
                    "settings": {
                        "generations": 1,
                        "population": 3,
                        "mutations": 3,
                        "crossovers": 3,
                    },
                },
            },
            "merging": {"reducer": "baselines.TokenMerging", "arguments": {"share": 0.3}},
        },
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for task, write in (("stsb", numbers), ("conll2003", tags), ("squad", questions)):
        (folder / task).mkdir()
        for number, name in enumerate(COUNT):
            write(folder / task, name, random.Random(number))
    (folder / "dev.yaml").write_text(yaml.safe_dump(comparison(folder)))
    arguments = ["compare", "--config", str(folder / "dev.yaml"), "--out", str(folder / "out")]
    assert main(arguments) == 0
    return folder / "out"


def test_every_method_is_measured_on_every_task(made: Path) -> None:
    results = pd.read_csv(made / "results.csv")
    assert len(results) == 3 * (5 + 2)
    assert set(results[results.method == "length_adaptive"].operating_point) == {"half"}
    assert dict(results.groupby("task").metric.first()) == {
        "conll2003": "entity_f1",
        "squad": "f1",
        "stsb": "spearman",
    }
    assert results.value.notna().all()
    # a question counts once, however many windows its context has
    assert (results.examples_eval == 12).all()
    fewer = results[results.method.isin(["power_and_dact", "length_adaptive", "merging"])]
    assert (fewer.kept_tokens_mean < 1).all()
    assert (fewer.flops_speedup_unpadded > 1).sum() >= 6


def test_answers_are_kept_example_by_example(made: Path) -> None:
    results = pd.read_csv(made / "results.csv").set_index(["task", "method"])
    for task in ("squad", "conll2003", "stsb"):
        (file,) = (made / "predictions").glob(f"*merging*{task}*.csv")
        answers = pd.read_csv(file)
        assert len(answers) == 12
        assert answers.score.notna().all()
        if task == "squad":
            assert answers.score.mean() == pytest.approx(results.loc[(task, "merging")].value)


def test_an_engine_answers_as_dense_whatever_the_head(made: Path) -> None:
    results = pd.read_csv(made / "results.csv")
    dense, engine = (results[results.method == name] for name in ("dense", "openvino"))
    found = engine.merge(dense, on="task", suffixes=("", "_dense"))
    assert len(found) == 6
    assert found.value.to_numpy() == pytest.approx(found.value_dense.to_numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["--floor", "true"], "task stsb is regression, which the TF-IDF floor cannot do"),
        (
            ["--methods.ramps", "{reducer: baselines.PatienceExit}"],
            "ramps default on conll2003: the exits of this method answer once for a text",
        ),
        (
            ["--methods.ramps", "{reducer: baselines.EntropyExit}", "--tasks", "[squad]"],
            "ramps default on squad: the exits of this method answer once for a text",
        ),
    ],
    ids=["floor", "exits of tags", "exits of spans"],
)
def test_what_a_kind_cannot_do_is_said_before_anything_is_made(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], told: str
) -> None:
    words = ["compare", "--config", str(made.parent / "dev.yaml"), "--out", str(tmp_path / "out")]
    assert main([*words, *changes]) == 2
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("[!.]*/*"))
