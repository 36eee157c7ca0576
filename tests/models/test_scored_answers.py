"""What ``predict`` answers is what the evaluation scored and saved, long texts included."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import BertTokenizer

import tokendrop
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.models.model import TokenDropModel
from tokendrop.models.prediction import Prediction
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import KINDS, QuestionAnswering
from tokendrop.testing.tiny import CONFIGS, VOCABULARY, randomised

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["ada", "lives", "in", "bern", "who", "film", "quiet", "##s", "!"]
# no multiple of the windows that the default stride would give
MAX_LENGTH, STRIDE = 14, 3
COUNT = 30


def sentence(draw: random.Random) -> list[str]:
    """Up to twice as many words as a row has room for."""
    words = [word for word in WORDS if not word.startswith("#")]
    return [draw.choice(words) + draw.choice(["", "s"]) for _ in range(draw.randint(3, 24))]


def texts(draw: random.Random, number: int) -> dict[str, Any]:
    return {"text": " ".join([*sentence(draw), str(number)]), "label": draw.choice(["a", "b"])}


def numbers(draw: random.Random, number: int) -> dict[str, Any]:
    pair = {"one": " ".join(sentence(draw)), "two": " ".join([*sentence(draw), str(number)])}
    return {**pair, "label": draw.uniform(0, 5)}


def tags(draw: random.Random, number: int) -> dict[str, Any]:
    words = [*sentence(draw), str(number)]
    return {"tokens": words, "tags": [draw.choice(["O", "B-PER", "I-PER"]) for _ in words]}


def questions(draw: random.Random, number: int) -> dict[str, Any]:
    context = " ".join([*sentence(draw), "bern", str(number)])
    some = draw.random() < 0.5
    answers = {"text": ["bern"], "answer_start": [context.rindex("bern")]}
    none: dict[str, Any] = {"text": [], "answer_start": []}
    return {"question": "who", "context": context, "answers": answers if some else none}


CASES: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, Any]]] = {
    "classification": (texts, {}),
    "regression": (numbers, {"text": ["one", "two"]}),
    "token_classification": (tags, {}),
    "question_answering": (questions, {"doc_stride": STRIDE}),
}


class Case:
    """Data of a kind, and a model that was saved and loaded, as after a training."""

    def __init__(self, kind: str, folder: Path) -> None:
        make, options = CASES[kind]
        for place, name in enumerate(("train", "dev", "test")):
            draw = random.Random(place)
            rows = [make(draw, number + 100 * place) for number in range(COUNT)]
            lines = "\n".join(map(json.dumps, rows))
            (folder / f"{name}.jsonl").write_text(lines)
        files = {name: str(folder / f"{name}.jsonl") for name in ("train", "dev", "test")}
        names = [*SPECIAL, *WORDS, *(str(digit) for digit in range(10))]
        names += [f"##{digit}" for digit in range(10)]
        vocabulary = {word: number for number, word in enumerate(names)}
        vocabulary |= {f"x{i}": i for i in range(len(names), VOCABULARY)}
        tokenizer = BertTokenizer(vocab=vocabulary)
        self.data = TextData(task=kind, max_length=MAX_LENGTH, batch_size=7, **files, **options)
        self.data.use_tokenizer(tokenizer)
        torch.manual_seed(0)
        config: Any = CONFIGS["bert"]()
        config.id2label = dict(enumerate(KINDS[kind].output_names(self.data.labels)))
        backbone = randomised(KINDS[kind].head.auto.from_config(config))
        reducer = PowerBert(configuration=[12, 9, 5])
        model = TokenDropModel(backbone, reducer, tokenizer, MAX_LENGTH, self.data.answering)
        model.save_pretrained(folder / "model")
        self.model = tokendrop.load(folder / "model")
        self.split = self.data.splits["test"]
        self.asked = list(dict.fromkeys(self.split.texts))
        self.predictions = self.model.predict(self.asked, batch_size=4)

    @torch.no_grad()
    def saved(self) -> pd.DataFrame:
        scores = self.data.make_task(KINDS[self.data.task].metrics[0]).scores(self.split)
        for batch in self.data.test_dataloader():
            scores.update(self.model(batch).logits, batch)
        return scores.examples()


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


def words_of(case: Case, saved: pd.DataFrame) -> list[str]:
    """The saved answers in the words of a prediction."""
    if case.data.task == "classification":
        return saved[case.data.labels].idxmax(axis=1).tolist()
    return saved["tags" if case.data.task == "token_classification" else "answer"].tolist()


def test_the_answer_is_the_one_that_was_scored(case: Case) -> None:
    assert any(length == MAX_LENGTH for length in case.split.lengths)
    saved = case.saved()
    assert len(saved) == len(case.asked) == COUNT
    if case.data.task == "regression":
        numbers = [found.value for found in case.predictions]
        assert numbers == pytest.approx(saved["value"].tolist(), abs=1e-5)
    else:
        assert [found.label for found in case.predictions] == words_of(case, saved)
    assert len({found.label for found in case.predictions}) > 1


def windows_of(case: Case, text: tuple[str, ...]) -> Iterator[list[str]]:
    for row, other in enumerate(case.split.texts):
        if other == text:
            yield case.model.tokenizer.convert_ids_to_tokens(case.split.input_ids[row])


def test_tokens_and_depths_are_of_the_row_that_the_answer_is_from(case: Case) -> None:
    several = 0
    for text, found in zip(case.asked, case.predictions, strict=True):
        windows = list(windows_of(case, text))
        assert found.tokens in windows
        assert len(found.tokens) == len(found.token_depth)
        assert found.token_depth[0] == found.row_depth == case.model.shape.layers
        assert sum(depth > 0 for depth in found.token_depth) == min(12, len(found.tokens))
        several += len(windows) > 1
        if case.data.task == "question_answering" and found.label:
            assert holds(found)
    assert (several > COUNT / 2) == (case.data.task == "question_answering")


def test_texts_unlike_those_that_a_model_learned_from_are_told(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    single, pair = "quiet film", ("who lives", "ada lives in bern")
    kind = case.data.task
    asked = [pair] if kind == "question_answering" else [single, pair, *case.asked[:2]]
    case.model.predict(asked)
    list(case.model.predict_each([*asked, ""]))
    told = [record.getMessage() for record in caplog.records]
    told = [line.partition(":")[0] for line in told if "learned from" in line]
    wanted = {
        "classification": ["1 of 4 texts are pairs, and this model learned from single texts"],
        "regression": ["1 of 4 texts are single, and this model learned from pairs"],
    }
    assert told == 2 * wanted.get(kind, [])


def holds(found: Prediction) -> bool:
    """Whether the window has the answer's tokens."""
    joined = "".join(token.removeprefix("##") for token in found.tokens)
    return found.label.replace(" ", "") in joined


