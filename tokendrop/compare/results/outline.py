"""What tables and reports read of the free-form fields of a run's record, by name and type.

A record may hold more there, as a method of one's own describes itself in its ``details``; but what
is read has to be what it is taken for, since the record may be a stranger's or edited by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tokendrop.stored import outlined

Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class _Timing:
    """Seconds of the contenders over so many rows."""

    method: Number | None = None
    packed_dense: Number | None = None
    padded_dense: Number | None = None
    rows: int | None = None
    noise: Number = 0.0
    peak_mib: dict[str, Number | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Epoch:
    epoch: Number
    metrics: dict[str, float]


@dataclass(frozen=True)
class _Stage:
    name: str
    epochs: int
    seconds: Number
    flops: Number
    curve: list[_Epoch]
    epoch_flops: Number = 0.0


def _priced(stages: list[_Stage]) -> list[_Stage]:
    """All costs are told in multiples of the first stage's."""
    if stages and not (stages[0].flops or stages[0].epoch_flops):
        raise ValueError("the first stage has no FLOPs")
    return stages


@dataclass(frozen=True)
class _Tuning:
    trials: int
    cost: Number


@dataclass(frozen=True)
class _Details:
    caveat: str | None = None
    engine: str | None = None
    model: str | None = None
    tuning: _Tuning | None = None


@dataclass(frozen=True)
class _Machine:
    cpu: str
    gpus: list[str] | None = None


@dataclass(frozen=True)
class _Run:
    task: str
    method: str


@dataclass(frozen=True)
class _Config:
    run: _Run | None = None
    recipe: int = 1
    random_init: dict[str, Any] | None = None
    fine_tune: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    task_data: dict[str, dict[str, Any]] | None = None


Config = Annotated[dict[str, Any], outlined(_Config)]
"""The settings that a run was made with."""


@dataclass(frozen=True)
class _Provenance:
    config: Config = field(default_factory=dict)
    versions: dict[str, str] | None = None
    hardware: str | _Machine | None = None
    threads: int = 1


Timings = Annotated[dict[str, Any], outlined(dict[str, _Timing])]
Stages = Annotated[list[dict[str, Any]], outlined(Annotated[list[_Stage], AfterValidator(_priced)])]
Details = Annotated[dict[str, Any], outlined(_Details)]
Provenance = Annotated[dict[str, Any], outlined(_Provenance)]
