"""Exported files answer as the packed model, really drop, and run where little is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tokenizers import Tokenizer
from transformers import BertTokenizer

import baselines
from tokendrop.cli import main
from tokendrop.cli.training_settings import TRAINING_CONFIG
from tokendrop.deploy import engines, exits
from tokendrop.deploy.check import Rows
from tokendrop.deploy.export import Exported, export_onnx
from tokendrop.errors import UserError
from tokendrop.heads import SPAN, TAG, Head
from tokendrop.measure.clock import measure_speed
from tokendrop.models.cards import SIDE_CAR
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import MAX_TOKENS, randomised, tiny_model, tiny_rows

CLS, WORDS = 2, [f"w{number}" for number in range(90)]

# name: makes the method, with settings by which some of the rows below lose something
METHODS: dict[str, Callable[[], Reducer]] = {
    "dense": Dense,
    "adapler": lambda: AdapLeR(first_threshold=0.95),
    "power_bert": lambda: PowerBert(configuration=[9, 4]),
    "power_bert_by_row": lambda: PowerBert(configuration=[20, 8], retention_basis="row"),
    "length_adaptive": lambda: LengthAdaptive(configuration=[9, 4]),
    "length_adaptive_by_row": lambda: LengthAdaptive(configuration=[20, 8], length_basis="row"),
    "dact_bert": lambda: DactBert(halt_bias=-3.0),
    "dact_bert_of_the_mean": lambda: DactBert(halt_bias=-3.0, pooling="mean"),
    "chain": lambda: Chain([PowerBert(configuration=[6, 4]), DactBert(halt_bias=-3.0)]),
    "chain_of_thresholds": lambda: Chain(
        [AdapLeR(first_threshold=0.9), baselines.ThresholdPruning(thresholds=[0.03, 0.08])]
    ),
    "attention_top_k": lambda: baselines.AttentionTopK(0.6),
    "entropy_exit": lambda: baselines.EntropyExit(0.98),
    "fewer_layers": lambda: baselines.FewerLayers(1),
    "first_k": lambda: baselines.FirstK(0.6),
    "patience_exit": lambda: baselines.PatienceExit(1, tolerance=1.0),
    "random_drop": lambda: baselines.RandomDrop(0.6),
    "saliency_top_k": lambda: baselines.SaliencyTopK(0.6),
    "threshold_pruning": lambda: baselines.ThresholdPruning(thresholds=[0.03, 0.08]),
    "truncation": lambda: baselines.Truncation(5),
}
DROP_NOTHING = {"dense", "patience_exit"}  # an exit by patience needs more layers


def rows_of(lengths: list[int], seed: int) -> Rows:
    """Rows of these lengths, most of them pairs: the second text's tokens are of type 1."""
    rows = tiny_rows(lengths, seed)
    return Rows([[CLS, *row.ids[1:]] for row in rows], [row.types for row in rows], "random rows")


def tokenizer() -> BertTokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={word: i for i, word in enumerate(special + WORDS)})


def model_of(reducer: Reducer, family: str = "bert", classes: int = 3) -> TokenDropModel:
    names = {number: f"class {number}" for number in range(classes)}
    backbone = tiny_model(family, num_hidden_layers=2, id2label=names)
    model = TokenDropModel(backbone, reducer, tokenizer(), MAX_TOKENS).eval()
    for weight in reducer.parameters():
        if weight.dim() > 1:  # what decides, so that rows and tokens differ
            torch.nn.init.normal_(weight, 0, 0.25)
    return model


PLACE = TemporaryDirectory()


@cache
def exported(name: str, classes: int) -> tuple[TokenDropModel, Path, Exported]:
    """A model and where it was exported to, once for all tests."""
    torch.manual_seed(0)
    model, out = model_of(METHODS[name](), classes=classes), Path(PLACE.name, f"{name}-{classes}")
    return model, out, export_onnx(model, out, rows_of([7, 1, 32, 12], 1))


