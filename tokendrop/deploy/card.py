"""The card of an exported model: what it is, and how to run it without this package."""

from __future__ import annotations

import inspect
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from tokendrop.deploy.check import Agreement
from tokendrop.models.cards import CARD
from tokendrop.models.model import TokenDropModel

TEMPLATE = Path(__file__).with_name("export_card.md.jinja")


def write_card(
    folder: Path,
    model: TokenDropModel,
    agreement: Agreement,
    int8: Agreement | None,
    *,
    exits: bool,
) -> None:
    """Write the card of an exported folder.

    Args:
        folder: which has all else.
        model: that was exported.
        agreement: of the files in fp32 with it.
        int8: of the quantised files with those, None if they are not quantised.
        exits: whether there is a file for the layers between two exits.
    """
    method = type(model.reducer)
    template = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        method=method.__name__,
        decides=(inspect.getdoc(method) or method.__name__).splitlines()[0],
        backbone=model.backbone.config.model_type,
        layers=model.shape.layers,
        hidden=model.shape.hidden,
        max_length=model.shape.max_tokens,
        number=model.shape.head.output == "number",
        parts=model.answering.parts,
        agreement=agreement,
        int8=int8,
        fp32="fp32 against the model: " if int8 else "",
        reference=model.reducer.reference,
        reducer=yaml.safe_dump(model.reducer.spec(), sort_keys=False),
        exits=exits,
        types="token_type_ids" in model.tokenizer.model_input_names,
    )
    (folder / CARD).write_text(text, encoding="utf-8")
