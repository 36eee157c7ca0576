"""How well the tokens that a method keeps agree with those that people marked as the reason.

Everything is of one row at a time, over the N tokens of its document; special tokens and, in a
pair, the first text are left out. ERASER: DeYoung et al., ACL 2020, sections 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]

MATCH = 0.5  # overlap from which two spans are the same one, as in ERASER


def agreement(human: Mask, kept: Mask, scores: Floats) -> dict[str, float]:
    """The agreement of a row's kept tokens and scores with its rationale.

    - ``false_positive_rate``: kept tokens that nobody marked, over all tokens that nobody marked;
      nan where people marked every token. AdapLeR (Modarressi et al., ACL 2022) compares methods by
      it, without code for it: the definition is ours, and so is that methods are compared at the
      same number of kept tokens.
    - ``precision``, ``recall``, ``token_f1``: of kept against marked tokens; 0 where nothing is
      kept.
    - ``auprc``: area under the precision-recall curve of the scores, as average precision. ERASER
      joins the points of the curve by straight lines, which rewards ties: equal scores for all
      tokens would have an area above one half. As average precision they have the share of marked
      tokens.

    Args:
        human: (N,) marked by people, at least one token.
        kept: (N,) kept by the method.
        scores: (N,) how much a token matters to the method.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(
        human, kept, average="binary", zero_division=0
    )
    return {
        "false_positive_rate": float(kept[~human].mean()) if not human.all() else math.nan,
        "precision": float(precision),
        "recall": float(recall),
        "token_f1": float(f1),
        "auprc": float(average_precision_score(human, scores)),
    }


def spans(mask: Mask) -> list[tuple[int, int]]:
    """First token of each run of true ones, and the one behind its last."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def span_matches(human: Mask, kept: Mask) -> dict[str, float]:
    """Precision and recall of the runs of kept tokens against the runs of marked ones.

    A kept run is right if it and some marked run share at least half of the tokens that either
    has. Precision is nan where nothing is kept.
    """
    marked, found = spans(human), spans(kept)
    right = sum(any(_overlap(one, other) >= MATCH for other in marked) for one in found)
    return {
        "iou_precision": right / len(found) if found else math.nan,
        "iou_recall": right / len(marked),
    }


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Intersection over union of two spans."""
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / ((one[1] - one[0]) + (other[1] - other[0]) - shared)


def faithfulness(
    whole: Sequence[float], without_kept: Sequence[float], only_kept: Sequence[float]
) -> dict[str, float]:
    """By how much the probability of the predicted class falls; ERASER, section 5.

    ``comprehensiveness``: when the kept tokens are removed; large if they mattered.
    ``sufficiency``: when they alone are left; small if they are enough.

    Args:
        whole: (classes,) probabilities from the whole row, whose largest is the prediction.
        without_kept: the same without the kept tokens.
        only_kept: the same with no other tokens of the document.
    """
    predicted = int(np.argmax(whole))
    return {
        "comprehensiveness": whole[predicted] - without_kept[predicted],
        "sufficiency": whole[predicted] - only_kept[predicted],
    }


def over_rows(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over rows of what is defined there, with ``iou_f1`` in place of its two parts.

    As in ERASER, that is the F1 of the mean precision and the mean recall of the spans, while
    ``token_f1`` is a mean of F1.
    """
    means = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        defined = values[~np.isnan(values)]
        means[name] = float(defined.mean()) if len(defined) else math.nan
    precision, recall = np.nan_to_num(means.pop("iou_precision")), means.pop("iou_recall")
    total = float(precision) + recall
    means["iou_f1"] = 2 * float(precision) * recall / total if total else 0.0
    return means