@pytest.mark.parametrize(
    ("name", "classes"),
    [(name, 3) for name in METHODS]
    # a number has no entropy
    + [(name, 1) for name in METHODS if name != "entropy_exit"],
)
def test_exported_it_answers_the_same(name: str, classes: int) -> None:
    model, folder, _ = exported(name, classes)
    run = exits.Model(folder)
    rows = rows_of([30, 1, 7, 2, 32, 12, 7, 19, 3], 2)
    with torch.inference_mode():
        wanted = model(rows.packed())
    np.testing.assert_allclose(run(rows.padded()), wanted.logits.numpy(), atol=1e-4)
    alone = [run(rows.at([n]).padded())[0] for n in range(len(rows))]
    np.testing.assert_allclose(alone, wanted.logits.numpy(), atol=1e-4)
    depth = wanted.trace.token_depth()
    assert name in DROP_NOTHING or (depth < 2).any(), "nothing was dropped"


def test_some_rows_leave_early_and_others_do_not() -> None:
    model, folder, written = exported("chain", 3)
    assert written.files == ["layers-01-01.onnx", "layers-02-02.onnx"]
    rows = rows_of([30, 1, 7, 2, 32, 12, 7, 19, 3], 2)
    with torch.inference_mode():
        depth = model(rows.packed()).trace.row_depth()
    assert set(depth.tolist()) == {1, 2}
    first = exits.Model(folder).sessions[0]
    (left,) = first.run(["leave"], rows.padded())
    assert left.tolist() == (depth == 1).tolist()


@pytest.mark.parametrize(
    ("reducer", "lengths", "widths"),
    [
        (Chain([PowerBert(configuration=[6, 4]), DactBert(halt_bias=-3.0)]), [32, 4, 9], (32, 6)),
        (Chain([baselines.Truncation(5), DactBert(halt_bias=-3.0)]), [4, 3], (4, 4)),
    ],
)
def test_the_matrix_is_as_narrow_as_the_longest_row_that_is_left(
    reducer: Reducer, lengths: list[int], widths: tuple[int, int], tmp_path: Path
) -> None:
    export_onnx(model_of(reducer), tmp_path / "onnx", rows_of([7, 12], 1))
    first = exits.Model(tmp_path / "onnx").sessions[0]
    given = rows_of(lengths, 3).padded()
    assert given["input_ids"].shape[1] == widths[0]
    (hidden,) = first.run(["next_hidden"], given)
    assert hidden.shape[1] == widths[1]


@pytest.mark.parametrize("family", ["albert", "distilbert", "electra", "mpnet", "roberta"])
def test_families(family: str, tmp_path: Path) -> None:
    model = model_of(PowerBert(configuration=[9, 4]), family)
    export_onnx(model, tmp_path / "onnx", rows_of([7, 12, 1, 32], 1))
    rows = rows_of([30, 1, 7, 32], 2)
    with torch.inference_mode():
        wanted = model(rows.packed()).logits.numpy()
    np.testing.assert_allclose(exits.Model(tmp_path / "onnx")(rows.padded()), wanted, atol=1e-4)


