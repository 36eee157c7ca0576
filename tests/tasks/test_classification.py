import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import matthews_corrcoef

from tokendrop.data.batching import Batches
from tokendrop.data.split import Split
from tokendrop.errors import UserError
from tokendrop.tasks import SequenceClassification


def split_of(labels):
    ids = [[2, 7, 3]] * len(labels)
    return Split([("a",)] * len(labels), ids, ids, labels, 0)


def matthews(found, gold, classes):
    split = split_of(gold)
    scores = SequenceClassification([str(c) for c in range(classes)], "matthews").scores(split)
    for batch in (Batches(split, [[i] for i in range(len(gold))])[i] for i in range(len(gold))):
        scores.update(F.one_hot(torch.tensor(found), classes)[batch.examples].float(), batch)
    return float(scores.compute()["matthews"])


@pytest.mark.parametrize("classes", [2, 3])
def test_matthews_is_that_of_scikit_learn(classes):
    found = torch.randint(classes, (80,)).tolist()
    gold = torch.randint(classes, (80,)).tolist()
    expected = matthews_corrcoef(gold, found)
    assert matthews(found, gold, classes) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_matthews_of_a_constant_is_0(classes):
    gold = [0, 1, 1]
    assert matthews([1, 1, 1], gold, classes) == 0
    assert matthews(gold, [1, 1, 1], classes) == 0
    assert matthews([1, 1, 1], [1, 1, 1], classes) == 0


def test_weighted_loss():
    split = split_of([0, 1, 1, 2])
    batch = Batches(split, [[0, 1, 2, 3]])[0]
    logits = torch.randn(4, 3)
    each = F.cross_entropy(logits, batch.labels, reduction="none")
    weights = torch.tensor([3.0, 0.5, 2.0])[batch.labels]
    task = SequenceClassification(["a", "b", "c"], class_weights=[3.0, 0.5, 2.0])
    torch.testing.assert_close(task.loss(logits, batch), (each * weights).sum() / weights.sum())


def test_metric_of_another_kind():
    with pytest.raises(UserError, match=r"'pearson' does not measure classification: .*accuracy"):
        SequenceClassification(["a", "b"], "pearson")


def test_a_class_that_would_hide_a_column_of_the_predictions_is_named():
    with pytest.raises(UserError, match="'score'"):
        SequenceClassification(["good", "score"])
