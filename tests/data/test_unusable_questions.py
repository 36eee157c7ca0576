import json

import numpy as np
import pytest

from tokendrop.data.questions import read_questions, read_squad
from tokendrop.data.sources import Table
from tokendrop.errors import UserError

COLUMNS = ["question", "context"]


def table(**columns):
    given = {"id": ["q7"], "question": ["is it"], "context": ["the film is long"]} | columns
    return Table(list(given.items()), "rows.parquet")


def answer(*texts_and_starts):
    texts, starts = zip(*texts_and_starts, strict=True)
    return [{"text": list(texts), "answer_start": list(starts)}]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"answers": answer(("film", 5))}, r"question q7: the answer 'film' is not at character 5"),
        ({"answers": answer(("film", 900))}, r"question q7: the answer 'film' is not at"),
        ({"answers": answer(("film", "3"))}, r"question q7: answer_start '3' is no whole number"),
        ({"answers": answer(("film", 3.5))}, r"question q7: answer_start 3.5 is no whole number"),
        ({"answers": answer(("film", True))}, r"question q7: answer_start True is no whole number"),
        ({"answers": answer(("good", -4))}, r"question q7: answer_start -4 is no whole number"),
        (
            {"answers": [{"text": "film", "answer_start": [3]}]},
            r"question q7: the answers .* are not an ",
        ),
        ({"answers": answer((" ", 3))}, r"question q7: an answer without text"),
        (
            {"answers": ["film"]},
            r"question q7: the answers 'film' are not an object.*a CSV has no lists",
        ),
        ({"answers": [np.array([{"text": "film"}, {}])]}, r"q7: the answers .* are not an object"),
        ({"answers": [np.array(["a\nfilm"])]}, r"q7: the answers .* are not an object"),
        ({"answers": [None]}, r"question q7: the answers 'None' are not an object"),
        ({"answers": answer(("a", 0)), "context": [" "]}, r"q7: empty text in column 'context'"),
        ({"answers": answer(("a", 0)), "question": [""]}, r"q7: empty text in column 'question'"),
        ({"answer": ["film"]}, r"unknown column 'answers': did you mean 'answer'"),
    ],
)
def test_questions_that_cannot_be_used(columns, says):
    with pytest.raises(UserError, match=f"rows.parquet.*{says}") as caught:
        read_questions(table(**columns), COLUMNS, "answers")
    assert "\n" not in str(caught.value)


def test_white_space_around_an_answer_is_no_part_of_it():
    rows = read_questions(table(answers=answer((" film ", 3))), COLUMNS, "answers")
    assert (rows.labels[0].answers, rows.labels[0].starts) == (["film"], [4])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"version": "1"}, r"\(there is no 'data'\)"),
        ([{"paragraphs": 7}], r"SQuAD \('int' object is not iterable\); it has data"),
        ([7], "entry 1 is not an object"),
        (["paragraphs"], "entry 1 is not an object"),
        ({"version": "1", "data": 7}, r"SQuAD \('int' object is not iterable\); it has data"),
        ({"data": [{"paragraphs": [{"context": "a"}]}]}, r"\(there is no 'qas'\)"),
        ({"data": [{"paragraphs": [{"qas": [{"id": "x", "question": "q"}]}]}]}, "question x"),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "a",
                                "qas": [
                                    {
                                        "id": "x",
                                        "question": "q",
                                        "answers": [],
                                        "is_impossible": False,
                                    }
                                ],
                            }
                        ]
                    }
                ]
            },
            "question x: no answers, though is_impossible is false",
        ),
    ],
)
def test_file_not_in_the_form_of_squad(tmp_path, content, says):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"a.json.*{says}"):
        read_squad(str(tmp_path / "a.json"), COLUMNS, "answers")