ALONE = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "transformers", "tokendrop"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize(("name", "classes"), [("adapler", 3), ("dact_bert", 3), ("truncation", 1)])
def test_the_lines_of_the_card_run_alone(name: str, classes: int) -> None:
    model, folder, _ = exported(name, classes)
    card = (folder / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    texts = ["w1 w2 w3", "w4 " * 50]
    code = ALONE + lines.replace("a text", texts[0]).replace("another, longer text", texts[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = [prediction.label for prediction in model.predict(texts)]
    found = eval(done.stdout)
    if classes == 1:
        assert found == pytest.approx([float(answer) for answer in answers], abs=1e-3)
    else:
        assert found == answers
    assert len([line for line in lines.splitlines() if line]) <= 13


@pytest.mark.parametrize("name", ["dact_bert", "power_bert"])
def test_the_lines_of_the_card_run_in_another_folder_as_it_says(name: str, tmp_path: Path) -> None:
    _, folder, _ = exported(name, 3)
    card = (folder / "README.md").read_text()
    ((said, lines),) = re.findall(r"\n(.*):\n\n```python\n(.*?)```", card, re.DOTALL)
    for file in ("model.onnx", "tokenizer.json", "config.json"):
        lines = lines.replace(f'"{file}"', f'"{folder / file}"')
    told = {"PYTHONPATH": str(folder)} if "PYTHONPATH" in said else {}
    lines = lines.replace('"."', f'"{folder}"') if "place of `.`" in said else lines
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "", **told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(eval(done.stdout)) == 2


@pytest.mark.parametrize("name", ["chain", "truncation"])
def test_the_card_says_at_which_point_it_was_exported(name: str) -> None:
    model, folder, _ = exported(name, 3)
    (block,) = re.findall(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert yaml.safe_load(block) == model.reducer.spec()


def test_the_card_marks_pairs_as_the_model_does(tmp_path: Path) -> None:
    model = model_of(Dense(), classes=1)
    names = ["input_ids", "attention_mask"]  # and no token types
    model.tokenizer = BertTokenizer(vocab=tokenizer().get_vocab(), model_input_names=names)
    export_onnx(model, tmp_path / "onnx", rows_of([7, 12], 1))
    card = (tmp_path / "onnx" / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = lines.replace('"a text", "another, longer text"', '("w1 w2", "w3"), ("w4", "w5 w6")')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "onnx", capture_output=True, check=True
    )
    wanted = [prediction.value for prediction in model.predict([("w1 w2", "w3"), ("w4", "w5 w6")])]
    assert json.loads(done.stdout) == pytest.approx(wanted, abs=1e-4)


def test_the_lines_of_the_card_are_for_pairs_where_the_model_learned_from_pairs(
    tmp_path: Path,
) -> None:
    model = model_of(Dense(), classes=1)
    model.answering = replace(model.answering, parts=2)
    export_onnx(model, tmp_path / "onnx", rows_of([7, 12], 1))
    card = (tmp_path / "onnx" / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path / "onnx", capture_output=True, check=True
    )
    (shown,) = re.findall(r"^texts = (.*)$", lines, re.MULTILINE)
    wanted = [prediction.value for prediction in model.predict(eval(shown))]
    assert {len(text) for text in eval(shown)} == {2}
    assert json.loads(done.stdout) == pytest.approx(wanted, abs=1e-4)


def test_a_tokenizer_may_have_no_token_for_padding(tmp_path: Path) -> None:
    model = model_of(Dense())
    model.tokenizer.pad_token = None
    export_onnx(model, tmp_path / "onnx", rows_of([7, 12], 1))
    batch = Tokenizer.from_file(str(tmp_path / "onnx" / "tokenizer.json")).encode_batch(
        ["w1 w2 w3", "w4"]
    )
    assert [row.attention_mask for row in batch] == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    timed = measure_speed(model, [row.ids for row in batch], batch_size=2, rounds=1, note="")
    assert timed["speedup_padded"] > 0


def test_long_texts_are_cut_at_the_end_at_which_the_model_cuts_them(tmp_path: Path) -> None:
    model = model_of(Dense())
    model.tokenizer = BertTokenizer(vocab=tokenizer().get_vocab(), truncation_side="left")
    export_onnx(model, tmp_path / "onnx", rows_of([7, 12], 1))
    text = " ".join(WORDS[:60])
    encoded = Tokenizer.from_file(str(tmp_path / "onnx" / "tokenizer.json")).encode(text)
    assert encoded.tokens == model.predict([text])[0].tokens


def test_in_int8_the_files_are_smaller_and_say_how_well_they_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(PowerBert(configuration=[9, 4]))
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("w1 w2\tw3\nw4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14\n")
    command = ["export", str(tmp_path / "model"), "--rows", str(tmp_path / "texts.txt")]
    assert main([*command, "--out", str(tmp_path / "fp32")]) == 0
    assert main([*command, "--int8"]) == 0
    said = capsys.readouterr().out
    assert "before quantising, model.onnx answered as the model on 2 rows (of texts.txt), " in said
    assert re.search(r"int8: \d+\.\d% of the answers are those of fp32", said)
    whole, small = (
        (tmp_path / folder / "model.onnx").stat().st_size for folder in ("fp32", "model-onnx")
    )
    assert small < whole
    card = (tmp_path / "model-onnx" / "README.md").read_text()
    # 2 together with one of a single token, and all 3 alone
    assert "6 answers to 2 rows (of texts.txt), " in card
    assert "| fp32 against the model: largest difference of a logit |" in card
    assert "| int8 against fp32: same class |" in card
    assert "fp32 against" not in (tmp_path / "fp32" / "README.md").read_text()
    told = json.loads((tmp_path / "model-onnx" / "config.json").read_text())
    assert told["tokendrop_export"]["weights"] == "int8"


def test_in_int8_numbers_are_told_by_how_far_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_of(PowerBert(configuration=[9, 4]), classes=1).save_pretrained(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--int8"]) == 0
    assert re.search(r"int8: numbers differ .* by \d\.\de[-+]\d+", capsys.readouterr().out)


@pytest.mark.parametrize("head", [TAG, SPAN], ids=["tags", "spans"])
def test_a_head_that_reads_every_token_is_refused_before_any_text_is_read(
    head: Head, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = randomised(head.auto.from_config(tiny_model("bert", num_hidden_layers=2).config))
    model = TokenDropModel(backbone, Dense(), tokenizer(), MAX_TOKENS)
    model.save_pretrained(tmp_path / "model")
    assert main(["export", str(tmp_path / "model")]) == 2
    assert "cannot be exported: its head reads every token" in capsys.readouterr().err
    assert not (tmp_path / "model-onnx").exists()


def test_it_is_checked_on_the_rows_of_files_that_a_publisher_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"w{number} w{number + 1}\tclass {number % 3}\n" for number in range(60))
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\n{lines}")
    model_of(Dense()).save_pretrained(tmp_path / "model")
    data = f"{{dataset: null, dir: {tmp_path}, files: {{train: rows.tsv}}, max_length: 16}}"
    (tmp_path / "model" / SIDE_CAR / TRAINING_CONFIG).write_text(f"data: {data}\n")
    assert main(["export", str(tmp_path / "model")]) == 0
    assert "rows (of its dev split)" in capsys.readouterr().out
    card = (tmp_path / "model-onnx" / "README.md").read_text()
    assert re.search(r"^\d+ answers to \d+ rows \(of its dev split\), toge", card, re.MULTILINE)
    assert "nothing" in card
    assert "really drops" not in card
    # one file needs no driver
    assert not (tmp_path / "model-onnx" / "exits.py").exists()


class OnTheHost(Reducer):
    """Reads a number back, which a traced graph takes for a constant."""

    def after_attention(self, view: View) -> Decision:
        middle = int(view.batch.positions.max()) // 2
        return Decision(keep=view.batch.positions[view.layout.tokens] <= middle)


class OfFixedSize(Reducer):
    """Makes a tensor of a size that a traced graph takes for a constant."""

    def before_layer(self, view: View) -> Decision:
        early = view.batch.positions[view.layout.tokens] < 5
        return Decision(keep=early & torch.ones(len(view.layout.tokens), dtype=torch.bool))


def test_rows_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, folder, _ = exported("dact_bert", 3)
    run = exits.Model(folder)
    encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("")
    empty = Rows([encoded.ids], [encoded.type_ids], "an empty text")
    with torch.inference_mode():
        wanted = model(empty.packed()).logits.numpy()
    np.testing.assert_allclose(run(empty.padded()), wanted, atol=1e-4)
    with pytest.raises(ValueError, match="give one text or more"):
        run({name: value[:0] for name, value in empty.padded().items()})
    model.save_pretrained(tmp_path / "model")
    file = tmp_path / "texts.txt"
    command = ["export", str(tmp_path / "model"), "--rows", str(file)]
    for text, told in (("\n  \n", "holds no texts"), ("\na\tb\tc\n", "line 2 has 3 parts")):
        file.write_text(text)
        assert main(command) == 2
        assert told in capsys.readouterr().err
    file.write_text("\n\u200b\n")  # a line that is not blank, of which no token is left
    assert main(command) == 0


def test_it_is_checked_on_the_rows_of_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_of(Dense()).save_pretrained(tmp_path / "model")
    table = tmp_path / "rows.jsonl"
    table.write_text('{"one": "w1 w2", "other": "w3"}\n{"one": "w4", "other": ""}\n')
    command = ["export", str(tmp_path / "model"), "--rows", str(table)]
    assert main(command) == 2
    assert "choose from one, other; set it with --column" in capsys.readouterr().err
    assert main([*command, "--column", "one", "--column", "other"]) == 0
    assert "on 2 rows (of rows.jsonl)" in capsys.readouterr().out
    assert main([*command[:2], "--column", "one"]) == 2
    assert "--column one is of a table in --rows, and none is named" in capsys.readouterr().err


def refused(reducer: Reducer, out: Path, family: str = "bert", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        export_onnx(model_of(reducer, family), out, rows_of([7, 12, 1, 32], 1), **options)
    assert not out.exists()
    return str(error.value)


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "onnx"
    assert "TokenMerging cannot be exported" in refused(baselines.TokenMerging(), out)
    assert "modernbert" in refused(Dense(), out, "modernbert")
    assert "are others from the exported OnTheHost" in refused(OnTheHost(), out)
    assert "cannot be run on" in refused(OfFixedSize(), out)
    both = Chain([PowerBert(configuration=[9, 4]), baselines.FirstK(0.6)])
    assert "PowerBert and FirstK" in refused(both, out)
    for ranks in (baselines.FirstK(0.6), baselines.Truncation(5)):
        chain = Chain([AdapLeR(first_threshold=0.95), ranks])  # behind the other, and beside it
        assert "by rank" in refused(chain, out)
    assert "use 17 to 20" in refused(Dense(), out, opset=9)
    with monkeypatch.context() as patched:
        patched.setattr(engines, "LARGEST", 1000)
        assert "at most 2 GiB" in refused(Dense(), out)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'tokendrop[deploy]'" in refused(Dense(), out)


@pytest.mark.parametrize("name", ["mine.txt", "config.json"])
def test_a_folder_that_is_no_export_is_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("was für mich", encoding="latin-1")
    with pytest.raises(UserError, match="is no exported model"):
        export_onnx(model_of(Dense()), tmp_path, rows_of([7, 12], 1))
    assert (tmp_path / name).exists()


def test_a_folder_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path)]) == 2
    assert "is not a model folder" in capsys.readouterr().err


def test_it_is_checked_on_the_rows_that_the_model_was_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "train.csv", tmp_path / "model"
    lines = (f"w{n} w{n + 1} w{2 * n},{'good' if n % 2 else 'bad'}" for n in range(40))
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    model_of(baselines.FewerLayers(1)).save_pretrained(folder)
    (folder / "reducer" / "training.yaml").write_text(f"data: {{train: {file}}}\n")
    assert main(["export", str(folder)]) == 0
    assert "of its dev split" in capsys.readouterr().out
    file.unlink()
    assert main(["export", str(folder)]) == 0  # the older export is replaced
    assert "sentences of our own" in capsys.readouterr().out
