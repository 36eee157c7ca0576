"""What ``fit``, ``validate`` and ``test`` share: LightningCLI over layered YAML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from tokendrop.commands.training_settings import training_defaults
from tokendrop.configs import setting_error
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.modeling import TokenDropModel, load
from tokendrop.module import TokenDropModule
from tokendrop.provenance import provenance
from tokendrop.recipes import TRAINER_DEFAULTS
from tokendrop.sharing import Figures, model_folder
from tokendrop.tracking import LoggerName


class TokenDropCLI(LightningCLI):
    """LightningCLI whose data module tokenises with the tokenizer of the backbone."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.backbone", "data.tokenizer")
        parser.set_defaults({"model.reducer": {"class_path": "tokendrop.reducers.dense.Dense"}})
        parser.add_argument("--out", type=str, default="runs/fit", help="output folder")
        parser.add_argument(
            "--loggers",
            type=list[LoggerName],
            default=["csv"],
            help="where curves go; wandb is offline unless you are logged in",
        )


def parse(arguments: Sequence[str]) -> TokenDropCLI:
    """Read the options; nothing is run.

    Raises:
        UserError: an option that does not exist or a value that does not fit.
    """
    try:
        return TokenDropCLI(
            TokenDropModule,
            TextData,
            args=list(arguments),
            run=False,
            seed_everything_default=1,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False, "prog": "tokendrop fit"},
            trainer_defaults={"logger": False, **TRAINER_DEFAULTS},
        )
    except ArgumentError as error:
        raise setting_error(error) from error


def parse_trained(command: str, arguments: Sequence[str]) -> tuple[TokenDropCLI, TokenDropModel]:
    """Read the options of a command that works on a trained model.

    The settings of its training are the defaults, so ``--checkpoint`` alone is enough.
    """
    words = list(arguments)
    if words and words[0] in ("-h", "--help"):
        print(
            f"usage: tokendrop {command} --checkpoint FOLDER [options]\n\n"
            "FOLDER is the model folder that 'tokendrop fit' wrote, or the Hub name of such a "
            "model. The\ndata and trainer options are those of 'tokendrop fit'; the model's own "
            "training settings are\ntheir defaults."
        )
        raise SystemExit(0)
    if "--checkpoint" not in words[:-1]:
        raise UserError(f"tokendrop {command} needs --checkpoint FOLDER, a trained model")
    place = words.index("--checkpoint")
    folder = model_folder(words[place + 1])
    del words[place : place + 2]
    model = load(folder)
    cli = parse([*training_defaults(folder), *words, "--model.backbone", str(folder)])
    data = cli.datamodule
    data.follow(model.labels, model.shape.task, str(folder))
    cli.model.begin(model, data.make_task(cli.model.metric), data.splits)
    return cli, model


def figures_of(
    cli: TokenDropCLI, split: Literal["dev", "test"], logged: Mapping[str, float], backbone: str
) -> Figures:
    """What an evaluation logged, for the model's card."""
    found = {k.removeprefix(f"{split}/"): v for k, v in logged.items() if k.startswith(split)}
    data = cli.datamodule
    return Figures(
        task=data.dataset or "local data",
        backbone=backbone,
        split=split,
        examples=len(data.splits[split]),
        seed=int(cli.config.seed_everything),
        kept_tokens=found.pop("kept_tokens"),
        layers=found.pop("layers"),
        speedups={"flops_speedup_unpadded": found.pop("flops_speedup")},
        metrics={name: value for name, value in found.items() if name not in ("loss", "score")},
        provenance=provenance(),
    )
