"""What was measured on a model, and the card that says what it is and does."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from tokendrop.files import write_text
from tokendrop.heads import Head
from tokendrop.holding import one_writer
from tokendrop.measure.measures import SPEEDUPS
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.reducers.given import description_of
from tokendrop.reducers.stored import describes, to_be_trusted
from tokendrop.stored import read_json

T = TypeVar("T")

METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "entity_f1": "f1",
}
"""What the Hugging Face Hub calls a metric where that is not our name."""

SIDE_CAR = "reducer"
DESCRIBED = f"{SIDE_CAR}/config.json"
"""By which a model folder of this package is known."""
CARD = "README.md"
FIGURES = "figures.json"
REWRITTEN = (CARD, f"{SIDE_CAR}/{FIGURES}")
"""Files of a model that are written again whenever it is measured."""
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured on a model at one operating point.

    Attributes:
        task, backbone: names of the data and of the encoder that training began with.
        split: where; on "dev" the weights were chosen as well.
        examples: how many rows.
        metrics: the task's, by name.
        kept_tokens: mean over rows of the share of token-layers processed.
        layers: mean number of layers of a row.
        speedups: those of :data:`tokendrop.measure.measures.SPEEDUPS` that were measured, by their
            names; ratios above 1 are faster.
        provenance: command, versions and hardware, see
            :func:`tokendrop.measure.provenance.provenance`.
    """

    task: str
    backbone: str
    split: Literal["dev", "test"]
    examples: int
    metrics: dict[str, float]
    kept_tokens: float
    layers: float
    seed: int
    speedups: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ModelSummary:
    """What a card tells of a model.

    Attributes:
        reducer: the method.
        shape: the backbone's sizes.
        backbone_type: its architecture, as Hugging Face calls it.
        head: what it answers with.
        labels: class names in the order of the logits.
        pairs: whether it learned from pairs of texts.
        figures: what was measured at this operating point, None if nothing was.
    """

    reducer: Reducer
    shape: Shape
    backbone_type: str
    head: Head
    labels: list[str]
    pairs: bool
    figures: Figures | None


@dataclass(frozen=True)
class _Entry:
    """The figures of one operating point."""

    reducer: dict[str, Any]
    figures: Figures


# -- figures ------------------------------------------------------------------------------------


def write_figures(folder: Path, model: ModelSummary) -> None:
    """Keep a model's figures in the folder that it was loaded from, and update the card there.

    A folder holds figures for each operating point that was measured, and the card of the one it
    is loaded at.

    Raises:
        OSError, UserError: they cannot be written, or another process keeps at it.
    """
    file = _figures_file(folder)
    # two evaluations may end at the same time, at different operating points
    with one_writer(file, "--checkpoint", seconds=30):
        entries = [entry for entry in _entries(file) if not describes(entry.reducer, model.reducer)]
        if model.figures:
            entries.append(_Entry(model.reducer.spec(), model.figures))
        if entries:
            write_text(file, json.dumps([asdict(entry) for entry in entries], indent=1) + "\n")
        described = json.loads((folder / DESCRIBED).read_text(encoding="utf-8"))
        if describes(described["reducer"], model.reducer):
            write_text(folder / CARD, str(card(model)))


def read_figures(folder: Path, reducer: Reducer) -> Figures | None:
    """What was measured on the model in a folder at the reducer's operating point."""
    entries = _entries(_figures_file(folder))
    return next((e.figures for e in entries if describes(e.reducer, reducer)), None)


def _figures_file(folder: Path) -> Path:
    return folder / SIDE_CAR / FIGURES


def _entries(file: Path) -> list[_Entry]:
    if not file.is_file():
        return []
    return read_json(file, list[_Entry], "a list of figures", "delete it")


# -- the card -----------------------------------------------------------------------------------


def card(model: ModelSummary, place: str = "FOLDER OR HUB NAME") -> ModelCard:
    """What a model is, how to load it, and what was measured on it, if anything was.

    Args:
        model: to describe.
        place: what readers load it by.
    """
    reducer, figures, shape = model.reducer, model.figures, model.shape
    method = type(reducer).__name__
    made = figures.provenance if figures else {}
    # read from the folder, so they may be anything
    hardware: dict[str, Any] = _or(made.get("hardware"), {})
    versions: dict[str, Any] = _or(made.get("versions"), {})
    gpus: list[Any] = _or(hardware.get("gpus"), [])
    backbone = _backbone(figures)
    title = f"{method} on {figures.task}" if figures else method
    data = ModelCardData(
        library_name="tokendrop",
        pipeline_tag=model.head.pipeline,
        tags=["token-dropping", method],
        base_model=backbone if "/" in backbone else None,
        model_name=title,
        eval_results=list(_results(figures, model.head)),
    )
    learned = description_of(reducer)
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=title,
        head=model.head,
        auto=model.head.auto.__name__,
        architecture=f"{model.backbone_type} ({shape.layers} layers, {shape.hidden} wide)",
        method=method,
        decides=(inspect.getdoc(type(reducer)) or method).splitlines()[0],
        note=reducer.note,
        reference=reducer.reference,
        backbone=backbone or "not recorded",
        task=figures.task if figures else "not recorded",
        classes=", ".join(model.labels),
        pairs=model.pairs,
        max_length=shape.max_tokens,
        reducer=yaml.safe_dump(reducer.spec(), sort_keys=False),
        learned=yaml.safe_dump(learned, sort_keys=False) if learned else "",
        place=place,
        trust=to_be_trusted(reducer.spec()),
        figures=figures,
        speedups=list(_speedups(figures)),
        hardware=", ".join(map(str, [*gpus, hardware.get("cpu", "not recorded")])),
        versions=", ".join(f"{k} {v}" for k, v in versions.items()),
    )


def _results(figures: Figures | None, head: Head) -> Iterator[EvalResult]:
    """What was measured, in the form in which the Hugging Face Hub shows it."""
    if figures is None:
        return
    for name, value in figures.metrics.items():
        yield EvalResult(
            task_type=head.pipeline,
            dataset_type=figures.task,
            dataset_name=figures.task,
            dataset_split=figures.split,
            metric_type=METRICS.get(name, name),
            metric_name=name,
            metric_value=round(value, 6),
        )


def _speedups(figures: Figures | None) -> Iterator[tuple[str, str]]:
    for measure in SPEEDUPS:
        value = figures.speedups.get(measure.name) if figures else None
        yield measure.card, "not measured" if value is None else measure.show(value)


def _or(value: Any, other: T) -> T:
    """The value if it is of the other's type, else the other."""
    return value if isinstance(value, type(other)) else other


def _backbone(figures: Figures | None) -> str:
    """The encoder that training began with; of a folder its name only, not where it lies."""
    if figures is None:
        return ""
    folder = Path(figures.backbone)
    return folder.name if folder.exists() else figures.backbone
