"""What the documents show: their code is run as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from tokendrop.cli import main
from tokendrop.configs import config_folder

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
WRITE_A_REDUCER = ROOT / "docs" / "write_a_reducer.md"
SMOKE = config_folder() / "compare" / "smoke.yaml"


def block(document: Path, language: str, containing: str) -> str:
    """The one code block of a document in a language, or in none, that holds a text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text("utf-8"), re.M | re.S)
    (found,) = [code for name, code in blocks if name == language and containing in code]
    return found


def smoke_comparison(methods: Path, out: Path) -> pd.DataFrame:
    """The results of the smoke comparison with other methods, by method and operating point."""
    words = ["--config", str(SMOKE), "--config", str(methods), "--loggers", "[csv]"]
    assert main(["compare", *words, "--out", str(out)]) == 0
    return pd.read_csv(out / "results.csv").set_index(["method", "operating_point"])
