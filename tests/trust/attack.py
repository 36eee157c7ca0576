"""Run by test_hostile_folders.py in a process of its own, in a hostile folder: tries every route.

Prints one line of JSON for each attempt: what was tried, and what was said.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# as where Python is started with -c or -m
sys.path.insert(0, "")

from transformers import AutoModelForSequenceClassification

import tokendrop
from tests.drawing import undrawn
from tests.trust.payloads import payloads, reducers
from tokendrop.cli import main
from tokendrop.errors import UserError
from tokendrop.models.hugging_face import TokenDropForSequenceClassification
from tokendrop.models.model import TokenDropModel

GOOD, FIT, OUT = (Path(argument) for argument in sys.argv[1:4])
MODEL = Path("model")
MARKER = "pwned"


class Exploit:
    """What a pickle runs when it is loaded without care."""

    def __reduce__(self) -> Any:
        return exec, (f"open({MARKER!r}, 'w')",)


def attempt(route: str, what: str, act: Callable[[], Any]) -> None:
    """Try, and print what was said and what came of it."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = act()
            ended = f"exit {code}" if isinstance(code, int) else "done"
        except UserError as error:
            ended = "refused"
            said.write(f"tokendrop: error: {error}\n")
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"
    left = [str(path) for path in Path().rglob(f"{MARKER}*")]
    for path in left:
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    found = {"route": route, "what": what, "ended": ended, "said": said.getvalue(), "left": left}
    print(json.dumps(found), flush=True)


