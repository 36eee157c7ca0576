"""Run an exported model on any rows; it needs nothing but numpy and onnxruntime.

This file lies in every exported folder. Where a method lets rows leave early, the folder holds a
file for the layers between two exits, and who is left goes on to the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BY_TOKEN = ("hidden", "attention_mask", "positions")
NEXT = "next_"  # before the name of what the next file reads


class Model:
    """An exported folder, ready to run."""

    def __init__(self, folder: str | Path, threads: int = 0) -> None:
        """
        Args:
            folder: that ``tokendrop export`` wrote.
            threads: of onnxruntime; 0 leaves it to that.
        """
        import onnxruntime

        described = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = [
            onnxruntime.InferenceSession(
                str(Path(folder) / name), options, providers=["CPUExecutionProvider"]
            )
            for name in described["tokendrop_export"]["files"]
        ]

    def __call__(self, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Logits (B, classes) of B rows.

        Args:
            given: (B, width) whole numbers, ``input_ids``, ``attention_mask`` (1, and 0 behind the
                end of a row) and ``token_type_ids``, which a model without them does not read.

        Raises:
            ValueError: no rows, or rows without any place.
        """
        state = dict(given)
        if not np.size(state["input_ids"]):
            raise ValueError("there are no rows to answer for: give one text or more")
        rows = np.arange(len(state["input_ids"]))
        logits: NDArray[Any] | None = None
        for session in self.sessions:
            names = [output.name.removeprefix(NEXT) for output in session.get_outputs()]
            read = {value.name: state[value.name] for value in session.get_inputs()}
            state = dict(zip(names, session.run(None, read), strict=True))
            answers = state.pop("logits")
            leave = state.pop("leave", np.ones(len(rows), bool))
            if logits is None:
                logits = np.empty((len(rows), answers.shape[1]), answers.dtype)
            logits[rows[leave]] = answers[leave]
            rows = rows[~leave]
            if not len(rows):
                break
            if leave.any():
                state = {name: value[~leave] for name, value in state.items()}
                width = int(state["attention_mask"].sum(1).max())
                state.update({name: state[name][:, :width] for name in BY_TOKEN})
        assert logits is not None
        return logits
