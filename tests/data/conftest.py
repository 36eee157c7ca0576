import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from tokendrop.data import TextData
from tokendrop.data.sources import Table

WORDS = ["a", "the", "film", "plot", "cast", "is", "was", "very", "not", "so"]
WORDS += ["good", "bad", "dull", "great", "fine", "long", "short", "one", "two"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Different sentences of 1 to 9 words with alternating labels."""
    return [
        {
            "text": " ".join(WORDS[(i // 19**p + p * i) % 19] for p in range(1 + i % 9)) + f" {i}",
            "label": ("neg", "pos")[i % 2],
        }
        for i in range(start, start + count)
    ]


def write_csv(path: Path, lines: list[dict[str, Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return str(path)


def as_dict(table: Table) -> dict[str, list[Any]]:
    """The cells of all columns."""
    return {name: list(cells) for name, cells in table.columns}


@pytest.fixture(scope="session")
def tokenizer() -> BertTokenizer:
    digits = [str(i) for i in range(10)] + [f"##{i}" for i in range(10)]
    return BertTokenizer(vocab={t: i for i, t in enumerate([*SPECIAL, *WORDS, *digits])})


@pytest.fixture
def make(tmp_path: Path, tokenizer: BertTokenizer) -> Callable[..., TextData]:
    """A TextData with the tiny tokenizer and a cache of its own."""

    def build(**options: Any) -> TextData:
        data = TextData(**{"cache": str(tmp_path / "cache"), **options})
        data.use_tokenizer(tokenizer)
        return data

    return build


@pytest.fixture
def train(tmp_path: Path) -> str:
    return write_csv(tmp_path / "train.csv", rows(120))
