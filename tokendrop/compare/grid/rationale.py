"""What methods keep against what people marked, and against controls that keep as many tokens.

The controls come from the fine-tuned model that all methods start from. It also judges what is
kept: comprehensiveness and sufficiency are of its predictions, the same for every method and
control, so that only the choice of the tokens differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.data import TextData
from tokendrop.data.batching import Batches, chunks
from tokendrop.data.json_parts import json_hash
from tokendrop.data.split import Split
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.errors import UserError
from tokendrop.measure.rationale import Mask, agreement, faithfulness, over_rows, span_matches
from tokendrop.models.model import TokenDropModel
from tokendrop.progress import tracked
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.dense import Dense
from tokendrop.tasks import IGNORED
from tokendrop.training.saliency import batch_saliency

CONTROLS = ("saliency", "attention", "random")

Scores = dict[int, npt.NDArray[np.floating]]  # by number of the row: (tokens,), of all its tokens


class _ReceivedAttention(Reducer):
    """Drops nothing; remembers the attention each token received, summed over the layers."""

    received: Received = "with_diagonal"

    def start(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch.input_ids), device=batch.input_ids.device)

    def after_attention(self, view: View) -> Decision | None:
        assert view.received is not None
        view.memory.add_(view.received)
        return None


@dataclass(frozen=True, eq=False)
class Marked:
    """The rows of a split in which some token is of a marked word.

    Attributes:
        split: all rows.
        rows: the numbers of those.
        document: by row, (tokens,) true at tokens of the document.
        human: by row, (N,) true at marked ones among the document's tokens.
    """

    split: Split
    rows: list[int]
    document: dict[int, Mask]
    human: dict[int, Mask]

    @classmethod
    def of(cls, split: Split, task: str, column: str | None) -> Marked:
        """
        Args:
            split: the test rows of a task.
            task: its name.
            column: that was named for what is marked.

        Raises:
            UserError: no row has a rationale.
        """
        tokens = {
            row: np.array(rationale.tokens)
            for row, rationale in enumerate(split.rationales or [])
            if 1 in rationale.tokens
        }
        if not tokens:
            looked = "" if column is None else f" in its column {column!r}"
            raise UserError(
                f"no test row of {task} has a human rationale{looked}: name the column that marks "
                "the words with 'rationale' among the settings of its data, as "
                "configs/task/hatexplain.yaml does"
            )
        document = {row: marks != IGNORED for row, marks in tokens.items()}
        human = {row: marks[document[row]] == 1 for row, marks in tokens.items()}
        return cls(split, list(tokens), document, human)

    @property
    def lost(self) -> float:
        """The share of all marked words that lie behind the maximum length."""
        rationales = self.split.rationales or []
        return sum(r.cut for r in rationales) / sum(sum(r.marks) for r in rationales)

    def fingerprint(self, data: TextData) -> str:
        """A hash of the data and of what is marked in them, which no training depends on."""
        return json_hash([data.fingerprint(), [r.marks for r in self.split.rationales or []]], 2)

    @property
    def most_frequent_class(self) -> float:
        """The accuracy of an answer that is always the same."""
        labels = Counter(self.split.labels[row] for row in self.rows)
        return max(labels.values()) / len(self.rows)

    def accuracy(self, scores: Scores) -> float:
        """The share of the rows whose largest score, of (classes,) each, is their class's."""
        right = [int(scores[row].argmax()) == self.split.labels[row] for row in self.rows]
        return float(np.mean(right))

    def batches(self, size: int, what: str) -> Iterable[Batch]:
        """The rows with rationales in packed batches."""
        batches = Batches(self.split, chunks(self.rows, size))
        return tracked(batches, what, len(batches))


def _by_row(values: Tensor, batch: Batch) -> Scores:
    """(T,) values of a batch's tokens, or (B, classes) of its rows, by number of the row."""
    assert batch.examples is not None
    rows = values.split(batch.layout.lengths) if values.dim() == 1 else values.unbind()
    return {
        number: row.float().cpu().numpy()
        for number, row in zip(batch.examples.tolist(), rows, strict=True)
    }


