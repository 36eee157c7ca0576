"""Fitting the floor of a task: TF-IDF of words and pairs of words, and a logistic regression."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from tokendrop.compare.results.floor import Floor, floor_path
from tokendrop.data import TextData
from tokendrop.data.split import Split
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.files import write_text
from tokendrop.tasks import Task

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of the regression; the dev split chooses


def check_floor(name: str, data: TextData, metric: str) -> None:
    """
    Raises:
        UserError: the task is not to find the class of a whole text, or too few rows are read.
    """
    task = data.make_task(metric)
    # a kind from outside may answer with something else than the classes of the rows
    if task.head.output != "class" or task.output_names(data.labels) != data.labels:
        raise UserError(
            f"task {name} is {task.title()}, which the TF-IDF floor cannot do: "
            "leave out floor, or compare this task on its own"
        )
    if len(set(data.splits["train"].labels)) < 2:
        raise UserError(
            f"the training rows of {name} are of one class, from which the TF-IDF floor learns "
            "nothing: read more rows, or leave out floor"
        )


def write_floor(name: str, data: TextData, metric: str, out: Path) -> None:
    """Fit the floor of a task, which is checked, and record it."""
    task = data.make_task(metric)
    train, dev, test = (data.splits[split] for split in ("train", "dev", "test"))
    started = time.perf_counter()
    # vectors this short are summed faster by one thread than shared out
    with threadpool_limits(1):
        models = {strength: _fit(train, strength) for strength in STRENGTHS}
    seconds = time.perf_counter() - started
    count = len(data.labels)
    on_dev = {
        strength: _metrics(task, dev, _logits(model, dev, count))[metric]
        for strength, model in models.items()
    }
    best = max(on_dev, key=on_dev.__getitem__)
    metrics = _metrics(task, test, _logits(models[best], test, count))
    value, rows = metrics[metric], data.fingerprint()
    floor = Floor(name, metric, value, metrics, best, round(seconds, 3), rows)
    write_text(floor_path(out, name), json.dumps(asdict(floor), indent=1), summed=True)


def _fit(split: Split, strength: float) -> Pipeline:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))
    return model.fit(_texts(split), split.labels)


def _texts(split: Split) -> list[str]:
    return [" ".join(parts) for parts in split.texts]


def _logits(model: Pipeline, split: Split, classes: int) -> Tensor:
    """(N, classes) log-probabilities; a class without training rows has none."""
    logits = torch.full((len(split), classes), -1e4)
    logits[:, model.classes_] = torch.from_numpy(model.predict_log_proba(_texts(split))).float()
    return logits


def _metrics(task: Task, split: Split, logits: Tensor) -> dict[str, float]:
    """The task's metrics of these answers, by the same code that scores the methods."""
    scores = task.scores(split)
    labels = Batch.pack(split.input_ids, labels=split.labels, examples=range(len(split)))
    scores.update(logits, labels)
    return scores.values(task.metric)
