"""The command line: a mistake gives one line and exit code 2, and nothing is lost."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import tokendrop
from tests.models.test_model import TEXTS, model_of
from tokendrop.cli import COMMANDS, main
from tokendrop.configs import config_folder
from tokendrop.reducers.power_bert import PowerBert

SMALL = [
    *("--config", str(config_folder() / "base.yaml")),
    *("--model.random_init", "{num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 4, "
      "intermediate_size: 64}"),
    *("--model.fine_tune.epochs", "1", "--data.max_length", "32", "--loggers", "[csv]"),
]  # fmt: skip


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short reviews of our own, enough to split."""
    subjects = ["the plot", "our hero", "every song", "this sequel", "the ending", "her voice"]
    praise = ["shines", "is a joy", "moved us", "never drags", "feels true"]
    blame = ["drags", "is a chore", "fell flat", "makes no sense", "feels false"]
    lines = ["text,label"]
    for subject in subjects:
        lines += [f"{subject} {words},good" for words in praise]
        lines += [f"{subject} {words},bad" for words in blame]
    file = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def fitted(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of `tokendrop fit` with PoWER-BERT on those reviews."""
    out = tmp_path_factory.mktemp("fit")
    reducer = ["--model.reducer", "PowerBert", "--model.reducer.soft_learning_rate", "0.2"]
    epochs = ["--model.reducer.search_epochs", "1", "--model.reducer.retrain_epochs", "1"]
    words = [*SMALL, *reducer, *epochs, "--data.train", str(reviews), "--out", str(out)]
    assert main(["fit", *words]) == 0
    return out


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a mistake prints."""
    assert main(words) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("tokendrop: error")]
    assert len(lines) == 1
    return lines[0]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tokendrop {version('tokendrop')}\n"


