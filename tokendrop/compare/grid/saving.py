"""The files beside a run's record: its answers, and what became of its tokens."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tokendrop.compare.grid.evaluate import Evaluation
from tokendrop.compare.grid.fate_counts import sample
from tokendrop.compare.results.fates import write_fates
from tokendrop.data import TextData
from tokendrop.files import write_text
from tokendrop.measure.token_kinds import Vocabulary
from tokendrop.models.model import TokenDropModel
from tokendrop.models.prediction import Prediction
from tokendrop.training.tracking import Run


def save_examples(out: Path, run: Run, examples: pd.DataFrame, folder: str) -> str:
    """The answers to every example, from which methods can be compared pair by pair.

    Args:
        out: output folder of the comparison.
        run: who answered.
        examples: see :meth:`tokendrop.tasks.Scores.examples`.
        folder: where in ``out``.

    Returns:
        the file's path from ``out``.
    """
    path = out / folder / f"{run.file_name}.csv"
    write_text(path, examples.to_csv(), summed=True)
    return str(path.relative_to(out))


def save_fates(
    out: Path,
    run: Run,
    found: Evaluation,
    shown: dict[int, Prediction],
    model: TokenDropModel,
    data: TextData,
) -> str:
    """What became of the tokens, which the report shows; returns the file's path from ``out``."""
    vocabulary = Vocabulary(model.tokenizer)
    # a question's number is not that of its windows, and tags say nothing of the whole text
    labelled = not model.shape.head.reads_tokens
    right = found.examples["label"].astype(str).to_dict() if labelled else {}
    # data may call its classes 0, 1, ...: the answer beside the label is in the model's words
    name = dict(zip(data.labels, model.labels, strict=False))
    labels = {row: name.get(label, label) for row, label in right.items()}
    samples = [sample(one, labels.get(row, ""), vocabulary) for row, one in shown.items()]
    path = out / "fates" / f"{run.file_name}.json"
    write_fates(path, found.counts.fates(samples, data.splits["test"].lengths))
    return str(path.relative_to(out))