class Judge:
    """The fine-tuned model: what it predicts, and the scores of the controls, worked out once."""

    def __init__(self, model: TokenDropModel, marked: Marked, batch_size: int, seed: int) -> None:
        """
        Args:
            model: fine-tuned; whatever it drops, its backbone is run dense.
            marked: the rows.
            batch_size: rows at a time.
            seed: of the random control.
        """
        self.backbone: PreTrainedModel = model.eval().backbone
        self.marked = marked
        self.batch_size = batch_size
        self.probabilities: Scores = {}
        self.scores: dict[str, Scores] = {control: {} for control in CONTROLS}
        generator = np.random.default_rng(seed)
        for batch in marked.batches(batch_size, "controls"):
            batch = batch.to(self.backbone.device)
            # inference mode would leave its mark on what the batch's layout remembers
            with torch.no_grad():
                encoded = encode(self.backbone, batch, _ReceivedAttention())
            self.probabilities.update(_by_row(encoded.logits.softmax(-1), batch))
            self.scores["attention"].update(_by_row(encoded.memory, batch))
            gradients = batch_saliency(self.backbone, batch, _predicted)
            self.scores["saliency"].update(_by_row(gradients, batch))
        for row in marked.rows:
            self.scores["random"][row] = generator.random(marked.split.lengths[row])

    @torch.inference_mode()
    def erased(self, stay: dict[int, Mask], what: str) -> Scores:
        """The probabilities of rows from which tokens were taken away.

        Args:
            stay: by row, (tokens,) true at those that stay.
            what: shown beside the progress bar.
        """
        split, found = self.marked.split, Scores()
        # short ones with short ones, whatever was taken away
        rows = sorted(stay, key=lambda row: int(stay[row].sum()))
        cut = chunks(rows, self.batch_size)
        for chunk in tracked(cut, what):
            batch = Batch.pack(
                [np.array(split.input_ids[row])[stay[row]].tolist() for row in chunk],
                [np.array(split.token_type_ids[row])[stay[row]].tolist() for row in chunk],
                examples=chunk,
            ).to(self.backbone.device)
            logits = encode(self.backbone, batch, Dense()).logits
            found.update(_by_row(logits.softmax(-1), batch))
        return found


def _predicted(logits: Tensor, batch: Batch) -> Tensor:
    return logits.max(-1).values.sum()


@torch.inference_mode()
def kept_tokens(
    model: TokenDropModel, marked: Marked, size: int
) -> tuple[dict[int, Mask], Scores, Scores]:
    """What a method keeps and answers; its score of a token is how many layers it went through.

    Kept are the tokens that were alive when the row left its last layer. A row that exits early
    has dropped none by that, so an exit alone keeps every token.

    Returns:
        by row, (tokens,) the mask of what is kept, (tokens,) the depths, and (classes,) the logits.
    """
    kept, depths, logits = {}, Scores(), Scores()
    model.eval()
    for batch in marked.batches(size, "method"):
        output = model(batch.to(model.backbone.device))
        depth = output.trace.token_depth()
        alive = depth == output.trace.row_depth()[batch.layout.row.cpu()]
        logits.update(_by_row(output.logits, batch))
        depths.update(_by_row(depth, batch))
        kept.update({row: mask > 0 for row, mask in _by_row(alive, batch).items()})
    return kept, depths, logits


def measure_agreement(model: TokenDropModel, judge: Judge) -> Iterator[dict[str, Any]]:
    """The method's row of the table, and those of the controls that keep as many tokens.

    Yields:
        ``source``, the method or a control; ``accuracy`` on these rows, a control's being the
        fine-tuned model's; ``kept``, the mean share of a document's tokens that is kept; and the
        metrics of :mod:`tokendrop.measure.rationale`.
    """
    marked = judge.marked
    method, depths, logits = kept_tokens(model, marked, judge.batch_size)
    counts = {row: int(method[row][marked.document[row]].sum()) for row in marked.rows}
    for source in ("method", *CONTROLS):
        answers, scores, kept = logits, depths, method
        if source != "method":
            answers, scores = judge.probabilities, judge.scores[source]
            kept = {r: top_tokens(scores[r], counts[r], marked.document[r]) for r in marked.rows}
        found = _agreement(judge, kept, scores, source)
        yield {"source": source, "accuracy": marked.accuracy(answers), **found}


def top_tokens(scores: npt.NDArray[np.floating], count: int, document: Mask) -> Mask:
    """(tokens,) the ``count`` best tokens of the document; of equal ones the earlier."""
    order = np.argsort(-np.where(document, scores, -np.inf), kind="stable")
    mask = np.zeros(len(scores), dtype=bool)
    mask[order[:count]] = True
    return mask


def _agreement(
    judge: Judge, kept: dict[int, Mask], scores: Scores, source: str
) -> dict[str, float]:
    marked = judge.marked
    document = marked.document
    without = judge.erased({r: ~(kept[r] & document[r]) for r in marked.rows}, f"{source}: removed")
    only = judge.erased({r: kept[r] | ~document[r] for r in marked.rows}, f"{source}: alone")
    rows = []
    for row in marked.rows:
        human, chosen = marked.human[row], kept[row][document[row]]
        rows.append(
            {
                "kept": float(chosen.mean()),
                **agreement(human, chosen, scores[row][document[row]]),
                **span_matches(human, chosen),
                **faithfulness(
                    *(values[row].tolist() for values in (judge.probabilities, without, only))
                ),
            }
        )
    return over_rows(rows)