def test_help_names_every_command_without_loading_torch() -> None:
    code = (
        "import sys; from tokendrop.cli import main; main(['--help']); assert {} not in sys.modules"
    )
    words = [sys.executable, "-c", code.format("'torch'")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: tokendrop {command}" in said.replace("[options] ", "")
    assert "Namespace" not in said


def test_a_model_of_other_settings_is_told_to_go_before_it_is_trained(
    fitted: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tokendrop.cli.fit._train", lambda *_: None)
    again = ["fit", "--config", str(fitted / "model" / "reducer" / "training.yaml")]
    assert main([*again, "--trainer.enable_progress_bar", "false"]) == 0
    assert not caplog.messages
    assert main([*again, "--data.train_rows", "20", "--model.reducer.retrain_epochs", "2"]) == 0
    (said,) = caplog.messages
    model = fitted / "model"
    assert f"{model} was trained with model.reducer.init_args.retrain_epochs 1, now it is 2" in said
    assert "2 changes in all" in said


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--model.reducer", "Powerbert"], "did you mean 'PowerBert'"),
            (["--model.reducer", "PowerBert", "--model.reducer.mass_weigth", "1"], "mass_weigth"),
            (["--model.reducer", "PowerBert", "--model.reducer.mass_weight", "x"], "mass_weight"),
            (["--model.reducer", "PowerBert", "--model.reducer.configuration", "[9]"], "1 entries"),
            (
                ["--model.reducer", "PowerBert", "--model.reducer.configuration", "[3, 4]"],
                "grows from 3 to 4 in layer 2",
            ),
            (["--data.max_lenght", "3"], "max_lenght"),
            (["--data.max_length", "513"], "max_length 513 is more than the 512 tokens"),
            (["--data.label", "lable"], "did you mean 'label'"),
            (["--data.dev", "nowhere.csv"], "nowhere.csv"),
            (["--model.backbone", "no/where"], "no tokenizer 'no/where'"),
            (["--config", "nowhere.yaml"], "nowhere.yaml"),
        ],
    )
    def test_of_fit(
        self,
        words: list[str],
        said: str,
        reviews: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        base = ["fit", *SMALL, "--data.train", str(reviews), "--out", str(tmp_path)]
        assert said in complaint(capsys, *base, *words)

    def test_an_empty_text_and_an_unknown_label(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        holes, odd = tmp_path / "holes.csv", tmp_path / "odd.csv"
        holes.write_text("text,label\nfine,good\n,bad\n")
        odd.write_text("text,label\nso so,middling\n")
        base = ["fit", *SMALL, "--out", str(tmp_path)]
        assert "row 2" in complaint(capsys, *base, "--data.train", str(holes))
        words = ["--data.train", str(reviews), "--data.dev", str(odd)]
        assert "middling" in complaint(capsys, *base, *words)

    def test_a_folder_that_cannot_be_written(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        words = ["--data.train", str(reviews), "--out", str(tmp_path / "file" / "out")]
        assert "cannot write to the folder" in complaint(capsys, "fit", *SMALL, *words)

    def test_a_full_disk(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(_: object) -> None:
            raise OSError(28, "No space left on device", "runs/record.json")

        monkeypatch.setattr("tokendrop.cli.compare.run", full)
        assert "No space left on device (runs/record.json)" in complaint(capsys, "compare")

    def test_an_unknown_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "did you mean 'predict'" in complaint(capsys, "predit")

    def test_no_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for command in ("test", "validate"):
            assert "no config.json" in complaint(capsys, command, "--checkpoint", str(tmp_path))
        assert "no config.json" in complaint(capsys, "predict", "--checkpoint", str(tmp_path), "a")

    def test_the_folder_of_a_training_is_not_its_model(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
        said = complaint(capsys, "test", "--checkpoint", str(tmp_path))
        assert f"its model is {tmp_path / 'model'}" in said


def test_fit_then_test_validate_and_predict(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(fitted / "model")
    for command in ("test", "validate"):
        assert main([command, "--checkpoint", model]) == 0
        assert "accuracy" in capsys.readouterr().out
    assert main(["predict", "--checkpoint", model, "--json", "the plot shines"]) == 0
    prediction = json.loads(capsys.readouterr().out)
    assert prediction["label"] in ("good", "bad")
    assert len(prediction["tokens"]) == len(prediction["token_depth"])


def test_the_card_tells_what_fit_and_test_measured(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reducer = ["--model.reducer", "DactBert", "--model.reducer.epochs", "1"]
    base = ["fit", *SMALL, "--data.train", str(reviews)]
    assert main([*base, *reducer, "--out", str(tmp_path / "a")]) == 0
    card = tmp_path / "a" / "model" / "README.md"
    assert "of the dev split" in card.read_text()
    assert main(["test", "--checkpoint", str(tmp_path / "a" / "model")]) == 0
    assert "of the test split" in card.read_text()
    assert "FLOPs speed-up, unpadded | 0.99x" in card.read_text()
    assert "minilm-l6" in card.read_text()
    # another operating point is what is asked for, and nothing is known of it
    words = [*reducer, "--model.reducer.check_every", "2", "--out", str(tmp_path / "b")]
    assert main([*base, *words]) == 0
    model = tokendrop.load(tmp_path / "b" / "model")
    assert model.reducer.check_every == 2
    assert model.figures is None


def test_fit_without_a_training_tells_what_is_reached_at_the_point_that_is_asked_for(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", *SMALL, "--model.reducer", "baselines.TokenMerging", "--out", str(tmp_path)]
    words += ["--data.train", str(reviews), "--model.reducer.share"]
    found = {}
    # where nothing is trained, the model of one point is found for the other
    for share in (0.5, 0.1):
        assert main([*words, str(share)]) == 0
        said = re.search(r"accuracy on dev: (\S+)", capsys.readouterr().out)
        assert said is not None
        model = tokendrop.load(tmp_path / "model")
        assert model.figures is not None
        assert f"{model.figures.metrics['accuracy']:.4f}" == said[1]
        found[share] = model.figures.kept_tokens
    assert len(list(tmp_path.glob("stages/untrained-*"))) == 1
    assert found[0.1] > found[0.5] + 0.2


def test_figures_of_other_data_are_not_the_cards(
    fitted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "model"
    shutil.copytree(fitted / "model", model)
    figures = model / "reducer" / "figures.json"
    figures.unlink()
    assert main(["test", "--checkpoint", str(model), "--data.test_rows", "3"]) == 0
    assert "with --data.test_rows the figures are of other data" in caplog.text
    assert "so the model's card does not tell them" in caplog.text
    assert not figures.exists()
    caplog.clear()
    # no card ever tells the figures of dev that are asked for later
    assert main(["validate", "--checkpoint", str(model), "--data.dev_rows", "3"]) == 0
    words = ["--data.batch_size", "2", "--trainer.limit_val_batches", "1"]
    assert main(["validate", "--checkpoint", str(model), *words]) == 0
    assert "with --data.dev_rows the figures are of other data" in caplog.text
    assert "the figures are of a part of the dev split" in caplog.text
    assert "card" not in caplog.text
    assert not figures.exists()
    assert main(["test", "--checkpoint", str(model), "--data.batch_size", "3"]) == 0
    assert figures.is_file()


def test_figures_of_a_model_that_was_replaced_are_not_the_cards(
    fitted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(fitted / "model", model)
    (model / "reducer" / "figures.json").unlink()
    sums = model / "SHA256SUMS"
    # while the split is evaluated
    monkeypatch.setattr("tokendrop.cli.test.is_partial", lambda *_: not sums.write_text("-"))
    assert main(["test", "--checkpoint", str(model)]) == 0
    assert f"another model was written to {model} meanwhile" in caplog.text
    assert not (model / "reducer" / "figures.json").exists()


def test_a_metric_of_another_kind_of_task_is_named_before_anything_is_trained(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, "--data.train", str(reviews), "--out", str(tmp_path)]
    said = complaint(capsys, "fit", *words, "--model.metric", "spearman")
    assert "metric 'spearman'" in said
    assert "accuracy" in said


def test_fit_again_repeats_nothing(fitted: Path, reviews: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in fitted.glob("stages/*/done.json")}
    assert len(before) == 3
    saved = fitted / "model" / "reducer" / "training.yaml"
    assert main(["fit", "--config", str(saved), "--out", str(fitted)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in fitted.glob("stages/*/done.json")}


def test_fit_keeps_out_of_folders_of_models_and_comparisons(
    fitted: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.yaml").touch()
    for folder, what in ((fitted / "model", "model"), (tmp_path, "comparison")):
        before = sorted(folder.iterdir())
        words = [*SMALL, "--data.train", str(reviews), "--out", str(folder)]
        said = complaint(capsys, "fit", *words)
        assert f"{folder} is the folder of a {what}" in said
        assert "name another folder with --out" in said
        assert sorted(folder.iterdir()) == before


def test_predict_dims_what_was_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_of(PowerBert(configuration=[4, 3, 2])).save_pretrained(tmp_path / "model")
    words = ["predict", "--checkpoint", str(tmp_path / "model"), "--dtype", "bf16"]
    assert main([*words, *TEXTS[:1]]) == 0
    shown = capsys.readouterr().out
    assert "left after layer 3 of 3" in shown
    assert "[CLS]" in shown
    assert any(mark in shown for mark in "⁰¹²")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_characters_shows_the_others(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(PowerBert(configuration=[4, 3, 2]))
    model.backbone.config.id2label = {0: "schlecht", 1: "mäßig ✓", 2: "gut ✓"}
    model.save_pretrained(tmp_path / "model")
    sent = io.BytesIO()
    shown = io.TextIOWrapper(sent, encoding=encoding)
    monkeypatch.setattr("sys.stdout", shown)
    assert main(["predict", "--checkpoint", str(tmp_path / "model"), *TEXTS]) == 0
    shown.flush()
    text = sent.getvalue().decode(encoding)
    assert "left after layer 3 of 3" in text
    assert ("✓" in text, "?" in text) == (encoding == "utf-8", encoding != "utf-8")
    assert any(mark in text for mark in "⁰¹²") == (encoding == "utf-8")
    assert ("^0" in text) == (encoding != "utf-8")
