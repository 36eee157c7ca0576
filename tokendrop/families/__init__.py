"""Where each architecture keeps the parts that the encoder loop walks.

A family reads an *unmodified* Hugging Face model. The loop never asks which family it has: another
architecture is another entry in :data:`FAMILIES`.
"""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel

from tokendrop.errors import UserError
from tokendrop.families.bert import Albert, DistilBert, Electra, Family, Roberta
from tokendrop.families.modernbert import ModernBert
from tokendrop.families.mpnet import MPNet

__all__ = ["FAMILIES", "Family", "family_of", "family_of_type", "not_supported", "supported"]

_ROBERTA = Roberta()

FAMILIES: dict[str, Family] = {
    "albert": Albert(),
    "bert": Family(),
    "distilbert": DistilBert(),
    "electra": Electra(),
    "modernbert": ModernBert(),
    "mpnet": MPNet(),
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}


def family_of(model: PreTrainedModel) -> Family:
    """The family of a Hugging Face model; see :func:`family_of_type`."""
    return family_of_type(str(model.config.model_type))


def family_of_type(kind: str) -> Family:
    """The family of an architecture by its ``model_type``.

    Raises:
        UserError: nobody has described this architecture yet, or not by a family.
    """
    if kind not in FAMILIES:
        raise UserError(not_supported(kind))
    if not isinstance(found := FAMILIES[kind], Family):
        raise UserError(f"FAMILIES[{kind!r}] is {found!r}: make a family of it, as Family()")
    return found


def not_supported(kind: str) -> str:
    """What is said of an architecture that nobody has described, by its ``model_type``."""
    return (
        f"backbones of type {kind!r} are not supported: choose a model of one of the types "
        f"{', '.join(sorted(FAMILIES))}, or describe its parts in an entry of your own in "
        "tokendrop.families.FAMILIES"
    )


def supported(config: PretrainedConfig) -> Family:
    """The family of a configuration, which was found to compute what the family describes.

    Raises:
        UserError: nobody has described this architecture, or what the configuration switches on.
    """
    family = family_of_type(config.model_type)
    family.check(config)
    return family
