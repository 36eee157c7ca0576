"""The grid of a comparison, from its configuration."""

from __future__ import annotations

import json
from dataclasses import asdict

from jsonargparse import ArgumentParser

from tokendrop.compare.settings import Comparison, grid


def parsed(text: str) -> Comparison:
    """A comparison as the command line reads it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Comparison)
    made = parser.instantiate(parser.parse_string(text))
    return Comparison(**vars(made))


def test_a_chain_of_reducers_from_outside_is_plain_data() -> None:
    """A class_path that can be imported is wrapped by the parser, and could not be recorded."""
    comparison = parsed(
        """
        tasks: [rotten_tomatoes]
        methods:
          both:
            reducer: Chain
            arguments:
              parts:
                - class_path: baselines.FirstK
                  init_args: {ratio: 0.5}
                - class_path: baselines.EntropyExit
        """
    )
    (cell,) = grid(comparison)
    first, exits = json.loads(json.dumps(asdict(cell)))["reducer"]["init_args"]["parts"]
    assert first["class_path"] == "baselines.FirstK"
    assert first["init_args"]["ratio"] == 0.5
    assert exits["class_path"] == "baselines.EntropyExit"