@pytest.mark.parametrize("unanswerable", [True, False])
def test_no_answer_is_given_where_the_data_had_such_questions(
    tmp_path: Path, unanswerable: bool
) -> None:
    case = Case("question_answering", tmp_path)
    # the folder says what the data were, so that a prediction may be empty where a score was
    assert case.model.answering == case.data.answering
    assert case.model.answering.unanswerable
    answering = replace(case.model.answering, unanswerable=unanswerable)
    answers = QuestionAnswering.answers(case.split, [], answering)
    for batch in case.data.test_dataloader():
        logits = torch.zeros(len(batch.input_ids), 2)
        logits[batch.layout.first] = 1.0
        answers.update(logits, batch)
    assert {answers[number].label == "" for number in answers.index} == {unanswerable}


def test_a_question_too_long_for_the_stride_is_answered_all_the_same(tmp_path: Path) -> None:
    model = Case("question_answering", tmp_path).model
    (usual, long) = model.predict([("who", "ada lives " * 20), ("who " * 10, "ada lives " * 20)])
    assert [usual] == model.predict([("who", "ada lives " * 20)])
    assert long.tokens.count("[SEP]") == 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "poetry"}, "unknown kind of task 'poetry'"),
        ({"kind": "classification"}, "does not fit the BertForQuestionAnswering"),
        ({"kind": "question_answering", "doc_stride": -1}, "does not fit"),
        ({"kind": "question_answering", "doc_stride": "1"}, "doc_stride"),
    ],
)
def test_a_folder_that_says_what_does_not_fit_its_weights(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    Case("question_answering", tmp_path)
    file = tmp_path / "model" / "reducer" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"answering": said}))
    with pytest.raises(UserError, match=message):
        tokendrop.load(tmp_path / "model")


def test_a_folder_of_an_earlier_version_answers_as_its_head_says(tmp_path: Path) -> None:
    case = Case("regression", tmp_path)
    file = tmp_path / "model" / "reducer" / "config.json"
    described = json.loads(file.read_text())
    del described["answering"]
    file.write_text(json.dumps(described))
    assert tokendrop.load(tmp_path / "model").predict(case.asked) == case.predictions
