"""``python -m tokendrop.golden DIR``: compare with what the original authors' programs compute."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers.utils import logging

from tokendrop.errors import UserError, one_line
from tokendrop.golden import Difference, read_cases


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the differences; 0 if all are within the tolerance, 1 if not, 2 if not golden data."""
    parser = argparse.ArgumentParser("python -m tokendrop.golden", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder of golden data")
    folder = parser.parse_args(arguments).folder
    logging.disable_progress_bar()
    try:
        differences = list(check(folder))
        if not differences:
            raise UserError(f"{folder} is no golden data: its cases.json holds no case")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, IndexError, TypeError, ValueError) as error:
        named = f"{type(error).__name__}: {one_line(error)}"
        print(f"error: {folder} is no golden data: cases.json reads odd: {named}", file=sys.stderr)
        return 2
    width = max(len(difference.case) for difference in differences)
    wide = max(len(difference.quantity) for difference in differences)
    for one in differences:
        verdict = "FAILED" if one.failed else "ok"
        found = f"{one.value:8.1e} of {one.allowed:.1e} allowed  {verdict}"
        print(f"{one.case:{width}}  {one.quantity:{wide}}  {found}")
    failed = sum(difference.failed for difference in differences)
    print(
        f"{folder}: {len(differences)} comparisons, {failed} failed, largest difference "
        f"{max(difference.value for difference in differences):.1e}"
    )
    return 1 if failed else 0


def check(folder: Path) -> Iterator[Difference]:
    """The differences of a folder of any kind.

    Raises:
        UserError: not golden data.
    """
    cases = read_cases(folder)
    if isinstance(cases, dict) and {"hard", "soft", "saliency"} & set(cases):
        kind = "adapler"
    elif isinstance(cases, list) and cases and "length_config" in cases[0]:
        kind = "length_adaptive"
    else:
        raise UserError(f"{folder} is no golden data: its cases.json is of no known kind")
    # by name, so that one kind needs nothing of the other
    yield from importlib.import_module(f"tokendrop.golden.{kind}").check(folder)


if __name__ == "__main__":
    sys.exit(main())
