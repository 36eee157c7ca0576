"""``tokendrop predict``: answer for texts and show what was dropped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from tokendrop.cli.options import Parser, add_model_options
from tokendrop.errors import UserError
from tokendrop.models.model import load
from tokendrop.models.placing import DTYPES
from tokendrop.models.prediction import Prediction


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "predict",
        description="Answer for texts with a trained model: a class, a number, a tag for each "
        "word, or the answer to a question. A pair, or a question with its context, has a tab "
        "between its parts. A token is shown the dimmer the earlier it was dropped; its raised "
        "number is the layers it went through.",
    )
    add_model_options(parser)
    parser.add_argument("--file", help="a file with one text per line, - for standard input")
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:N, or auto: a GPU where there is one"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="fp32",
        help="of the backbone's weights; bf16 is faster on a GPU (default: fp32)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per text")
    parser.add_argument("texts", nargs="*", help="texts to classify")
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and predict."""
    options = parser().parse_args(arguments)
    texts = [*options.texts, *lines_of(options.file)]
    if not texts:
        raise UserError("nothing to classify: give a text, or --file FILE with one text per line")
    parts = [tuple(text.split("\t")) for text in texts]
    model = load(
        options.checkpoint,
        trust_reducer=options.trust_reducer,
        device=_device(options.device),
        dtype=options.dtype,
    )
    predictions = model.predict(parts)
    if options.json:
        for prediction in predictions:
            print(json.dumps(asdict(prediction)))
        return
    console = Console()
    for prediction in predictions:
        console.print(*_show(prediction))


def _device(name: str) -> str:
    """The device asked for; that a GPU was found is said, for it is not the user's choice."""
    if name != "auto":
        return name
    if not torch.cuda.is_available():
        return "cpu"
    print(f"on {torch.cuda.get_device_name()}; --device cpu runs elsewhere", file=sys.stderr)
    return "cuda"


def lines_of(name: str | None) -> Iterable[str]:
    """The lines of a file, those of standard input for "-", none where no file is named.

    Raises:
        UserError: it cannot be read.
    """
    if name is None:
        return []
    if name == "-":
        return sys.stdin.read().splitlines()
    try:
        return Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the texts in {name}: {error}") from error


def _show(prediction: Prediction) -> tuple[Text, Text]:
    confidence = prediction.probabilities.get(prediction.label)
    head = Text.assemble(
        (prediction.label, "bold green"),
        "" if confidence is None else f" {confidence:.1%}",
        (f"  left after layer {prediction.row_depth} of {prediction.layers}\n", "dim"),
    )
    body = Text("  ")
    for token, depth in zip(prediction.tokens, prediction.token_depth, strict=True):
        joined = token.startswith("##")
        body.append("" if joined or len(body) == 2 else " ")
        body.append(token.removeprefix("##"), _style(depth, prediction.row_depth))
        if depth < prediction.row_depth:
            body.append(_raised(depth), "grey42")
    return head, body


def _style(depth: int, row_depth: int) -> str:
    """White for a token that stayed to the end, greyer the earlier it went."""
    if depth >= row_depth:
        return "bold"
    shade = 90 + int(100 * depth / max(1, row_depth))
    return f"rgb({shade},{shade},{shade})"


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
