"""``tokendrop predict``: answer for texts and show what was dropped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from tokendrop.cli.answers import as_json, check_place, write_answers
from tokendrop.cli.lines import is_table, parts_of_texts, text_columns
from tokendrop.cli.options import Parser, add_model_options
from tokendrop.data.sources import stream_hub
from tokendrop.deploy.engines import PACKAGES
from tokendrop.deploy.loading import load
from tokendrop.errors import UserError
from tokendrop.holding import one_writer
from tokendrop.models.answering import AnsweringModel
from tokendrop.models.placing import DTYPES
from tokendrop.models.prediction import Prediction

RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"


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
    parser.add_argument(
        "--file",
        help="a file of any size with one text per line, in UTF-8, or UTF-16 with its mark, - for "
        "standard input, or a table (.csv, .tsv, .json, .jsonl, .parquet); a blank line or cell "
        "has an answer without a label",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME[:CONFIG[:SPLIT]]",
        help="instead of a file, a dataset of the Hub of any size, read as it comes (default: its "
        "test split)",
    )
    parser.add_argument(
        "--column",
        action="append",
        help="of the --dataset, or of a table in --file, that has the texts; two of them for "
        "pairs (default: text)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        help="texts at a time (default: 32); no answer depends on it",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:N, or auto: a GPU where there is one"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="fp32",
        help="of the backbone's weights; bf16 is faster on a GPU (default: fp32)",
    )
    parser.add_argument(
        "--engine",
        choices=list(PACKAGES),
        help="what runs it instead of torch, which pays for few texts at a time; the model is "
        "exported to it first, and what was dropped is not shown",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per text")
    parser.add_argument(
        "--out",
        type=Path,
        help="write the answers to --file or --dataset here, one JSON object per text; a run that "
        "was interrupted goes on behind those that are there",
    )
    parser.add_argument("texts", nargs="*", help="texts to classify")
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and predict."""
    options = parser().parse_args(arguments)
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is too small: use 1 or more")
    named = [option for option in (options.file, options.dataset) if option is not None]
    if not named and not options.texts:
        raise UserError("nothing to classify: give a text, or --file FILE with one text per line")
    if len(named) > 1:
        raise UserError("--file and --dataset both name texts: leave one of them out")
    there = options.dataset is not None or is_table(options.file)
    columns = text_columns(options.column, "--file, or of a --dataset", there=there)
    if options.out is not None and (not named or options.texts):
        raise UserError(
            f"--out {options.out} takes the answers to a --file or --dataset, and no other texts"
        )
    # texts that cannot be read are found before the model is
    with parts_of_texts(options.file, columns, printing=options.out is None) as parts:
        if options.out is not None:
            check_place(options.out, options.file)
        if options.dataset is not None:
            parts = stream_hub(options.dataset, columns)
        model: AnsweringModel = load(
            options.checkpoint,
            engine=options.engine,
            trust_reducer=options.trust_reducer,
            device=_device(options.device, options.engine),
            dtype=options.dtype,
        )
        if options.out is not None:
            with one_writer(options.out):
                before, now = write_answers(
                    options.out,
                    parts,
                    lambda texts, first: model.predict_each(texts, options.batch_size, first=first),
                    options.dtype,
                )
            earlier = f", {before:,} of them of an earlier run" if before else ""
            answers = "answer" if now == 1 else "answers"
            print(f"{options.out} holds {now:,} {answers}{earlier}", file=sys.stderr)
            return
        console = Console()
        given = [tuple(text.split("\t")) for text in options.texts]
        for prediction in model.predict(given, options.batch_size):
            _print(prediction, options.json, console)
        answered = 0
        for answer in model.predict_each(parts, options.batch_size):
            _print(answer, options.json, console)
            answered += 1
        if named and not answered:
            shown = "standard input" if named == ["-"] else named[0]
            print(f"{shown} holds no texts", file=sys.stderr)


def _print(prediction: Prediction | None, in_json: bool, console: Console) -> None:
    """An answer, or what stands for that of a blank line."""
    if in_json:
        print(as_json(prediction))
    elif prediction is None:
        console.print("[dim](blank)[/]")
    else:
        console.print(*_show(prediction, console.encoding))


def _device(name: str, engine: str | None) -> str:
    """The device asked for; that a GPU was found is said, for it is not the user's choice."""
    if name != "auto":
        return name
    if engine is not None or not torch.cuda.is_available():
        return "cpu"
    print(f"on {torch.cuda.get_device_name()}; --device cpu runs elsewhere", file=sys.stderr)
    return "cuda"


def _show(prediction: Prediction, encoding: str) -> tuple[Text, Text]:
    confidence = prediction.probabilities.get(prediction.label)
    depths = prediction.token_depth or [prediction.row_depth] * len(prediction.tokens)
    left = f"  left after layer {prediction.row_depth} of {prediction.layers}"
    head = Text.assemble(
        (prediction.label, "bold green"),
        "" if confidence is None else f" {confidence:.1%}",
        (left * bool(prediction.row_depth) + "\n", "dim"),
    )
    body = Text("  ")
    for token, depth in zip(prediction.tokens, depths, strict=True):
        joined = token.startswith("##")
        body.append("" if joined or len(body) == 2 else " ")
        body.append(token.removeprefix("##"), _style(depth, prediction.row_depth))
        if depth < prediction.row_depth:
            body.append(_raised(depth, encoding), "grey42")
    return head, body


def _style(depth: int, row_depth: int) -> str:
    """White for a token that stayed to the end, greyer the earlier it went."""
    if depth >= row_depth:
        return "bold"
    shade = 90 + int(100 * depth / max(1, row_depth))
    return f"rgb({shade},{shade},{shade})"


def _raised(number: int, encoding: str) -> str:
    """A number in raised digits, or as "^2" where an output has none."""
    try:
        RAISED.encode(encoding)
    except UnicodeEncodeError:
        return f"^{number}"
    return str(number).translate(str.maketrans("0123456789", RAISED))
