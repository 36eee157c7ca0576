"""Options mean the same in both forms, ``--x y`` and ``--x=y``, in every command."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from tests.cli.test_cli import SMALL, complaint, reviews
from tests.external.drop_punctuation import DropPunctuation
from tokendrop.cli import COMMANDS, main
from tokendrop.cli.compare import parsed_comparison
from tokendrop.cli.options import told_next
from tokendrop.compare.grid.method import Method
from tokendrop.compare.tuning.settings import Range
from tokendrop.configs import config_folder
from tokendrop.errors import UserError
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.stored import to_be_trusted

__all__ = ["reviews"]

# values of every type that an option has; the first one that an option takes is tried
VALUES = ("3", "0.25", "true", "tests", "[csv]", "[3]", "[0.5, 0.9]", "{x: 1}", "{}")
VALUES += ("minilm-l6:long:32", "[openvino]", "null")
COMPARISONS = ("compare", "rationale")
SMOKE = str(config_folder() / "compare" / "smoke.yaml")
BASE = str(config_folder() / "base.yaml")


def parser_of(command: str) -> Any:
    return importlib.import_module(f"tokendrop.cli.{command}").parser()


cached_parser = cache(parser_of)


def options_of(parser: Any) -> Iterator[argparse.Action]:
    """Those that take a value."""
    for action in parser._actions:
        name = next((name for name in action.option_strings if name.startswith("--")), "")
        shows = name.startswith(("--help", "--print")) or name.endswith(".help")
        if name and action.nargs != 0 and not shows:
            yield action


def required(parser: Any, but: argparse.Action) -> list[str]:
    """What argparse insists on, beside an option."""
    needed: list[str] = []
    for action in parser._actions:
        if action.required and action is not but and not isinstance(parser, ArgumentParser):
            needed += [*action.option_strings[:1], "1"]
    return needed


def parsed(command: str, *words: str) -> Any:
    """What a command understands, None if it complains."""
    try:
        if command in COMPARISONS:
            return parsed_comparison(parser_of(command), words)
        found = cached_parser(command).parse_args(list(words))
    except (UserError, ArgumentError):
        return None
    return found.as_dict() if isinstance(found, Namespace) else vars(found)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_in_both_forms(command: str, tmp_path: Path) -> None:
    # the command's own file has all methods, which are read anew for each value
    small = tmp_path / "small.yaml"
    small.write_text(
        "backbone: minilm-l6\ntasks: [rotten_tomatoes]\nmethods: {dense: {reducer: Dense}}"
    )
    parser = parser_of(command)
    options = {action.dest: action for action in options_of(parser)}
    assert options
    if command == "rationale":  # the same function makes and reads them
        for shared in options_of(parser_of("compare")):
            options.pop(shared.dest, None)
    for action in options.values():
        names = re.findall(r"'([\w-]+)'", str(getattr(action, "_typehint", "")))  # of a Literal
        values = [*map(str, action.choices)] if action.choices else [*names, *VALUES]
        if action.dest == "config":
            values = [SMOKE, BASE]
        others = required(parser, action)
        if command in COMPARISONS and action.dest != "config":
            others += ["--config", str(small)]
        for name in (name for name in action.option_strings if name.startswith("--")):
            taken = ((v, parsed(command, *others, name, v)) for v in values)
            value, found = next((pair for pair in taken if pair[1] is not None), ("", None))
            assert found is not None, f"{command} {name} takes none of {values}"
            assert parsed(command, *others, f"{name}={value}") == found, f"{command} {name}"


def test_a_named_comparison_takes_the_place_of_the_default_in_both_forms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = []
    for form in (["--config", SMOKE], [f"--config={SMOKE}"]):
        with pytest.raises(SystemExit):
            main(["compare", *form, "--print_config"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    with pytest.raises(SystemExit):
        main(["compare", "--print_config"])
    assert capsys.readouterr().out != shown[0]


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must hold settings"),
        ("- a\n- b\n", "must hold settings"),
        ("data: {max_length: 5, max_length: 7}", "max_length stands here twice"),
        ("out: [", "cannot read"),
    ],
)
def test_of_several_files_of_settings_the_wrong_one_is_named(
    command: str, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong = tmp_path / "good.yaml", tmp_path / "wrong.yaml"
    good.write_text("out: runs/x\n")
    wrong.write_text(text)
    said = complaint(capsys, command, "--config", str(good), f"--config={wrong}")
    assert str(wrong) in said
    assert says in said


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_a_file_of_settings_that_is_not_there_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, command, "--config", "here/nope.yaml")
    assert said.endswith(
        "--config here/nope.yaml: there is no such file of settings; check the path"
    )
    assert "is a folder" in complaint(capsys, command, "--config", SMOKE, "--config", str(tmp_path))


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--config", "configs/compare/fair.yaml"),
        ("--tasks", "[configs/task/mrpc.yaml]"),
        ("--sweep", "configs/sweep/adapler.yaml"),
    ],
)
def test_a_file_of_the_package_is_told_by_its_place_outside_a_checkout(
    option: str,
    given: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = complaint(capsys, "compare", option, given)
    place = Path(said.rpartition("outside a checkout it is ")[2])
    assert place.is_absolute()
    assert place.is_file()
    assert place.name == Path(given.strip("[]")).name


def test_an_option_without_its_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown sweep ''" in complaint(capsys, "compare", "--sweep")
    assert "tokendrop rationale --help" in complaint(capsys, "rationale", "--config")


@pytest.mark.parametrize("command", ["compare", "rationale", "fit"])
def test_a_part_of_a_name_is_no_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--conf" in complaint(capsys, command, "--conf", SMOKE)


@pytest.fixture(scope="module")
def folder(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that does not say which data it was trained on."""
    out = tmp_path_factory.mktemp("fit")
    assert main(["fit", *SMALL, "--data.train", str(reviews), "--out", str(out)]) == 0
    (out / "model" / "reducer" / "training.yaml").unlink()
    return out / "model"


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize("form", ["--checkpoint {}", "--checkpoint={}"])
def test_a_model_is_found_in_both_forms(
    command: str, form: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = form.format(folder).split()
    assert "which data" in complaint(capsys, command, *words)
    assert "which data" in complaint(capsys, command, "--trust-reducer", *words)


def test_a_model_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("validate", "test", "predict", "search"):
        assert "--checkpoint" in complaint(capsys, command, "--out", "x")


def test_only_a_local_folder_gets_the_figures_of_a_test(
    folder: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy, model = tmp_path / "cache" / "copy", tmp_path / "model"
    shutil.copytree(folder, copy)
    shutil.copytree(folder, model)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    # a model of the Hub lies in a folder of another name
    monkeypatch.setattr("tokendrop.models.hub.snapshot_download", lambda name: str(copy))
    monkeypatch.chdir(tmp_path)
    data = ["--data.train", str(reviews), "--data.max_length", "32"]
    for form in (["--checkpoint", "me/model"], ["--checkpoint=me/model"]):
        assert main(["test", *form, *data]) == 0
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert main(["test", f"--checkpoint={model}", *data]) == 0
    assert json.loads((model / "reducer" / "figures.json").read_text())
    assert "of the test split" in (model / "README.md").read_text()


def test_a_reducer_is_trusted_only_where_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def load(_: Any, *, trust_reducer: bool = False, **placed: Any) -> None:
        asked.append(trust_reducer)
        raise UserError("not now")

    monkeypatch.setattr("tokendrop.cli.predict.load", load)
    monkeypatch.setattr("tokendrop.cli.evaluation.load", load)
    for command in ("predict", "validate", "test", "search"):
        words = [command, "--checkpoint", str(folder), *["a text"] * (command == "predict")]
        assert "not now" in complaint(capsys, *words)
        assert "not now" in complaint(capsys, *words, "--trust-reducer")
    assert asked == [False, True] * 4


def test_random_weights_have_the_sizes_that_were_meant(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    fit = ["fit", *SMALL, "--data.train", str(reviews), *out, "--model.random_init"]
    for words in (fit, ["compare", "--config", SMOKE, *out, "--random_init"]):
        said = complaint(capsys, *words, "{num_hidden_layerz: 2}")
        assert "did you mean 'num_hidden_layers'?" in said
        said = complaint(capsys, *words, "{num_hidden_layers: 0}")
        assert "random_init.num_hidden_layers 0 is too small" in said
        said = complaint(capsys, *words, "{hidden_size: 30, num_attention_heads: 4}")
        assert "random_init {'hidden_size': 30, 'num_attention_heads': 4} gives no" in said


@pytest.mark.parametrize("command", ["fit", "test", "search"])
@pytest.mark.parametrize("seed", ["-1", "4294967296", "true"])
def test_a_seed_is_one_that_random_numbers_can_have(
    command: str,
    seed: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "nine")  # read where the option is true
    words = ["--data.train", "rows.csv", "--seed_everything", seed]
    of_model = [] if command == "fit" else ["--checkpoint", str(folder)]
    said = complaint(capsys, command, *of_model, *words)
    assert f"seed_everything {seed} cannot be used" in said
    assert "at most 4294967295" in said
    assert seed != "true" or "PL_GLOBAL_SEED: 'nine'" in said


def test_fine_tuning_takes_an_epoch_at_least(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    words = ["fit", *SMALL, "--data.train", str(reviews), *out, "--model.fine_tune.epochs"]
    assert "fine_tune.epochs 0 is too small" in complaint(capsys, *words, "0")
    for command in ("compare", "rationale"):
        words = [command, "--config", SMOKE, *out, "--fine_tune.epochs"]
        assert "fine_tune.epochs -1 is too small" in complaint(capsys, *words, "-1")
    methods = "{mine: {reducer: PowerBert, arguments: {search_epochs: -1}}}"
    words = ["compare", "--config", SMOKE, *out, "--methods", methods]
    assert "PowerBert.search_epochs -1 is too small" in complaint(capsys, *words)
    assert not (tmp_path / "out" / "stages").exists()


@pytest.mark.parametrize("command", ["compare", "rationale"])
def test_methods_of_a_file_are_left_out_with_null(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def methods(*words: str) -> set[str]:
        return set(parsed_comparison(parser_of(command), ["--config", SMOKE, *words])[0].methods)

    whole = methods()
    gone = ["--methods.adapler", "null", "--seeds", "[2]", "--methods.truncation=null"]
    assert methods(*gone) == whole - {"adapler", "truncation"}
    said = complaint(capsys, command, "--config", SMOKE, "--methods.adappler", "null")
    assert "unknown method 'adappler': did you mean 'adapler'? choose from" in said
    everything = [f"--methods.{name}=null" for name in whole]
    assert "methods" in complaint(capsys, command, "--config", SMOKE, *everything)


def test_methods_of_earlier_files_are_left_out_by_a_later_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def file(name: str, text: str) -> list[str]:
        (tmp_path / name).write_text(text)
        return ["--config", str(tmp_path / name)]

    def methods(*words: str) -> set[str]:
        return set(parsed_comparison(parser_of("compare"), [*smoke, *words])[0].methods)

    smoke = ["--config", SMOKE]
    whole = methods()
    without = file("without.yaml", "methods: {adapler: null, truncation: null}\n")
    assert methods(*without) == whole - {"adapler", "truncation"}
    assert methods(*without, "--methods.power_bert", "null", "--seeds", "[2]") == whole - {
        "adapler",
        "truncation",
        "power_bert",
    }
    own = file("own.yaml", "methods: {dense: {reducer: Dense}, adapler: {reducer: AdapLeR}}\n")
    assert methods(*without, *own) == {"dense", "adapler"}
    own = file("own.yaml", "seeds: [3]\nmethods: {dense: {reducer: Dense}, adapler: null}\n")
    assert methods(*own) == {"dense"}
    wrong = file("wrong.yaml", "methods: {adappler: null}\n")
    said = complaint(capsys, "compare", *smoke, *wrong)
    assert "unknown method 'adappler': did you mean 'adapler'? choose from" in said
    assert "methods" in complaint(capsys, "compare", *without)
    # a null is not what is wrong here
    slip = file("slip.yaml", "methods: {adapler: null, mine: {reducer: PowerBurt}}\n")
    said = complaint(capsys, "compare", *smoke, *slip)
    assert "PowerBurt" in said
    assert "adapler" not in said


@pytest.mark.parametrize("command", ["compare", "rationale"])
def test_a_comparison_without_fine_tuning_gets_one_by_what_comes_later(
    command: str, tmp_path: Path
) -> None:
    def fine_tune(*words: str) -> Any:
        return parsed_comparison(parser_of(command), ["--config", SMOKE, *words])[0].fine_tune

    (tmp_path / "none.yaml").write_text("fine_tune: null\nseeds: [4]\n")
    (tmp_path / "some.yaml").write_text("fine_tune: {epochs: 5, learning_rate: 3.0e-4}\n")
    none, some = (["--config", str(tmp_path / name)] for name in ("none.yaml", "some.yaml"))
    assert fine_tune(*none) is None
    assert fine_tune(*some, *none) is None
    assert fine_tune(*some, "--fine_tune", "null") is None
    usual = fine_tune(*some)
    assert usual.epochs == 5
    assert fine_tune(*none, *some) == usual
    options = ["--fine_tune.epochs", "5", "--fine_tune.learning_rate=3e-4"]
    assert fine_tune(*none, *options) == usual
    assert fine_tune(*none, "--fine_tune", "{epochs: 5, learning_rate: 3.0e-4}") == usual


@pytest.mark.parametrize(
    "option", ["operating_points.half", "task_arguments.mrpc.epochs", "space.mass_weight"]
)
def test_a_part_of_what_is_given_as_a_whole_is_told(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = f"--methods.power_bert.{option.partition('.')[0]}"
    words = ["compare", "--config", SMOKE, f"--methods.power_bert.{option}", "null"]
    said = complaint(capsys, *words)
    assert f"{words[-2]} cannot be changed alone" in said
    assert f"by {whole} '{{...}}'" in said
    given = ["--config", SMOKE, whole, "{some: {mass_weight: 0.1}}"]
    if "operating_points" in whole:
        found = parsed_comparison(parser_of("compare"), given)[0].methods["power_bert"]
        assert found.operating_points == {"some": {"mass_weight": 0.1}}


def test_what_a_file_says_of_a_method_is_taken_back_with_null(tmp_path: Path) -> None:
    def method(*words: str) -> Method:
        return parsed_comparison(parser_of("compare"), [*words])[0].methods["power_bert"]

    said = (
        "{reducer: PowerBert, arguments: {mass_weight: 0.1}, operating_points: {some: {}}, "
        "task_arguments: {mrpc: {mass_weight: 0.2}}, space: {mass_weight: {choices: [0.1]}}}"
    )
    (tmp_path / "some.yaml").write_text(f"tune: {{cost: 2}}\nmethods: {{power_bert: {said}}}\n")
    words = ["--config", SMOKE, "--config", str(tmp_path / "some.yaml")]
    given, bare = vars(method(*words)), vars(Method("PowerBert"))
    for name in ("arguments", "operating_points", "task_arguments"):
        assert given[name] != bare[name]
        without = vars(method(*words, f"--methods.power_bert.{name}", "null"))
        assert without == given | {name: bare[name]}
    untuned = vars(method(*words, "--methods.power_bert.space", "null", "--tune", "null"))
    assert untuned == given | {"space": {}}
    # so does a later file with nothing behind the name
    (tmp_path / "empty.yaml").write_text("methods: {power_bert: {reducer: PowerBert, space: }}\n")
    words += ["--config", str(tmp_path / "empty.yaml")]
    assert vars(method(*words, "--tune", "null")) == untuned


def test_a_range_that_comes_later_keeps_nothing_of_the_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def file(name: str, space: str) -> list[str]:
        method = f"methods: {{power_bert: {{reducer: PowerBert, space: {space}}}}}\n"
        (tmp_path / name).write_text("tune: {cost: 2}\n" + method)
        return ["--config", str(tmp_path / name)]

    first = ["--config", SMOKE, *file("a.yaml", "{mass_weight: {low: 0.1, high: 1, log: true}}")]
    for given in ("{low: 0.2, high: 3}", "{choices: [0.2, 3]}"):
        wanted = {"mass_weight": Range(**yaml.safe_load(given))}
        space = f"{{mass_weight: {given}}}"
        for words in (["--methods.power_bert.space", space], file("b.yaml", space)):
            found = parsed_comparison(parser_of("compare"), [*first, *words])[0]
            assert found.methods["power_bert"].space == wanted
    said = complaint(capsys, "compare", *first, *file("c.yaml", "{mass_weight: {lo: 1}}"))
    assert "methods.power_bert.space: unknown setting 'lo': did you mean 'low'?" in said
    said = complaint(capsys, "compare", *first, *file("c.yaml", "{mass_weight: 1}"))
    assert "methods.power_bert.space: 1 must be settings by their names" in said


def test_single_arguments_of_a_method_are_overridden(capsys: pytest.CaptureFixture[str]) -> None:
    place = "--methods.power_bert.arguments"

    def arguments(*words: str) -> Any:
        given = ["--config", SMOKE, *words]
        return dict(
            parsed_comparison(parser_of("compare"), given)[0].methods["power_bert"].arguments
        )

    whole = arguments()
    changed = arguments(f"{place}.mass_weight", "1e-3", f"{place}.configuration=[9, 4]")
    assert changed == whole | {"mass_weight": 0.001, "configuration": [9, 4]}
    # one that may be null is not the method
    assert arguments(f"{place}.configuration", "null") == whole | {"configuration": None}
    said = complaint(capsys, "compare", "--config", SMOKE, f"{place}.mas_weight", "2")
    assert "did you mean 'mass_weight'?" in said
    said = complaint(capsys, "compare", "--config", SMOKE, f"{place}.mass_weight", "[2")
    assert "'[2' cannot be read as a value" in said
    said = complaint(capsys, "compare", "--config", SMOKE, "--methods.powerbert.arguments.epochs=2")
    assert "unknown method 'powerbert': did you mean 'power_bert'?" in said


@pytest.mark.parametrize(
    ("words", "sst2"),
    [
        (["--task_data.sst2", "{dir: x, dev_rows: null}"], {"dir": "x", "dev_rows": None}),
        (["--task_data.sst2.dir=x"], {"dir": "x"}),
        (["--task_data", "{sst2: {dir: x}, mrpc: {dir: z}}"], {"dir": "x"}),
        (["--config", "LATER"], {"label_map": {"b": "c"}}),
        (["--task_data.sst2.dir", "x", "--config=LATER"], {"dir": "x", "label_map": {"b": "c"}}),
        (["--config", "{task_data: {sst2: {train_rows: 3}}}"], {"train_rows": 3}),
        (["--config", "task_data:" + 999 * " " + "{sst2: {dir: x}}"], {"dir": "x"}),
    ],
)
def test_what_is_said_later_of_the_data_leaves_the_rest(
    words: list[str], sst2: dict[str, Any], tmp_path: Path
) -> None:
    first = {
        "sst2": {"train_rows": 5, "dev_rows": 2, "label_map": {"a": "c"}},
        "cola": {"dir": "y"},
    }
    settings = {"tasks": ["sst2"], "methods": {"dense": {"reducer": "Dense"}}, "task_data": first}
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(settings | {"data": {"batch_size": 8}}))
    later = {"data": {"max_length": 7}, "task_data": {"sst2": {"label_map": {"b": "c"}}}}
    (tmp_path / "later.yaml").write_text(yaml.safe_dump(later))
    given = [word.replace("LATER", str(tmp_path / "later.yaml")) for word in words]
    base = ["--config", str(tmp_path / "first.yaml"), "--data", "{batch_size: 4}"]
    found = parsed_comparison(parser_of("compare"), [*base, *given])[0]
    mrpc = {"mrpc": {"dir": "z"}} if "mrpc" in str(words) else {}
    assert found.task_data == first | {"sst2": first["sst2"] | sst2} | mrpc
    assert found.data == {"batch_size": 4} | ({"max_length": 7} if "LATER" in str(words) else {})


def test_the_commands_own_file_is_added_to_as_a_named_one_is() -> None:
    own = parsed_comparison(parser_of("compare"), [])[0].data
    changed = parsed_comparison(parser_of("compare"), ["--data", "{train_rows: 12}"])[0].data
    assert changed == own | {"train_rows": 12}
    assert len(own) > 1


@pytest.mark.parametrize("more", [[], ["--engines", "[onnxruntime]"]], ids=["methods", "engines"])
def test_a_comparison_names_the_option_for_the_data_of_one_task(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "--config", SMOKE, *more, "--out", str(tmp_path / "out")]
    place = ["--tasks", "[sst2]", "--task_data.sst2.dir", str(tmp_path / "none")]
    said = complaint(capsys, *words, *place)
    assert "train.tsv; check the folder, --task_data.sst2.dir, and the name, " in said
    assert said.endswith("--task_data.sst2.train/dev/test or --task_data.sst2.files")
    # found out by the backbone, not where the rows are read
    said = complaint(capsys, *words, "--data.max_length", "900")
    assert "use --task_data.rotten_tomatoes.max_length 512 or less" in said


@pytest.mark.parametrize("option", [["--address", "auto"], ["--resources", "{cpu: 2}"]])
def test_what_is_of_a_cluster_is_not_ignored_without_one(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, "compare", "--config", SMOKE, "--out", str(tmp_path / "x"), *option)
    assert option[0] in said
    assert "of a Ray cluster: add --executor ray" in said


def test_the_command_that_is_told_next_can_be_run_as_it_is() -> None:
    folder = Path("my runs") / "model"
    test = "next:  tokendrop test --checkpoint 'my runs/model'"
    assert told_next(folder, to_be_trusted(DactBert().spec())).endswith(test)
    own = DropPunctuation(ids=[7])
    for method in (own, Chain([own, DactBert()])):
        assert told_next(folder, to_be_trusted(method.spec())).endswith(f"{test} --trust-reducer")


@pytest.mark.parametrize("command", ["compare", "fit", "predict", "report"])
def test_an_empty_place_is_not_the_current_folder(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--out", ""]) == 2
    assert "--out names no place" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "--checkpont", "m"], "required: --checkpoint (did you mean --checkpoint by"),
        (["export", "--checkpoint", "m"], "--checkpoint (give the FOLDER without --checkpoint; '"),
        (["choose", "--checkpoint=m"], "(give the DIR without --checkpoint; 'tokendrop choose"),
        (["validate", "--chekpoint=m"], "(did you mean --checkpoint by --chekpoint? 'tokendrop"),
        (["predict", "--checkpoint", "m", "--fil", "x.txt"], "--fil (did you mean --file by --fil"),
        (["predict", "--checkpoint", "m", "--shade", "x"], "--shade ('tokendrop predict --help'"),
    ],
)
def test_a_misspelt_option_is_told_with_what_it_may_mean(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in complaint(capsys, *words)
