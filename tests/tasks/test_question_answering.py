import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tokendrop.data.batching import Batches
from tokendrop.data.split import Question, Split, Window
from tokendrop.tasks import QuestionAnswering
from tokendrop.tasks.spans import best_span

CONTEXT = "Ada wrote the first plan for a machine"
WHO = Question("who", "Who wrote it?", CONTEXT, ["Ada", "Ada wrote"], [0, 0])
WHEN = Question("when", "When was it?", CONTEXT, [], [])


def window(number, question, first, last):
    """[CLS] two tokens of question [SEP], the context's words from first to last, [SEP]."""
    starts = np.cumsum([0] + [len(word) + 1 for word in CONTEXT.split()])
    ends = starts[1:] - 1
    words = [(starts[i], ends[i]) for i in range(first, last)]
    return Window(number, question, np.array([(0, 0)] * 4 + words + [(0, 0)], dtype=np.int32))


@pytest.fixture
def split():
    windows = [
        window(0, WHO, 0, 5),
        window(0, WHO, 3, 8),
        window(1, WHEN, 0, 5),
        window(1, WHEN, 3, 8),
    ]
    ids = [list(range(len(w.offsets))) for w in windows]
    labels = [(4, 4), (0, 0), (0, 0), (0, 0)]
    return Split([("q", "c")] * 4, ids, ids, labels, 0, windows=windows)


def scored(split, peaks, cut=((0, 1), (2, 3)), **options):
    """Scores of logits that are 0 but for the peaks: (start, its logit, end, its logit) by row."""
    scores = QuestionAnswering(**options).scores(split)
    batches = Batches(split, cut)
    for number in range(len(batches)):
        batch = batches[number]
        rows = []
        for example in batch.examples.tolist():
            row = torch.zeros(len(split.input_ids[example]), 2)
            start, high, end, low = peaks[example]
            row[start, 0], row[end, 1] = high, low
            rows.append(row)
        scores.update(torch.cat(rows), batch)
    return scores


def answers(scores):
    return dict(zip(scores.examples()["id"], scores.examples()["answer"], strict=True))


def test_best_window_answers(split):
    peaks = [(4, 5.0, 5, 5.0), (5, 4.0, 6, 4.0), (4, 1.0, 4, 1.0), (8, 3.0, 8, 3.0)]
    for cut in (((0, 1), (2, 3)), ((3, 0), (1, 2))):
        assert answers(scored(split, peaks, cut)) == {"who": "Ada wrote", "when": "machine"}


def test_scores_are_those_of_the_questions(split):
    # the answer "first plan for" shares no word with the right ones, "Ada wrote the" two of two
    peaks = [(4, 5.0, 6, 5.0), (5, 1.0, 6, 1.0), (0, 9.0, 0, 9.0), (0, 9.0, 0, 9.0)]
    scores = scored(split, peaks, unanswerable=True)
    assert answers(scores) == {"who": "Ada wrote the", "when": ""}
    frame = scores.examples()
    # articles do not count
    assert frame["score"].tolist() == [1, 1]
    assert frame.index.tolist() == [0, 1]
    found = {name: float(value) for name, value in scores.compute().items()}
    assert found == {"exact_match": 1, "f1": 1}
    peaks[0] = (4, 5.0, 7, 5.0)
    found = scored(split, peaks, unanswerable=True).compute()
    assert float(found["exact_match"]) == 0.5
    assert float(found["f1"]) == pytest.approx((1 + 2 * (2 / 3) / (1 + 2 / 3)) / 2)


def test_no_answer_only_where_questions_may_have_none(split):
    peaks = [(0, 9.0, 0, 9.0)] * 4
    assert "" not in answers(scored(split, peaks)).values()
    assert set(answers(scored(split, peaks, unanswerable=True)).values()) == {""}
    unsure = scored(split, peaks, unanswerable=True, null_threshold=18.5)
    assert "" not in answers(unsure).values()


def test_one_window_with_an_answer_is_enough(split):
    # no answer in the second window: that must not overrule the first
    peaks = [(4, 5.0, 4, 5.0), (0, 9.0, 0, 9.0), (0, 1.0, 0, 1.0), (0, 1.0, 0, 1.0)]
    assert answers(scored(split, peaks, unanswerable=True)) == {"who": "Ada", "when": ""}


def test_question_and_special_tokens_are_no_answer(split):
    peaks = [(1, 50.0, 2, 50.0), (9, 50.0, 9, 50.0), (3, 50.0, 3, 50.0), (5, 1.0, 5, 1.0)]
    found = answers(scored(split, peaks))
    assert all(text and text in CONTEXT for text in found.values())


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_best_span_is_the_best_of_all(length, seed):
    random = np.random.default_rng(seed)
    start, end = random.normal(size=(2, length)).astype(np.float32)
    allowed = random.random(length) < 0.7
    allowed[random.integers(length)] = True
    spans = {
        (i, j): start[i] + end[j]
        for i in range(length)
        for j in range(i, min(i + 30, length))
        if allowed[i] and allowed[j]
    }
    first, last, score = best_span(start, end, allowed)
    assert (first, last) in spans
    assert score == max(spans.values())


def test_loss_is_over_the_tokens_of_each_row(split):
    rows = [0, 2, 3]
    batch = Batches(split, [rows])[0]
    task = QuestionAnswering()
    logits, other = torch.randn(2, len(batch.input_ids), 2)
    ones, others = (values.split(list(batch.layout.lengths)) for values in (logits, other))
    assert batch.labels.shape == (3, 2)
    losses = [
        F.cross_entropy(row[:, side][None], batch.labels[number, side][None])
        for number, row in enumerate(ones)
        for side in (0, 1)
    ]
    torch.testing.assert_close(task.loss(logits, batch), torch.stack(losses).mean())
    gold = sum(row[batch.labels[n, k], k] for n, row in enumerate(ones) for k in (0, 1))
    torch.testing.assert_close(task.gold(logits, batch), gold)
    divergences = [
        (p * (p / q).log()).sum(0).mean()
        for p, q in zip((r.softmax(0) for r in ones), (r.softmax(0) for r in others), strict=True)
    ]
    found = task.divergence(logits, other, batch)
    torch.testing.assert_close(found, torch.stack(divergences).mean())


def test_gradients_are_finite_beside_shorter_rows(split):
    short = Window(2, WHO, window(2, WHO, 0, 5).offsets[:6])
    ids = [[1] * 10, [1] * 6]
    uneven = Split(
        [("q", "c")] * 2, ids, ids, [(4, 5), (4, 4)], 0, windows=[split.windows[0], short]
    )
    batch = Batches(uneven, [[0, 1]])[0]
    logits = torch.randn(16, 2, requires_grad=True)
    task = QuestionAnswering()
    total = task.loss(logits, batch) + task.divergence(logits, torch.randn(16, 2), batch)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()
