"""``tokendrop fit``: train one method's whole recipe."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lightning import Callback, Trainer

from tokendrop import recipes
from tokendrop.commands.lightning_cli import TRAINING_CONFIG, parse
from tokendrop.files import whole_folder
from tokendrop.modeling import SIDE_CAR
from tokendrop.reducers.base import Stage
from tokendrop.tracking import Run, Tracker


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and train; the result is ``OUT/model``."""
    cli = parse(arguments)
    out, seed = Path(cli.config.out), int(cli.config.seed_everything)
    method = cli.model.reducer_spec["class_path"].rsplit(".", 1)[-1]
    described = Run(cli.datamodule.dataset or "local", method, "fit", seed)
    tracker = Tracker(cli.config.loggers, out, described)

    def make_trainer(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return cli.instantiate_trainer(
            max_epochs=stage.epochs,
            callbacks=[*callbacks, recipes.progress(stage.name)],
            logger=tracker.loggers,
            reload_dataloaders_every_n_epochs=1,
        )

    stages = recipes.train(cli.model, cli.datamodule, seed, out / "stages", make_trainer)
    with whole_folder(out / "model") as draft:
        shutil.copytree(stages[-1].model, draft, dirs_exist_ok=True)
        text = cli.parser.dump(cli.config, skip_link_targets=True)
        (draft / SIDE_CAR / TRAINING_CONFIG).write_text(text)
    tracker.finish({"train_seconds": sum(stage.seconds for stage in stages)}, {}, [])
    score = stages[-1].chosen[f"dev/{cli.model.metric}"]
    print(f"{cli.model.metric} on dev: {score:.4f}")
    print(f"model: {out / 'model'}\nnext:  tokendrop test --checkpoint {out / 'model'}")
