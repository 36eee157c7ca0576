"""A finished stage of a recipe, marked in its folder and found again there."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tokendrop.files import write_text
from tokendrop.models.cards import REWRITTEN
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.own_code import changed_code, code_of
from tokendrop.stored import read_json
from tokendrop.sums import LIST, changed_of, is_changed, line_of, listed
from tokendrop.training.processes import is_first, wait

log = logging.getLogger(__name__)

MARKER = "done.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the training of a stage gave and cost, as its marker says.

    Attributes:
        seconds: training time, over all its resumptions, and that of the saliencies it begins with.
        flops: of the same work: all passes of the training steps forward and backward, the passes
            over the dev split that its epoch is chosen by, and the saliencies.
        curve: the logged metrics after each epoch.
        chosen: those of the epoch whose weights are kept.
        scores: what of ``flops`` went into scores of the training rows, by name. They are stored
            beside the fine-tuning, so that only the first training of a folder spends it really.
        epoch_flops: of a model that was taken as it is, what one epoch of fine-tuning it would
            cost; 0 of all other stages.
        code: that of the reducer's classes that are somebody's own, see
            :func:`tokendrop.reducers.own_code.code_of`.
    """

    name: str
    epochs: int
    seconds: float
    flops: int
    curve: list[dict[str, float]]
    chosen: dict[str, float]
    scores: dict[str, int] = field(default_factory=dict)
    epoch_flops: int = 0
    code: dict[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> int:
        """Of a first stage: the FLOPs that what follows is said to cost multiples of."""
        return self.flops or self.epoch_flops


@dataclass(frozen=True, kw_only=True)
class TrainedStage(Outcome):
    """A finished stage.

    Attributes:
        folder: the stage's folder; the model lies in ``model`` inside it.
    """

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"


def finished(folder: Path) -> TrainedStage | None:
    """A finished stage, or None. The marker is written last, so what it marks is complete.

    A stage of which a file has changed since is removed, which is said: it is no longer the one
    that its numbers are of.

    Raises:
        UserError: the marker is another version's.
    """
    marker = folder / MARKER
    if not marker.is_file():
        return None
    if changed := _changed(folder):
        log.warning("%s is torn or was changed: its stage is trained again", changed)
        shutil.rmtree(folder)
        return None
    what = "the mark of a stage that this version trained"
    done = read_json(marker, Outcome, what, "remove its folder to train it again")
    return TrainedStage(folder=folder, **vars(done))


def tell_changed(found: Iterable[TrainedStage | None], reducer: Reducer) -> None:
    """Say which finished stages a method of somebody's own was trained in with other code."""
    now = code_of(reducer)
    for stage in filter(None, found):
        for path in changed_code(stage.code, now):
            log.warning(
                f"{stage.folder} was trained before the code of {path} changed, and is taken as it "
                f"is: where its training has changed, count recipe of the class up (it is "
                f"{reducer.recipe}), or name another folder"
            )


def finish(stage: TrainedStage) -> TrainedStage:
    """Mark a stage as finished; all else that is kept of it has to lie in its folder."""
    if is_first():
        content = {key: value for key, value in vars(stage).items() if key != "folder"}
        text = json.dumps(content, indent=1)
        files = [file for file in stage.model.rglob("*") if file.is_file()]
        kept = [file for file in files if file.relative_to(stage.model).as_posix() not in REWRITTEN]
        marked = line_of(hashlib.sha256(text.encode()).hexdigest(), MARKER)
        write_text(stage.folder / LIST, listed(stage.folder, kept) + marked)
        write_text(stage.folder / MARKER, text)
    wait()
    # the clocks of several processes differ
    return stage if is_first() else finished(stage.folder) or stage


def _changed(folder: Path) -> Path | None:
    """What is no longer as it was when the stage ended."""
    if changed := changed_of(folder):
        return changed
    for file in folder.glob("epoch*.safetensors"):
        if is_changed(file):
            return file
    marker = folder / MARKER
    try:
        json.loads(marker.read_bytes())
    except ValueError:
        return marker
    return None
