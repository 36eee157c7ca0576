"""What docs/your_data.md tells is what happens."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_cli import SMALL
from tokendrop.cli import main

GUIDE = Path(__file__).parents[1] / "docs" / "your_data.md"
GOOD = ("Très drôle, {}", "Großartig gespielt, {}", "Überraschend schön {}")
BAD = ("Müde Späße, {}", "Öde und zäh {}", "Trop long, même pénible {}")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Latin-1 file without a header, whose class is the first word of each line."""
    lines = [f"{name} {text.format('so ' * n)}" for n in range(12)
             for name, texts in (("gut", GOOD), ("schlecht", BAD)) for text in texts]  # fmt: skip
    (tmp_path / "reviews.txt").write_bytes("".join(f"{x}\n" for x in lines).encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_the_file_to_an_answer(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMALL, "--data.train", "reviews.txt"]) == 2
    assert "reviews.txt, line 1: not UTF-8" in capsys.readouterr().err
    subprocess.run(blocks("sh")[0], shell=True, check=True)
    (films / "films.yaml").write_text(blocks("yaml")[0])

    words = [
        "--config",
        "films.yaml",
        "--model.reducer",
        "baselines.TokenMerging",
        "--out",
        "runs/films",
    ]
    assert main(["fit", *SMALL, *words]) == 0
    assert main(["test", "--checkpoint", "runs/films/model"]) == 0
    assert "f1" in capsys.readouterr().out
    Path("new.txt").write_text("Ein kluger Film\n\n")
    words = ["predict", "--checkpoint", "runs/films/model", "--file", "new.txt", "--json"]
    assert main(words) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers[0]["label"] in ("gut", "schlecht")
    assert answers[1]["label"] is None


def test_its_comparison_can_be_read(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the first thing that this empty folder lacks."""
    (films / "films_compare.yaml").write_text(blocks("yaml")[1])
    (films / "films.yaml").write_text(blocks("yaml")[0])
    assert main(["compare", "--config", "films_compare.yaml", "--out", "out"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert not (films / "out" / "runs").exists()


def test_numbers_get_names(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{number % 2}\tfilm {number}" for number in range(40)]
    Path("numbers.tsv").write_text("".join(f"{row}\n" for row in rows))
    files = '{train: numbers.tsv, columns: {train: [label, text]}, classes: {"0": bad, "1": good}}'
    words = ["--data.dir", ".", "--data.files", files, "--out", "out"]
    assert main(["fit", *SMALL, *words]) == 0
    capsys.readouterr()
    assert main(["predict", "--checkpoint", "out/model", "--json", "film 3"]) == 0
    assert set(json.loads(capsys.readouterr().out)["probabilities"]) == {"bad", "good"}


def test_each_kind_of_task_takes_the_settings_that_the_page_names(
    films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = "a {} film"
    kinds = {
        "Pairs": [{"question": film.format(x), "answer": "no", "label": x % 2} for x in range(40)],
        "Numbers": [{"text": film.format(x), "score": x / 7} for x in range(40)],
        "Tags": [{"tokens": film.format(x).split(), "tags": ["O", "B-N", "O"]} for x in range(40)],
        "Questions": [
            {
                "question": "which",
                "context": film.format(x),
                "answers": {"text": [str(x)], "answer_start": [2]},
            }
            for x in range(40)
        ],
    }
    found = re.findall(
        r"\*\*(\w+)\*\*: `data: ({.+?})`(?: with\s+`model: ({.+?})`)?", GUIDE.read_text("utf-8")
    )
    told = {kind: (data, model or "{}") for kind, data, model in found if kind in kinds}
    assert told.keys() == kinds.keys()
    # what makes it tiny, without its length, which is one of the settings that are tried
    small = [word for word in SMALL if word not in ("--data.max_length", "32")]
    for kind, (data, model) in told.items():
        Path("rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in kinds[kind]))
        Path("task.yaml").write_text(f"data: {data}\nmodel: {model}\n")
        words = ["--config", "task.yaml", "--data.train", "rows.jsonl", "--out", kind]
        assert main(["fit", *small, *words, "--model.reducer", "Dense"]) == 0, kind
    assert "entity_f1 on dev" in capsys.readouterr().out


def test_its_python_trains(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"film {number},{'good' if number % 2 else 'bad'}" for number in range(40)]
    Path("reviews.csv").write_text("\n".join(["text,label", *rows]))
    # what makes it tiny: a backbone of random weights, and one epoch a stage
    (code,) = blocks("python")
    assert "TokenDropModule(PowerBert()" in code
    code = code.replace("PowerBert()", "PowerBert(search_epochs=1, retrain_epochs=1)")
    tiny = "random_init={'num_hidden_layers': 2, 'hidden_size': 32, 'num_attention_heads': 2, "
    tiny += "'intermediate_size': 32}, fine_tune=replace(FINE_TUNE, epochs=1)"
    code = code.replace('metric="f1"', f'metric="f1", {tiny}')
    start = "from dataclasses import replace\nfrom tokendrop.training.module import FINE_TUNE\n"
    exec(compile(start + code, str(GUIDE), "exec"), {})
    said = capsys.readouterr().out.split()
    assert 0 <= float(said[-2]) <= 1
    assert Path(said[-1], "config.json").is_file()
