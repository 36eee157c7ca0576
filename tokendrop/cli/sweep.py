"""A W&B sweep file as a comparison, so that it runs without an account or a server.

The file's command is a ``tokendrop fit``; its parameters become operating points of that method, or
the space that it is tuned over.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from tokendrop.bounds import Count, Share, check
from tokendrop.cli.lightning_cli import parse
from tokendrop.cli.sweep_command import fit_words, task_among
from tokendrop.configs import read_config
from tokendrop.data.settings import DataSettings
from tokendrop.errors import UserError
from tokendrop.training.tracking import CHOSEN
from tokendrop.training.trainer_options import WHOLE, check_alone, limit_of

# what a parameter may change: the method's arguments, which is what an operating point is
CHANGEABLE = ("model.reducer.init_args.", "model.reducer.")
KEYS = {"name", "description", "project", "entity", "program", "command", "method", "metric"}
KEYS |= {"parameters", "run_cap"}
# how a parameter says its values, with what may stand beside
FORMS = {
    "value": {"distribution"},
    "values": {"distribution", "probabilities"},
    "min": {"max", "distribution"},
}


def read_sweep(path: Path) -> dict[str, Any]:
    """The settings of a comparison that runs a sweep.

    A grid gives every combination, the first ``run_cap`` where that is said, and "random" so many
    draws by the seed of the command.
    "bayes" makes it a tuned method: of ``run_cap`` trials the best on the dev split is run.

    The dense model comes first, as what the points are compared with.

    Raises:
        UserError: no sweep, or one that only W&B can run.
    """
    sweep = read_config(path)
    if unknown := sorted(set(sweep) - KEYS):
        raise UserError(f"{path}: {unknown[0]} is only for W&B's server: leave it out to run here")
    for key in ("command", "method", "parameters"):
        if key not in sweep:
            raise UserError(f"{path} has no {key!r}, so it is no sweep of W&B that runs here")
    if not _are_ranges(sweep["parameters"]):
        raise UserError(f"{path}: parameters must be 'name: {{values: [...]}}' or the like")
    words = fit_words(path, sweep["command"])
    task = task_among(words)
    if task is None:
        raise UserError(
            f"{path}: the command names no task: add --config=configs/task/NAME.yaml, or a file of "
            "your own that says under data where its rows lie"
        )
    cli = parse(words)
    check_alone(cli.trainer)
    if limit := limit_of(cli.trainer, *WHOLE):
        raise UserError(f"{path}: a comparison sees all batches: leave {limit} out of the command")
    arguments = {_argument(path, name): given for name, given in sweep["parameters"].items()}
    for name, given in arguments.items():
        _check_form(path, name, given)
    seed = int(cli.config.seed_everything)
    kind = sweep["method"]
    if kind not in ("grid", "random", "bayes"):
        raise UserError(f"{path}: unknown method {kind!r}: use grid, random or bayes")
    cap = sweep.get("run_cap")
    if cap is not None:
        check({"run_cap": cap}, {"run_cap": Count}, f"{path}: ")
    elif kind != "grid":
        raise UserError(f"{path}: method {kind} never ends by itself: say 'run_cap: 10'")
    if kind == "bayes":
        runs = _tuned(path, sweep, arguments, cli.model.metric)
    else:
        runs = {"operating_points": _named(list(_points(path, sweep, arguments, seed)))}
    of_task = read_config(Path(task))
    if cli.model.metric != (metric := of_task.get("model", {}).get("metric", cli.model.metric)):
        raise UserError(
            f"{path}: the command asks for {cli.model.metric}, and a comparison measures {metric}, "
            f"as {task} says: leave --model.metric out, or name a task of your own"
        )
    defaults = {k: x.default for k, x in inspect.signature(DataSettings).parameters.items()}
    usual = defaults | of_task.get("data", {})
    data = {k: v for k, v in cli.config.data.as_dict().items() if k != "tokenizer"}
    method = cli.model.reducer_spec
    return {
        "backbone": cli.model.backbone,
        "random_init": cli.model.random_init,
        "tasks": [task],
        "data": {k: v for k, v in data.items() if v != usual[k]},
        "seeds": [seed],
        "precision": cli.trainer.precision,
        "compile": cli.model.compiled,
        "patience": cli.model.patience,
        "fine_tune": cli.model.fine_tune and dataclasses.asdict(cli.model.fine_tune),
        "loggers": list(cli.config.loggers),
        "methods": {
            "dense": {"reducer": "Dense"},
            path.stem: {
                "reducer": method["class_path"],
                "arguments": method.get("init_args", {}),
                **runs,
            },
        },
    } | ({"tune": {"trials": cap, "seed": seed}} if kind == "bayes" else {})


def _are_ranges(parameters: Any) -> bool:
    return (
        isinstance(parameters, dict)
        and bool(parameters)
        and all(isinstance(x, dict) for x in parameters.values())
    )


def _argument(path: Path, name: str) -> str:
    """The reducer's argument that a parameter changes."""
    for prefix in CHANGEABLE:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    raise UserError(
        f"{path}: parameter {name!r} is no argument of the method (model.reducer.init_args.*), and "
        "only these can be swept without W&B; give --seeds to compare for several seeds"
    )


