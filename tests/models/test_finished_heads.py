"""A head that cannot be read, or that is for other classes, is named in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tokendrop
from tests.cli.test_cli import complaint
from tests.models.test_class_names import classes_case, classifier, options
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_backbone


class TestOtherClasses:
    @pytest.mark.parametrize(
        ("names", "lacking"),
        [
            (
                ["yes", "perhaps"],
                r"\(yes, perhaps\).*\(no, yes\): the model has no 'no'.*label_map",
            ),
            (["yes", "no", "LABEL_2"], r"3 classes \(yes, no, LABEL_2\).*data has no 'LABEL_2'"),
            (["LABEL_0", "LABEL_1", "LABEL_2"], r"3 classes \(LABEL_0, .*2 \(no, yes\)"),
            (["LABEL_1", "LABEL_0"], r"2 classes \(LABEL_1, LABEL_0\)"),
        ],
    )
    def test_are_refused_by_name(self, names: list[str], lacking: str, tmp_path: Path) -> None:
        folder = classifier(tmp_path, names)
        with pytest.raises(UserError, match=lacking):
            load_backbone(str(folder), ["no", "yes"])
        # weights that are drawn anew have no classes yet
        fresh = load_backbone(str(folder), ["no", "yes"], {"num_hidden_layers": 1})
        assert fresh.config.id2label == {0: "no", 1: "yes"}

    def test_are_no_numbers(self, tmp_path: Path) -> None:
        folder = str(classifier(tmp_path, ["yes", "no"]))
        with pytest.raises(UserError, match=r"2 classes \(yes, no\), not for regression"):
            load_backbone(folder, [], kind="regression")
        number = str(classifier(tmp_path / "number", ["LABEL_0"]))
        with pytest.raises(UserError, match=r"a head for one number, .* not for classes"):
            load_backbone(number, ["no", "yes"])

    def test_by_every_command_in_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        case = classes_case(tmp_path, ["yes", "no"])
        other = str(classifier(tmp_path / "other", ["yes", "perhaps"]))
        evaluated = [*options(case), "--checkpoint", other]
        for command in ("test", "validate"):
            assert "(yes, perhaps)" in complaint(capsys, command, *evaluated)
        words = [*options(case), "--model.backbone", other, "--out", str(tmp_path / "out")]
        assert "(yes, perhaps)" in complaint(capsys, "fit", *words)

    def test_a_model_for_another_kind_of_task(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        case = classes_case(tmp_path, ["yes", "no"])
        numbers = str(classifier(tmp_path / "numbers", ["LABEL_0"]))
        said = complaint(capsys, "test", "--checkpoint", numbers, *options(case))
        assert "is for regression but the data for classification" in said


class TestHeadsThatCannotBeRead:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return classifier(tmp_path, ["yes", "no", "perhaps"])

    def change(self, folder: Path, **changes: object) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"problem_type": "multi_label_classification"}, "multi-label"),
            ({"problem_type": "regression"}, "gives 3 numbers for each text"),
            ({"id2label": {"0": "yes", "1": "no", "3": "perhaps"}}, "ids 0, 1, 3, .* from 0 to 2"),
            ({"id2label": {"0": "yes", "1": "no", "2": "yes"}}, "'yes' to the classes 0 and 2"),
        ],
    )
    def test_are_named_wherever_they_begin(
        self, folder: Path, changes: dict[str, object], said: str
    ) -> None:
        self.change(folder, **changes)
        with pytest.raises(UserError, match=said) as loading:
            tokendrop.load(folder)
        with pytest.raises(UserError, match=said) as starting:
            load_backbone(str(folder), ["no", "perhaps", "yes"])
        for error in (loading, starting):
            assert str(folder) in str(error.value)

    def test_only_their_encoder_can_be_used(self, folder: Path) -> None:
        self.change(folder, problem_type="multi_label_classification")
        model = load_backbone(str(folder), ["no", "yes"], {"num_hidden_layers": 1})
        assert model.config.problem_type is None
