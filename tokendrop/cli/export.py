"""``tokendrop export``: a trained model as files that other engines run."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tokendrop.cli.lines import is_table, text_columns, texts_of
from tokendrop.cli.options import MODEL, Parser, add_trust_option
from tokendrop.cli.training_settings import data_settings
from tokendrop.data.text_data import TextData
from tokendrop.deploy.check import Rows
from tokendrop.deploy.export import NEWEST_OPSET, OLDEST_OPSET, export_onnx
from tokendrop.deploy.sentences import own_sentences, rows_of
from tokendrop.errors import UserError
from tokendrop.holding import one_writer
from tokendrop.models.model import TokenDropModel, load

log = logging.getLogger(__name__)

MOST_ROWS = 64


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "export",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Write a trained model as ONNX files that really drop tokens and layers, with "
        "a tokenizer and a card that says how to run them with onnxruntime and tokenizers alone. "
        "The files are held against the model before the folder appears.",
    )
    parser.add_argument("checkpoint", type=os.path.expanduser, metavar="FOLDER", help=MODEL)
    parser.add_argument("--to", choices=["onnx"], default="onnx", help="what to write")
    parser.add_argument("--int8", action="store_true", help="quantise the weights, per channel")
    parser.add_argument(
        "--opset",
        type=int,
        default=OLDEST_OPSET,
        help=f"version of ONNX's operators, {OLDEST_OPSET} to {NEWEST_OPSET}",
    )
    parser.add_argument(
        "--rows",
        metavar="FILE",
        help="texts to check on, one per line, a tab between the parts of a pair, or a table "
        "(default: dev rows of the local files that the model was trained on, else a few "
        "sentences)",
    )
    parser.add_argument(
        "--column",
        action="append",
        help="of a table in --rows, that has the texts; two of them for pairs (default: text)",
    )
    add_trust_option(parser)
    parser.add_argument(
        "--out", type=Path, help="output folder (default: FOLDER-onnx, of a Hub model here)"
    )
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and export."""
    options = parser().parse_args(arguments)
    columns = text_columns(options.column, "--rows", there=is_table(options.rows))
    model = load(options.checkpoint, trust_reducer=options.trust_reducer)
    folder = Path(options.checkpoint)
    beside = folder.resolve() if folder.is_dir() else Path(folder.name)
    out = options.out or beside.with_name(f"{beside.name}-onnx")
    rows = _rows(model, folder, options.rows, columns)
    with one_writer(out):
        written = export_onnx(model, out, rows, int8=options.int8, opset=options.opset)
    found = written.agreement
    before = "before quantising, " * options.int8
    print(
        f"{before}{', '.join(written.files)} answered as the model on {found.rows} rows "
        f"({found.what}), together and alone: logits differ by {found.largest:.1e} at most"
        + f", but for {found.apart} with a token at a threshold"
        * bool(found.apart)
    )
    if (int8 := written.int8) is not None:
        if model.shape.head.output == "number":
            print(f"int8: numbers differ from those of fp32 by {int8.largest:.1e} at most")
        else:
            print(f"int8: {int8.same:.1%} of the answers are those of fp32")
    print(f"how to run them: {out / 'README.md'}")


def _rows(model: TokenDropModel, folder: Path, file: str | None, columns: Sequence[str]) -> Rows:
    """What the files are checked on."""
    if file is not None:
        # where it lies is nobody's business who reads the card
        what = "of standard input" if file == "-" else f"of {Path(file).name}"
        return rows_of(model, texts_of(file, columns, model.answering.kind, MOST_ROWS), what)
    settings = data_settings(folder)
    if settings.keys() & {"train", "dir"}:
        data = TextData(**settings)
        data.use_tokenizer(model.tokenizer)
        try:
            split = data.splits["dev"]
        except UserError as error:
            log.warning("not checked on the rows that it was trained with: %s", error)
        else:
            ids, types = split.input_ids[:MOST_ROWS], split.token_type_ids[:MOST_ROWS]
            return Rows(ids, types, "of its dev split")
    return own_sentences(model)