def _check_form(path: Path, name: str, given: Mapping[str, Any]) -> None:
    """Raise for what would be ignored in a parameter: misspelt, of another form, or only W&B's."""
    form = next((form for form in FORMS if form in given), None)
    if form is not None and (idle := sorted(set(map(str, given)) - {form} - FORMS[form])):
        raise UserError(f"{path}: {name}.{idle[0]} says nothing beside {form!r}: leave one out")


def _named(points: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Points by what they change, with all digits where six do not tell them apart."""
    for show in (_short, str):
        named = {",".join(f"{k}={show(v)}" for k, v in point.items()): point for point in points}
        if all(point in named.values() for point in points):
            break
    return named


def _tuned(
    path: Path, sweep: Mapping[str, Any], parameters: Mapping[str, Any], metric: str
) -> dict[str, Any]:
    """The space of a sweep that is searched for the best of a metric."""
    goal = {"name": CHOSEN + metric, "goal": "maximize"}
    if sweep.get("metric") != goal:
        raise UserError(
            f"{path}: only what the task is scored by is searched for here: say 'metric: {{name: "
            f"{goal['name']}, goal: maximize}}'"
        )
    for name, given in parameters.items():
        if "probabilities" in given:
            raise UserError(
                f"{path}: {name} has probabilities, which a Bayesian search finds itself: leave "
                "them out, or use method random"
            )
    return {"space": {name: _range(path, name, given) for name, given in parameters.items()}}


def _points(
    path: Path, sweep: Mapping[str, Any], parameters: Mapping[str, Any], seed: int
) -> Iterator[dict[str, Any]]:
    """Values by argument."""
    if sweep["method"] == "grid":
        choices = [_choices(path, name, given) for name, given in parameters.items()]
        every = (dict(zip(parameters, values, strict=True)) for values in product(*choices))
        yield from islice(every, sweep.get("run_cap"))
        return
    generator = np.random.default_rng(seed)
    for _ in range(sweep["run_cap"]):
        yield {name: _draw(path, name, given, generator) for name, given in parameters.items()}


def _choices(path: Path, name: str, given: Mapping[str, Any]) -> list[Any]:
    if "values" in given:
        values = given["values"]
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: {name}.values {values!r} is no list: use 'values: [...]'")
        return values
    if "value" in given:
        return [given["value"]]
    raise UserError(f"{path}: {name} needs 'values: [...]', or one 'value', in a grid")


def _draw(path: Path, name: str, given: Mapping[str, Any], generator: np.random.Generator) -> Any:
    """One value, from the distributions of W&B that are drawn here."""
    among = _range(path, name, given)
    if "choices" in among:
        choices = among["choices"]
        shares = _probabilities(path, name, given, len(choices))
        return choices[generator.choice(len(choices), p=shares)]
    low, high = among["low"], among["high"]
    if isinstance(low, int):
        return int(generator.integers(low, high, endpoint=True))
    if "log" in among:
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    return float(generator.uniform(low, high))


def _probabilities(
    path: Path, name: str, given: Mapping[str, Any], count: int
) -> list[float] | None:
    """How likely each of so many values is, None for all alike."""
    shares = given.get("probabilities")
    if shares is None:
        return None
    place = f"{path}: {name}."
    check({"probabilities": shares}, {"probabilities": list[Share]}, place)
    if len(shares) != count or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise UserError(
            f"{place}probabilities {shares} are {len(shares)} with a sum of {sum(shares):g}: give "
            f"each of the {count} values one, with a sum of 1"
        )
    return [share / sum(shares) for share in shares]


def _range(path: Path, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter as a range of a comparison's space."""
    if "values" in given or "value" in given:
        return {"choices": _choices(path, name, given)}
    low: Any = given.get("min")
    high: Any = given.get("max")
    if not (_is_number(low) and _is_number(high)) or low >= high:
        raise UserError(f"{path}: {name} needs 'values', or a number 'min' below a 'max'")
    whole = isinstance(low, int) and isinstance(high, int)
    kind = given.get("distribution", "int_uniform" if whole else "uniform")
    if kind == "int_uniform":
        if (int(low), int(high)) != (low, high):
            raise UserError(
                f"{path}: {name} is drawn as 'int_uniform' from {low} to {high}: use whole numbers "
                "for both, or uniform"
            )
        return {"low": int(low), "high": int(high)}
    ends = {"low": float(low), "high": float(high)}
    if kind == "uniform":
        return ends
    if kind == "log_uniform_values" and low > 0:
        return ends | {"log": True}
    # of the values W&B gives the exponents: of e, as its log_uniform reads them
    hint = f"; from {math.exp(low):.3g} to {math.exp(high):.3g} are its values" * (
        kind == "log_uniform" and high < math.log(sys.float_info.max)
    )
    raise UserError(
        f"{path}: {name} cannot be drawn as {kind!r} from {low} to {high}{hint}: use values, "
        "uniform, int_uniform, or log_uniform_values above 0"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
