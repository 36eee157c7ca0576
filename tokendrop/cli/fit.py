"""``tokendrop fit``: train one method's whole recipe."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from tokendrop.cli.evaluation import figures_of, is_partial
from tokendrop.cli.lightning_cli import TokenDropCLI, parse, training_parser
from tokendrop.cli.options import told_next
from tokendrop.cli.training_settings import TRAINING_CONFIG
from tokendrop.compare.results.records import SETTINGS
from tokendrop.configs import differences
from tokendrop.errors import UserError
from tokendrop.files import check_target, whole_folder
from tokendrop.holding import hold
from tokendrop.measure.measures import TRAIN_SECONDS
from tokendrop.models.cards import DESCRIBED, SIDE_CAR
from tokendrop.models.model import load_with
from tokendrop.models.side_car import read_side_car
from tokendrop.reducers import from_spec, measured_in_training
from tokendrop.reducers.base import Stage
from tokendrop.reducers.stored import to_be_trusted
from tokendrop.training import recipes
from tokendrop.training.finished import TrainedStage
from tokendrop.training.processes import is_first, one_voice
from tokendrop.training.progress import progress
from tokendrop.training.tracking import CHOSEN, Run, Tracker
from tokendrop.training.trainer_options import MAY_DECIDE, in_one_line

log = logging.getLogger(__name__)


def parser() -> LightningArgumentParser:
    """The options."""
    return training_parser()


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and train; the result is ``OUT/model``."""
    with one_voice():
        _fit(arguments)


def _fit(arguments: Sequence[str]) -> None:
    cli = parse(arguments)
    out = Path(cli.config.out)
    _check_folder(out)
    with hold(out) if is_first() else nullcontext():
        check_target(out / "model", DESCRIBED)
        same = _tell_replaced(cli, out / "model")
        _train(cli, out, same)


def _check_folder(out: Path) -> None:
    """Find out whether a folder is one of something else, whose stages and model would mix.

    Raises:
        UserError: it is a comparison's or a model's own.
    """
    for mark, what in ((SETTINGS, "comparison"), (DESCRIBED, "model")):
        if (out / mark).is_file():
            raise UserError(
                f"{out} is the folder of a {what} (it has {mark}): name another folder with --out"
            )


def _tell_replaced(cli: TokenDropCLI, model: Path) -> bool:
    """Say before a training that a model of other settings goes at its end, and how to keep it.

    Returns:
        whether there is a model of the same settings.
    """
    try:
        before = _deciding((model / SIDE_CAR / TRAINING_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError):
        return False  # there is none, or none that says how it was trained
    changes = list(differences(before, _deciding(_settings(cli))))
    if changes:
        place, old, new = changes[0]
        more = f" ({len(changes)} changes in all)" if len(changes) > 1 else ""
        log.warning(
            f"{model} was trained with {place} {old}, now it is {new}{more}, and it will be "
            "replaced: name another folder with --out to keep it"
        )
    return not changes


def _tell_trained_anew(cli: TokenDropCLI, stages: Path, planned: Sequence[recipes.Planned]) -> None:
    """Say that a model of the same settings goes, for what is trained is another one."""
    others = [one for one in stages.glob("*") if one.is_dir()]
    if not others or any(one.folder in others for one in planned):
        return
    model = stages.parent / "model"
    earlier = (model / SIDE_CAR / TRAINING_CONFIG).read_text(encoding="utf-8")
    before, now = (
        {name: yaml.safe_load(text).get("trainer", {}).get(name) for name in MAY_DECIDE}
        for text in (earlier, _settings(cli))
    )
    why = "on other rows, or on another kind of device"
    for place, old, new in differences(before, now, "trainer"):
        why = f"with {place} {old}, which is {new} now"
        break
    log.warning(
        f"{model} was trained with these settings, but {why}, and it will be replaced: name "
        "another folder with --out to keep it"
    )


def _deciding(settings: str) -> dict[str, Any]:
    """Those of a training's settings that decide what model comes out."""
    found = yaml.safe_load(settings)
    data = {name: value for name, value in found.get("data", {}).items() if name != "cache"}
    return {"seed_everything": found.get("seed_everything"), "model": found["model"], "data": data}


def _train(cli: TokenDropCLI, out: Path, same: bool) -> None:
    seed = int(cli.config.seed_everything)
    method = cli.model.reducer_spec["class_path"].rsplit(".", 1)[-1]
    described = Run(cli.datamodule.settings.dataset or "local", method, "fit", seed)
    tracker = Tracker(cli.config.loggers, out, described)

    shows = cli.config.trainer.enable_progress_bar is not False

    def make_trainer(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return cli.instantiate_trainer(
            max_epochs=stage.epochs,
            callbacks=[*callbacks, progress(stage.name)] if shows else callbacks,
            logger=tracker.loggers,
        )

    if same:
        cli.datamodule.setup("fit")
        planned = recipes.plan(cli.model, cli.datamodule, seed, out / "stages", make_trainer)
        _tell_trained_anew(cli, out / "stages", planned)
    stages = recipes.train(cli.model, cli.datamodule, seed, out / "stages", make_trainer)
    on_dev = _on_dev(cli, stages[-1])
    if not is_first():
        return
    _save(cli, stages[-1], on_dev, out / "model")
    chosen = {k.replace("dev/", CHOSEN): v for k, v in on_dev.items()}
    results = chosen | {TRAIN_SECONDS.name: sum(stage.seconds for stage in stages)}
    settings = yaml.safe_load(_settings(cli))
    tracker.finish(results, settings, [], out / "model", cli.model.metric)
    score = chosen[CHOSEN + cli.model.metric]
    print(f"{cli.model.metric} on dev: {score:.4f}")
    print(told_next(out / "model", to_be_trusted(from_spec(cli.model.reducer_spec).spec())))


def _on_dev(cli: TokenDropCLI, stage: TrainedStage) -> dict[str, float]:
    """What a training says of the dev split, which is evaluated anew for a method without one.

    Where nothing was trained, a stage that is found may have been evaluated at another operating
    point, as all of them share it.
    """
    reducer = from_spec(cli.model.reducer_spec)
    if stage.epochs or read_side_car(stage.model).reducer == reducer.spec():
        return stage.chosen
    data = cli.datamodule
    model = load_with(stage.model, reducer)
    cli.model.begin(model, data.make_task(cli.model.metric), data.splits)
    trainer = cli.instantiate_trainer(max_epochs=1, callbacks=[], logger=False)
    with in_one_line():
        (found,) = trainer.validate(cli.model, data, verbose=False)
    return dict(found)


def _save(
    cli: TokenDropCLI, stage: TrainedStage, on_dev: Mapping[str, float], folder: Path
) -> None:
    """Write the trained model at its operating point, with the settings of its training."""
    reducer = from_spec(cli.model.reducer_spec)
    model = load_with(stage.model, reducer)
    known = measured_in_training(reducer) or not stage.epochs
    if known and not is_partial(cli.trainer, "dev"):
        model.figures = figures_of(cli, "dev", on_dev, cli.model.backbone)
    with whole_folder(folder) as draft:
        model.save_pretrained(draft)
        (draft / SIDE_CAR / TRAINING_CONFIG).write_text(_settings(cli))


def _settings(cli: TokenDropCLI) -> str:
    """All settings of the training, as YAML that ``--config`` reads."""
    return cli.parser.dump(cli.config, skip_link_targets=True)
