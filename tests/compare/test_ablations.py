"""Each ablation runs as it stands, on a random model, and changes what it says it does."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tokendrop.cli import main
from tokendrop.configs import config_folder

FILES = sorted((config_folder() / "ablation").glob("*.yaml"))
# six layers, as MiniLM has, so that the configurations in the files fit
SMALL = [
    *("--random_init", "{hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}"),
    *("--data", "{train_rows: 64, dev_rows: 32, test_rows: 32, max_length: 64}"),
    *("--fine_tune.epochs", "1", "--clock", "{rows: 32, single_rows: 2, rounds: 2}"),
    *("--loggers", "[]", "--samples", "0"),
]


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def ablation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp(request.param.stem)
    assert main(["compare", "--config", str(request.param), *SMALL, "--out", str(out)]) == 0
    return request.param.stem, out


def test_every_method_differs_from_the_whole_one(ablation: tuple[str, Path]) -> None:
    name, out = ablation
    results = pd.read_csv(out / "results.csv")
    assert "dense" in set(results.method)
    records = [json.loads(path.read_text()) for path in (out / "runs").glob("*.json")]
    assert len(records) == len(results)
    trained = {record["method"]: record["details"]["model"] for record in records}
    assert len(set(trained.values())) == len(trained)
    if name == "power_bert":
        # of both the counts are the same; only which tokens they are differs
        kept = results.set_index("method").kept_tokens_mean
        assert kept["by_attention"] == pytest.approx(kept["by_lot"].iloc[0])
    if name == "dact_bert":
        layers = results.pivot(index="method", columns="operating_point", values="layers_mean")
        assert (layers.tight_rule.dropna() <= layers.paper_rule.dropna()).all()
    if name == "adapler":
        fixed = results[results.method == "fixed_thresholds"].set_index("operating_point")
        assert fixed.kept_tokens_mean["whole"] < fixed.kept_tokens_mean["half"]
