"""Evaluated configurations on disk, so that an interrupted search goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from tokendrop.data.json_parts import json_hash
from tokendrop.data.split import Split
from tokendrop.errors import UserError
from tokendrop.files import write_text
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.length_adaptive.search.front import Configuration
from tokendrop.stored import parsed
from tokendrop.tasks import Task

log = logging.getLogger(__name__)

CHUNK = 20  # configurations evaluated between two writes


@dataclass(frozen=True)
class _Evaluated:
    """A line of the file."""

    configuration: Configuration
    score: float
    seconds: float
    flops: float
    chunk: str | None = None
    """A checksum of all lines that were written at once; None in files of earlier versions."""


class Store:
    """Scores by configuration; each is worked out once, also over several runs.

    Attributes:
        known: score of every configuration evaluated so far, in all runs.
        seconds: time that evaluating each took.
        flops: and its FLOPs: an equal share of what was run for those evaluated together.
    """

    def __init__(
        self,
        path: Path,
        evaluate: Callable[[Sequence[Configuration]], tuple[list[float], int]],
        advance: Callable[[int], None],
    ) -> None:
        """
        Args:
            path: one line of JSON per configuration. Of configurations that were evaluated
                together all lines must be whole; if one is torn or was changed, all of them are
                evaluated again.
            evaluate: scores of new configurations, and the FLOPs of finding them.
            advance: told how many configurations are done.
        """
        self.path = path
        self.evaluate = evaluate
        self.advance = advance
        self.known: dict[Configuration, float] = {}
        self.seconds: dict[Configuration, float] = {}
        self.flops: dict[Configuration, float] = {}
        if path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        lines = [line for line in content.splitlines() if line]
        read = [found for line in lines if (found := _parsed(line))]
        kept: list[_Evaluated] = []
        for chunk, group in groupby(read, lambda one: one.chunk):
            together = list(group)
            if chunk is None or chunk == _sum(together):
                kept += together
        for found in kept:
            self.known[found.configuration] = found.score
            self.seconds[found.configuration] = found.seconds
            self.flops[found.configuration] = found.flops
        if lost := len(lines) - len(kept):
            log.warning(
                "%s: %d of %d lines are torn or were changed, what they said is evaluated again",
                *(path, lost, len(lines)),
            )
        # what a kill left of a line must not swallow the next one
        if lost or not content.endswith(b"\n"):
            write_text(path, "".join(f"{json.dumps(asdict(one))}\n" for one in kept))

    def scores(self, configurations: Sequence[Configuration]) -> list[float]:
        """Scores of configurations, known or new."""
        # in this order neighbours share their first layers
        new = sorted(set(configurations) - self.known.keys())
        self.advance(len(configurations) - len(new))
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            begun = time.perf_counter()
            scores, flops = self.evaluate(chunk)
            each = (time.perf_counter() - begun) / len(chunk)
            self.seconds.update(dict.fromkeys(chunk, each))
            self.flops.update(dict.fromkeys(chunk, flops / len(chunk)))
            self.known.update(zip(chunk, scores, strict=True))
            self._append(chunk, scores)
            self.advance(len(chunk))
        return [self.known[configuration] for configuration in configurations]

    def _append(self, chunk: list[Configuration], scores: list[float]) -> None:
        evaluated = [
            _Evaluated(one, score, round(self.seconds[one], 4), self.flops[one])
            for one, score in zip(chunk, scores, strict=True)
        ]
        chunk_sum = _sum(evaluated)
        lines = [json.dumps(asdict(replace(one, chunk=chunk_sum))) for one in evaluated]
        try:
            with self.path.open("ab") as file:
                file.write(("\n".join(lines) + "\n").encode())
        except OSError as error:
            raise UserError(
                f"cannot write {self.path} ({error.strerror}): make room; the same command "
                "continues from here"
            ) from error


def _parsed(line: bytes) -> _Evaluated | None:
    try:
        return parsed(line, _Evaluated)
    except ValidationError:
        return None


def _sum(together: Sequence[_Evaluated]) -> str:
    lines = [json.dumps(asdict(replace(one, chunk=None))) for one in together]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fingerprint(model: TokenDropModel, split: Split, rows: Sequence[int], task: Task) -> str:
    """A hash of all that a score depends on: weights, method, rows, right answers and metric."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    described = {
        "reducer": model.reducer.spec(trained=True),
        "longest": model.shape.max_tokens,
        "rows": [[split.input_ids[row], split.token_type_ids[row]] for row in rows],
        "labels": [split.labels[row] for row in rows],
        "metric": task.metric,
    }
    # such as all the right answers to a question, of which its labels are one; of kinds that score
    # by their labels nothing is added, so that what earlier versions evaluated is found
    scored = json_hash(task.content(split), 2)
    if scored != json_hash([split.texts, split.labels], 2):
        described["scored"] = scored
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()[:16]