def restored(good: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(good, place)
    # who spoils a folder leaves no sum that tells
    for sums in place.rglob("SHA256SUMS"):
        sums.unlink()


def edited(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


LOADING: dict[str, Callable[[], Any]] = {
    "load": lambda: tokendrop.load(MODEL) and None,
    "from_pretrained": lambda: TokenDropModel.from_pretrained(MODEL) and None,
    "auto": lambda: AutoModelForSequenceClassification.from_pretrained(MODEL, subfolder="reducer"),
    "own class": lambda: TokenDropForSequenceClassification.from_pretrained(MODEL),
    "predict": lambda: main(["predict", "--checkpoint", str(MODEL), "a text"]),
}
EVALUATING: dict[str, Callable[[], Any]] = {
    "test": lambda: main(["test", "--checkpoint", str(MODEL)]),
    "validate": lambda: main(["validate", "--checkpoint", str(MODEL)]),
    "search": lambda: main(["search", "--checkpoint", str(MODEL)]),
}


def side_cars() -> Iterator[tuple[str, Any]]:
    for payload in payloads(MARKER):
        for where, reducer in reducers(payload).items():
            yield f"{payload['class_path']} as {where}", reducer


def attack_side_car() -> None:
    """Every payload at every place through ``load``, a few of them by every other route."""
    restored(GOOD, MODEL)
    file = MODEL / "reducer" / "config.json"
    for number, (what, reducer) in enumerate(side_cars()):
        edited(file, reducer=reducer)
        attempt("load", what, LOADING["load"])
        # a stride that shares no factor with the number of places meets all of them
        if number % 17 == 0:
            for route in ("from_pretrained", "auto", "own class", "predict"):
                attempt(route, what, LOADING[route])
        if number % 67 == 0:
            for route, act in EVALUATING.items():
                attempt(route, what, act)


def attack_figures() -> None:
    restored(GOOD, MODEL)
    for number, payload in enumerate(payloads(MARKER)):
        places = list(reducers(payload).items())
        for where, reducer in (places[number % 12], places[(number + 5) % 12]):
            entry = {"reducer": reducer, "figures": {"task": payload}}
            (MODEL / "reducer" / "figures.json").write_text(json.dumps([entry]))
            attempt("load", f"{payload['class_path']} in figures as {where}", LOADING["load"])


def attack_training_settings() -> None:
    restored(FIT, MODEL)
    for payload in payloads(MARKER)[::12]:
        for place in (
            {"model": {"reducer": payload}},
            {"model": {"metric": payload}},
            {"trainer": {"callbacks": [payload], "logger": payload, "plugins": [payload]}},
            {"data": payload},
            {"data": {"train": payload, "class_weights": payload}},
            {"data": {"train": json.dumps(payload)}},
            {"seed_everything": payload},
        ):
            (MODEL / "reducer" / "training.yaml").write_text(json.dumps(place))
            what = f"{payload['class_path']} in {json.dumps(place)[:40]}"
            attempt("test", what, EVALUATING["test"])
        attempt("validate", f"{payload['class_path']} as the seed", EVALUATING["validate"])


def attack_checkpoint() -> None:
    for what, file, changes in (
        ("code", "config.json", {"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}),
        ("code beside", "config.json", {"auto_map": {"AutoModel": "evil.Evil"}}),
        ("kernel", "config.json", {"attn_implementation": "evil/kernel"}),
        ("kernel again", "config.json", {"_attn_implementation": "evil/kernel"}),
        ("quantiser", "config.json", {"quantization_config": {"quant_method": "evil"}}),
        ("type", "config.json", {"model_type": "tokendrop"}),
        ("tokenizer", "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]},
                                                "tokenizer_class": "Evil"}),
    ):  # fmt: skip
        restored(GOOD, MODEL)
        edited(MODEL / file, **changes)
        for route, act in LOADING.items():
            attempt(route, what, act)
        attempt("fit", what, lambda: main(["fit", *BACKBONE]))
    restored(GOOD, MODEL)
    (MODEL / "model.safetensors").unlink()
    (MODEL / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Exploit()}))
    for route, act in LOADING.items():
        attempt(route, "pickled weights", act)
    attempt("fit", "pickled weights", lambda: main(["fit", *BACKBONE]))
    restored(GOOD, MODEL)
    (MODEL / "reducer" / "reducer.safetensors").write_bytes(pickle.dumps(Exploit()))
    attempt("load", "pickled weights of the reducer", LOADING["load"])


BACKBONE = [
    *("--model.backbone", str(MODEL), "--data.train", str(FIT.parents[1] / "reviews.csv")),
    *("--data.max_length", "16", "--out", "fit"),
]


def attack_comparison() -> None:
    """Records, stages, search stores and floors of a folder that somebody else's run left."""
    config = ["--config", str(OUT / "comparison.yaml"), "--out", "out"]

    def again(what: str, by: Sequence[str] = ("report", "compare")) -> None:
        if "report" in by:
            attempt("report", what, lambda: main(["report", "out", "--out", "report"]))
        if "compare" in by:  # which measures again what it does not believe
            attempt("compare", what, lambda: main(["compare", *config]))

    def first_record() -> Path:
        return min(Path("out/runs").glob("*.json"))

    payload = payloads(MARKER)[0]
    fields = ("method", "metrics", "stages", "details", "provenance", "timing", "fates_file")
    for number, field in enumerate(fields):
        restored(OUT, Path("out"))
        edited(first_record(), **{field: payload})
        # both read records by the same function
        again(f"a record's {field}", ["report"] if number % 2 else ["compare"])
    for name in ("predictions_file", "fates_file"):
        restored(OUT, Path("out"))
        edited(first_record(), **{name: "../model/config.json"})
        again(f"a record's {name} outside")
    restored(OUT, Path("out"))
    for file in Path("out/fates").glob("*.json"):
        file.write_text(json.dumps(payload))
    again("fates")
    for what, spoil in (
        ("checkpoint", lambda stage: (stage / "last.ckpt").write_bytes(pickle.dumps(Exploit()))),
        ("marker", lambda stage: (stage / "done.json").write_text(json.dumps(payload))),
    ):
        restored(OUT, Path("out"))
        shutil.rmtree("out/runs")
        for stage in Path("out/stages").glob("*/"):
            (stage / "done.json").unlink()
            spoil(stage)
        attempt("compare", f"a stage's {what}", lambda: main(["compare", *config]))
    restored(OUT, Path("out"))
    shutil.rmtree("out/runs")
    for model in Path("out/stages").glob("*/model"):
        edited(model / "reducer" / "config.json", reducer=payload)
        (model / "reducer" / "figures.json").write_text(json.dumps([payload]))
    attempt("compare", "the models of stages", lambda: main(["compare", *config]))
    restored(OUT, Path("out"))
    shutil.rmtree("out/runs")
    for store in Path("out/search").glob("*/evaluated-*.jsonl"):
        store.write_text(json.dumps(payload) + "\n" + json.dumps({"configuration": [payload]}))
    attempt("compare", "a search's store", lambda: main(["compare", *config]))


if __name__ == "__main__":
    tokendrop.register()
    before = set(sys.modules)
    attack_side_car()
    attack_figures()
    attack_training_settings()
    attack_checkpoint()
    with undrawn():
        attack_comparison()
    print(json.dumps({"imported": sorted(set(sys.modules) - before)}))
