"""Searching a trained Length-Adaptive Transformer for the best configuration of every budget.

The evolutionary search of Kim and Cho, ACL 2021. Search on rows that are neither trained on nor
reported: here the dev split, which was held out of training. The reference searches on the rows it
reports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokendrop.errors import UserError

if TYPE_CHECKING:
    from tokendrop.reducers.length_adaptive.search.front import Front


def load_search() -> Callable[..., Front]:
    """The function ``search`` of the module ``run``, which needs an optional package.

    Raises:
        UserError: it is not installed.
    """
    try:
        from tokendrop.reducers.length_adaptive.search.run import search
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("pymoo", "moocore"):
            raise
        raise UserError(
            f"the search needs {error.name}: pip install 'tokendrop[search]'"
        ) from error
    return search
