import pytest
import torch
import torch.nn.functional as F
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

from tokendrop.data.batching import Batches
from tokendrop.data.split import Sentence, Split
from tokendrop.errors import UserError
from tokendrop.tasks import IGNORED, TokenClassification

LABELS = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]


def row(tags, places, length):
    labels = [IGNORED] * length
    for tag, place in zip(tags, places, strict=True):
        if place is not None:
            labels[place] = LABELS.index(tag)
    return Sentence(["w"] * len(tags), tags, places), labels


@pytest.fixture
def split():
    rows = [
        # the second word has two pieces
        row(["B-PER", "I-PER", "O", "B-LOC"], [1, 2, 4, 5], 7),
        row(["O", "B-LOC"], [1, 2], 4),
        # the last two words were cut off
        row(["O", "B-PER", "B-LOC", "I-LOC"], [1, 2, None, None], 4),
    ]
    ids = [list(range(len(labels))) for _, labels in rows]
    texts = [("w",)] * len(rows)
    return Split(texts, ids, ids, [labels for _, labels in rows], 1, [s for s, _ in rows])


def answers(batch, split, found):
    """Logits whose likeliest tag is the one named at each token."""
    tags = [tag for example in batch.examples.tolist() for tag in found[example]]
    return F.one_hot(torch.tensor([LABELS.index(tag) for tag in tags]), 5).float()


FOUND = [
    ["O", "B-PER", "I-PER", "B-LOC", "I-PER", "B-LOC", "O"],
    ["O", "B-PER", "B-LOC", "O"],
    ["O", "O", "B-PER", "B-LOC"],
]
WORDS = [["B-PER", "I-PER", "I-PER", "B-LOC"], ["B-PER", "B-LOC"], ["O", "B-PER", "O", "O"]]


def scored(split, found):
    scores = TokenClassification(LABELS).scores(split)
    batches = Batches(split, [[2, 0], [1]])
    for number in range(2):
        scores.update(answers(batches[number], split, found), batches[number])
    return scores


def test_scores_are_those_of_seqeval_with_lost_words_as_o(split):
    gold = [sentence.tags for sentence in split.sentences]
    found = {name: float(value) for name, value in scored(split, FOUND).compute().items()}
    assert found == {
        "accuracy": pytest.approx(accuracy_score(gold, WORDS)),
        "entity_f1": pytest.approx(f1_score(gold, WORDS)),
        "entity_precision": pytest.approx(precision_score(gold, WORDS)),
        "entity_recall": pytest.approx(recall_score(gold, WORDS)),
    }
    assert found["entity_recall"] < 1


def test_no_answer_names_an_entity(split):
    nothing = [["O"] * len(row) for row in split.input_ids]
    assert float(scored(split, nothing).compute()["entity_f1"]) == 0


def test_examples_are_sentences(split):
    frame = scored(split, FOUND).examples()
    assert frame["tags"].tolist() == [" ".join(tags) for tags in WORDS]
    assert frame["label"].tolist() == [" ".join(s.tags) for s in split.sentences]
    assert frame["score"].tolist() == [0, 0, 0]
    right = [["O", *split.sentences[1].tags, "O"] if i == 1 else FOUND[i] for i in range(3)]
    assert scored(split, right).examples()["score"].tolist() == [0, 1, 0]


def test_only_first_pieces_count(split):
    batch = Batches(split, [[0, 1, 2]])[0]
    task = TokenClassification(LABELS)
    logits = torch.randn(len(batch.input_ids), 5, requires_grad=True)
    scored_tokens = batch.labels != IGNORED
    assert int(scored_tokens.sum()) == 8
    picked, gold = logits[scored_tokens], batch.labels[scored_tokens]
    torch.testing.assert_close(task.loss(logits, batch), F.cross_entropy(picked, gold))
    torch.testing.assert_close(task.gold(logits, batch), picked[range(8), gold].sum())
    other = torch.randn_like(logits)
    p, q = (values[scored_tokens].softmax(-1) for values in (logits, other))
    expected = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(task.divergence(logits, other, batch), expected)
    (gradient,) = torch.autograd.grad(task.loss(logits, batch), logits)
    assert (gradient[~scored_tokens] == 0).all()


def test_tags_that_are_no_entities_are_scored_by_accuracy(split):
    with pytest.raises(UserError, match=r"tag 'NN' is neither O nor B-.*--model.metric accuracy"):
        TokenClassification(["NN", "VB"])
    sentence = Sentence(["w", "w"], ["NN", "VB"], [0, 1])
    words = Split([("w w",)], [[5, 6]], [[0, 0]], [[0, 1]], 0, [sentence])
    scores = TokenClassification(["NN", "VB"], "accuracy").scores(words)
    scores.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), Batches(words, [[0]])[0])
    assert {name: float(value) for name, value in scores.compute().items()} == {"accuracy": 0.5}
