"""Compare token-dropping and early-exit methods for BERT-like encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokendrop.deploy.loading import load
    from tokendrop.models.hugging_face import register
    from tokendrop.models.model import TokenDropModel
    from tokendrop.models.prediction import Prediction

__all__ = ["Prediction", "TokenDropModel", "load", "register"]


def __getattr__(name: str) -> Any:
    """Import the model code only when it is used: ``tokendrop --help`` should not take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tokendrop.deploy import loading
    from tokendrop.models import hugging_face, model

    return getattr({"load": loading, "register": hugging_face}.get(name, model), name)
