from dataclasses import replace

import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from tokendrop.data.batching import Batches
from tokendrop.data.rows import Rows
from tokendrop.data.split import Split
from tokendrop.errors import UserError
from tokendrop.tasks import Regression

GOLD = [0.0, 5.0, 2.5, 2.5, 3.2, 1.0]
FOUND = [0.5, 4.0, 2.0, 3.0, 3.0, 3.5]


@pytest.fixture
def split():
    ids = [[2, 7, 3]] * len(GOLD)
    return Split([("a",)] * len(GOLD), ids, ids, GOLD, 0)


def scored(split, found):
    scores = Regression().scores(split)
    batches = Batches(split, [[4, 1], [0, 3, 2], [5]])
    for number in range(len(batches)):
        batch = batches[number]
        scores.update(torch.tensor(found)[batch.examples][:, None], batch)
    return scores


def test_correlations_are_those_of_scipy(split):
    found = {name: float(value) for name, value in scored(split, FOUND).compute().items()}
    assert found == {
        "pearson": pytest.approx(pearsonr(FOUND, GOLD).statistic, abs=1e-6),
        "spearman": pytest.approx(spearmanr(FOUND, GOLD).statistic, abs=1e-6),
    }


@pytest.mark.parametrize(("base", "scale"), [(1.6e9, 100), (0, 1e25), (-3e6, 0.5)])
def test_correlations_of_amounts_of_any_size(split, base, scale):
    """Seconds since 1970 are nearly equal numbers in 32 bits, and large ones have no squares."""
    gold = [base + scale * number for number in GOLD]
    found = [float(torch.tensor(base + scale * number)) for number in FOUND]
    scores = scored(replace(split, labels=gold), found).compute()
    assert float(scores["pearson"]) == pytest.approx(pearsonr(found, gold).statistic, abs=1e-6)
    assert float(scores["spearman"]) == pytest.approx(spearmanr(found, gold).statistic, abs=1e-6)


def test_one_number_for_all_rows_is_nothing_to_learn():
    texts = [(f"film {number}",) for number in range(4)]
    whole = dict.fromkeys(("train", "dev", "test"), Rows(texts, [2.5] * 4, range(1, 5), "a.csv"))
    with pytest.raises(UserError, match=r"a\.csv: every training row has the number 2\.5"):
        Regression.class_names(whole, None)
    others = Rows(texts, [2.5, 2.5, 2.5, 0.0], range(1, 5), "a.csv")
    assert Regression.class_names(whole | {"train": others}, None) == []


def test_constant_answers_correlate_with_nothing(split):
    scores = scored(split, [1.5] * len(GOLD)).compute()
    assert {name: float(value) for name, value in scores.items()} == {"pearson": 0, "spearman": 0}


def test_examples_are_in_the_order_of_the_split(split):
    frame = scored(split, FOUND).examples()
    assert frame.index.tolist() == list(range(len(GOLD)))
    assert frame["value"].tolist() == pytest.approx(FOUND)
    assert frame["score"].tolist() == pytest.approx(
        [-((a - b) ** 2) for a, b in zip(FOUND, GOLD, strict=True)], rel=1e-5
    )


def test_loss_divergence_and_gold(split):
    batch = Batches(split, [[0, 1, 2]])[0]
    logits = torch.tensor([[1.0], [5.0], [4.0]])
    task = Regression()
    assert float(task.loss(logits, batch)) == pytest.approx((1 + 0 + 1.5**2) / 3)
    assert float(task.gold(logits, batch)) == 10
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(logits, 1.0), normal(torch.ones(3, 1), 1.0))
    found = task.divergence(logits, torch.ones(3, 1), batch)
    torch.testing.assert_close(found, expected.mean())
