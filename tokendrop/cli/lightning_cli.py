"""What ``fit``, ``validate`` and ``test`` share: LightningCLI over layered YAML files."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import lightning
from jsonargparse import ArgumentError, Namespace
from lightning import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from tokendrop.cli.config_files import check_configs
from tokendrop.data import TextData
from tokendrop.errors import UserError, mistake_behind, no_settings, one_line
from tokendrop.reducers import REDUCERS, from_spec
from tokendrop.setting_errors import setting_error
from tokendrop.training.loggers import LoggerKind
from tokendrop.training.module import TokenDropModule
from tokendrop.training.processes import Processes
from tokendrop.training.recipes import TRAINER_DEFAULTS
from tokendrop.training.trainer_options import (
    FIT,
    WHOLE,
    check_made,
    refuse,
    shown,
)

log = logging.getLogger(__name__)


class TokenDropCLI(LightningCLI):
    """LightningCLI whose options are checked before anything is made of them."""

    def __init__(self, words: Sequence[str], check: Check) -> None:
        """
        Args:
            words: the options.
            check: raises for what cannot be used.
        """
        self._check = check
        super().__init__(
            TokenDropModule,
            TextData,
            args=list(words),
            run=False,
            save_config_callback=None,
            auto_configure_optimizers=False,
        )

    def setup_parser(self, *_: Any) -> None:
        self.parser = training_parser()

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        check_configs(args, parser)
        try:
            super().parse_arguments(parser, args)
        except (ArgumentError, ValueError) as error:
            raise setting_error(error, REDUCERS, parser) from error

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:  # of the option, or of the environment that it names
            given = str(self.config.seed_everything).lower()
            raise UserError(
                f"seed_everything {given} cannot be used ({one_line(error)}): use a whole number, "
                "0 or more and at most 4294967295"
            ) from error

    def before_instantiate_classes(self) -> None:
        for name in ("trainer", "model", "data"):
            if not isinstance(self.config.get(name), Namespace):
                raise no_settings(name)
        for name in ("out", "loggers"):
            if self.config.get(name) is None:
                raise UserError(f"{name} null cannot be used: leave it out, or give a value")
        self._check(self)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except UserError:
            raise
        except Exception as error:  # Lightning and its plugins raise all kinds
            if mistake := mistake_behind(error):
                raise mistake from error
            if not (culprits := self._culprits()):
                from_spec(self.config.model.reducer.as_dict())  # raises what is wrong with it
                raise
            raise UserError(
                f"{', '.join(culprits)} cannot be used here: give another value or leave it out "
                f"({one_line(error)})"
            ) from error
        check_made(self.trainer)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        # without a logger Lightning would take one of its own
        none = {"logger": False} if self.config.trainer.logger is None else {}
        trainer = super().instantiate_trainer(**(none | kwargs))
        if trainer.world_size > 1:
            several = {"strategy": Processes(), "use_distributed_sampler": False}
            return super().instantiate_trainer(**(none | kwargs | several))
        if self.config.trainer.strategy == "ddp":
            return super().instantiate_trainer(**(none | kwargs | {"strategy": "auto"}))
        return trainer

    def _culprits(self) -> list[str]:
        """The options that no trainer can be made with, none if they are not to blame."""
        usual = vars(self.parser.get_defaults().trainer)
        given = {k: v for k, v in vars(self.config.trainer).items() if v != usual[k]}

        parser = LightningArgumentParser()
        _add_trainer(parser)

        def fails(options: dict[str, Any]) -> bool:
            config = parser.get_defaults()
            for name, value in (usual | options).items():
                config.trainer[name] = value
            try:
                Trainer(**vars(parser.instantiate(config).trainer))
            except Exception:
                return True
            return False

        if fails({}) or not fails(given):
            return []
        alone = [name for name, value in given.items() if fails({name: value})]
        values = self.config.trainer.as_dict()
        return [shown(name, values[name]) for name in alone or given]


Check = Callable[[TokenDropCLI], None]


def training_parser() -> LightningArgumentParser:
    """The options of ``fit``."""
    parser = LightningArgumentParser(
        prog="tokendrop fit",
        description="Train one method's whole recipe on a task; the result is OUT/model. Run again "
        "with the same --out, it continues where it stopped.",
        exit_on_error=False,
        allow_abbrev=False,
        dump_header=[f"lightning.pytorch=={lightning.__version__}"],
    )
    parser.add_argument(
        *("-c", "--config"),
        action="config",
        help="YAML file of settings; later files and options override earlier ones",
    )
    parser.add_argument(
        "--seed_everything",
        type=bool | int,
        default=1,
        help="decides all random numbers; true is the PL_GLOBAL_SEED of the environment, or 0",
    )
    _add_trainer(parser)
    parser.add_lightning_class_args(TokenDropModule, "model")
    parser.add_lightning_class_args(TextData, "data")
    parser.set_defaults({"model.reducer": {"class_path": "tokendrop.reducers.dense.Dense"}})
    usual: dict[str, Any] = {"logger": False, **TRAINER_DEFAULTS}
    parser.set_defaults({f"trainer.{name}": value for name, value in usual.items()})
    # the data are tokenised as the backbone reads them
    parser.link_arguments("model.backbone", "data.tokenizer")
    parser.add_argument("--out", type=str, default="runs/fit", help="output folder")
    parser.add_argument(
        "--loggers",
        type=list[LoggerKind],
        default=["csv"],
        help="where curves go: csv, wandb (offline unless you are logged in), wandb_models, or any "
        "logger of Lightning's kind as {class_path: ..., init_args: {...}}",
    )
    return parser


def _add_trainer(parser: LightningArgumentParser) -> None:
    """The options of the trainer, with limits whose 1 is one batch.

    Lightning's annotation of a limit is the same object as any library's ``Union[float, int]`` that
    came first, by which 1 would be read as 1.0, all batches.
    """
    parser.add_class_arguments(
        Trainer, "trainer", skip={*WHOLE}, instantiate=False, fail_untyped=False, sub_configs=True
    )
    for name in WHOLE:
        parser.add_argument(
            f"--trainer.{name}",
            type=int | float | None,
            default=inspect.signature(Trainer).parameters[name].default,
            help="number of batches, or share of them as 0.5 or 1.0",
        )


def check_training(cli: TokenDropCLI) -> None:
    """Raise for a trainer's option that no recipe can be trained with.

    Raises:
        UserError: the option.
    """
    refuse(cli.config.trainer.as_dict(), FIT)


def parse(arguments: Sequence[str], check: Check = check_training) -> TokenDropCLI:
    """Read the options; nothing is run.

    Args:
        arguments: the options.
        check: raises for what cannot be used.

    Raises:
        UserError: an option that does not exist or a value that does not fit.
    """
    return TokenDropCLI(arguments, check)
