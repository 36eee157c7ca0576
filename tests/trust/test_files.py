"""Files and folders: nothing is lost to a kill or a full disk, nothing torn is believed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from tests.deploy.test_export import exported
from tests.models.test_model import model_of
from tokendrop.deploy.int8 import quantise
from tokendrop.errors import UserError
from tokendrop.files import (
    check_target,
    file_name,
    remove_drafts,
    whole_file,
    whole_folder,
    write_text,
)
from tokendrop.holding import hold, one_writer
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.sums import is_changed
from tokendrop.training.checkpoints import WholeCheckpoints, save_tensors

# -- drafts, links, names -----------------------------------------------------------------------


def killed_while(folder: Path, code: str) -> None:
    lines = f"import os\nfrom pathlib import Path\nfrom tokendrop.files import *\n{code}"
    words = [sys.executable, "-c", lines]
    assert subprocess.run(words, cwd=folder, check=False).returncode == 9


def test_what_a_kill_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    inside = "draft.write_text('half')\n    os._exit(9)"
    killed_while(tmp_path, f"with whole_file(Path('a/file')) as draft:\n    {inside}")
    killed_while(
        tmp_path, f"with whole_folder(Path('a/model')) as draft:\n    draft /= 'x'\n    {inside}"
    )
    assert len(list((tmp_path / "a").iterdir())) == 2
    with whole_file(tmp_path / "a" / "other") as draft:
        remove_drafts(tmp_path)
        draft.write_text("of a process that lives")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]


def test_a_folder_whose_replacement_was_killed_is_there_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").write_text("old")
    killed_while(
        tmp_path,
        """with whole_folder(Path('model')) as draft:
    (draft / 'x').write_text('new')
    move = os.replace
    os.replace = lambda one, other: os._exit(9) if one == draft else move(one, other)""",
    )
    assert not (tmp_path / "model").exists()
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "x").read_text() == "old"


def test_what_somebody_else_calls_a_draft_stays(tmp_path: Path) -> None:
    ours = f".0123abcd-{os.getpid()}-x7"  # of another machine
    names = ["thesis.draft", ".notes.draft", "4-chapters.draft", f"{ours}.draft", f"{ours}-b.draft"]
    for place in (tmp_path, tmp_path / "home"):
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).write_text("mine")
            os.utime(place / name, (0, 0))  # long ago
    with one_writer(tmp_path / "model-onnx"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[:3], "home"])
    # what lies below is none of that command's business
    assert len(list((tmp_path / "home").iterdir())) == len(names)
    with hold(tmp_path):
        pass
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == sorted(names[:3])


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "big disk" / "model").mkdir(parents=True)
    (tmp_path / "big disk" / "file").write_text("old")
    for name in ("model", "file"):
        (tmp_path / name).symlink_to(tmp_path / "big disk" / name)
    with whole_folder(tmp_path / "model") as draft:
        (draft / "config.json").write_text("{}")
    write_text(tmp_path / "file", "new", summed=True)
    assert (tmp_path / "big disk" / "model" / "config.json").read_text() == "{}"
    assert (tmp_path / "big disk" / "file").read_text() == "new"
    assert (tmp_path / "model").is_symlink()
    assert not is_changed(tmp_path / "big disk" / "file")


def test_a_full_disk_is_named_by_what_was_to_be_written(tmp_path: Path) -> None:
    target, other = tmp_path / "model", tmp_path / "elsewhere"
    for error in (OSError(errno.EFBIG, "File too large"), RuntimeError("File too large (27)")):
        with pytest.raises(OSError, match="File too large") as found, whole_folder(target):
            raise error
        assert found.value.filename == str(target)
    with pytest.raises(IsADirectoryError) as found, whole_folder(target) as draft:
        draft.write_text("it is a folder")
    assert found.value.filename == str(target)
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole_folder(target):
        other.read_text()
    assert not list(tmp_path.iterdir())


def test_a_target_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "model").symlink_to(tmp_path / "file" / "model")
    for target in ("model", "file"):
        with pytest.raises(UserError, match=r"cannot write|is a file"):
            check_target(tmp_path / target, "config.json")


def test_a_folder_of_something_else_is_no_target(tmp_path: Path) -> None:
    mine = tmp_path / "project"
    mine.mkdir()
    check_target(mine, "reducer/config.json")
    (mine / "thesis.tex").write_text("three years")
    with pytest.raises(UserError, match=r"project holds other files .* name another folder"):
        check_target(mine, "reducer/config.json")
    with pytest.raises(UserError, match="project holds other files"):
        model_of(DactBert()).save_pretrained(mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    model = tmp_path / "model"
    for _ in range(2):  # one of ours is replaced
        model_of(DactBert()).save_pretrained(model)
    assert (model / "reducer" / "config.json").is_file()


def test_a_failed_replacement_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "model") as draft:
        (draft / "x").write_text("old")
    replace = os.replace

    def second_fails(source: Path, target: Path) -> None:
        if source.name.endswith(".draft") and "older" not in source.name:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="Input"), whole_folder(tmp_path / "model") as draft:
        (draft / "x").write_text("new")
    assert (tmp_path / "model" / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@given(st.text())
def test_any_name_is_a_file_name(name: str) -> None:
    found = file_name(name)
    assert 0 < len(found) <= 180
    assert found.isascii()
    assert not set(found) & set('/\\:*?"<>|\0 ')
    assert found.split(".")[0].lower() not in ("con", "nul", "com1", "")


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "/etc/passwd", "con.x", "x" * 300])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "runs" / f"{file_name(name)}.json"
    write_text(path, "{}", summed=True)
    assert path.resolve().parent == (tmp_path / "runs").resolve()
    assert file_name(f"{name}a") != file_name(name)


def test_usual_names_stay_as_they_are() -> None:
    for name in ("power_bert--mild--sst2--seed0", "a=1,b=2", "top-0.5+x@y"):
        assert file_name(name) == name


# -- a full disk --------------------------------------------------------------------------------


BEST = Path("another folder") / "best.ckpt"


@pytest.mark.parametrize(
    "write",
    [
        lambda file: write_text(file, "x" * 9000, summed=True),
        lambda file: save_tensors({"w": torch.zeros(9000)}, file),
        lambda file: WholeCheckpoints(BEST).save_checkpoint({"w": torch.zeros(9000)}, file),
    ],
    ids=["text", "tensors", "checkpoint"],
)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    resource = pytest.importorskip("resource")
    file = tmp_path / "file"
    write_text(file, "old", summed=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as error:
            write(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(file)
    assert file.read_text() == "old"
    assert not is_changed(file)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("most", [100, 1000, 20_000, 150_000])
def test_a_disk_that_is_full_at_any_file_of_a_model_leaves_the_old_one(
    tmp_path: Path, most: int
) -> None:
    resource = pytest.importorskip("resource")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{n}" for n in range(9000))]
    model = model_of(DactBert())
    # of some libraries below the error is one of the system, of others it is not
    model.tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(words)})
    model.save_pretrained(tmp_path / "model")
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "model").rglob("*.*")}
    assert 20_000 < sizes["model.safetensors"] < 150_000 < sizes["tokenizer.json"]
    old = (tmp_path / "model" / "model.safetensors").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot save the model to .*File too large"):
            model.save_pretrained(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_int8_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    _, folder, _ = exported("power_bert", 3)
    file = Path(shutil.copy(folder / "model.onnx", tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(UserError, match=r"model\.onnx cannot be quantised.*make room"):
            quantise(file, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- one process in a folder --------------------------------------------------------------------


HOLDS = """
import sys
from pathlib import Path
from tokendrop.holding import hold
with hold(Path(sys.argv[1]), *sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_a_folder(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLDS, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == b"held\n"
        for part in (None, "1 of 2"):
            with pytest.raises(UserError) as error, hold(tmp_path, part):
                pass
            assert f"{tmp_path} is in use by process {other.pid} on " in str(error.value)
            assert str(tmp_path) in str(error.value).split("(", 1)[1]
        # a killed one holds nothing any more
        other.kill()
        other.wait()
    with hold(tmp_path):
        pass


def test_parts_are_held_side_by_side(tmp_path: Path) -> None:
    with hold(tmp_path, "1 of 2"), hold(tmp_path, "2 of 2"):
        for part in (None, "1 of 2"):
            with pytest.raises(UserError, match="in use by process"), hold(tmp_path, part):
                pass
    with hold(tmp_path):
        pass


def test_a_part_that_begins_while_another_looks_around_is_not_refused(tmp_path: Path) -> None:
    looking = FileLock(tmp_path / ".lock", thread_local=False)  # as every part does when it begins
    looking.acquire()
    timer = threading.Timer(0.3, looking.release)
    timer.start()
    with hold(tmp_path, "1 of 2"):
        pass
    timer.join()


def test_one_process_writes_a_folder_that_appears_at_once(tmp_path: Path) -> None:
    target = tmp_path / "model-onnx"
    with one_writer(target):
        assert not target.exists()
        with pytest.raises(UserError, match=f"{target} is in use by"), one_writer(target):
            pass
        with one_writer(tmp_path / "another"):
            pass
    with one_writer(target):
        pass
    assert list(tmp_path.iterdir()) == []
