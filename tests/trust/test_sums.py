"""What is torn, flipped or edited by hand is noticed, said, and made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compare.synthetic import record
from tokendrop.compare.results.records import read_records, write_record
from tokendrop.compare.results.trust import CHANGED, EDITED, set_aside
from tokendrop.compare.tuning.journal import Journal, Lock
from tokendrop.files import write_text
from tokendrop.reducers.length_adaptive.search.front import Configuration
from tokendrop.reducers.length_adaptive.search.store import Store
from tokendrop.sums import is_changed
from tokendrop.training.checkpoints import WholeCheckpoints, resumable, save_tensors
from tokendrop.training.finished import MARKER, TrainedStage, finish, finished

Damage = tuple[int, int, bool]
DAMAGE = st.tuples(st.integers(0, 10**6), st.integers(0, 7), st.booleans())


def damaged(content: bytes, how: Damage) -> bytes:
    """The content with its end cut off, or one bit flipped."""
    place, bit, torn = how
    place %= len(content)
    if torn:
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@contextmanager
def damage_of(file: Path, how: Damage) -> Iterator[None]:
    whole = file.read_bytes()
    file.write_bytes(damaged(whole, how))
    try:
        yield
    finally:
        file.write_bytes(whole)


# -- what is torn or flipped is not believed ----------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record, tensors, and two checkpoints."""
    folder = tmp_path_factory.mktemp("written")
    write_record(record(), folder)
    save_tensors({"saliency": torch.arange(99.0)}, folder / "epoch1.safetensors")
    for name in ("last", "best"):
        state = {"epoch": 0, "state_dict": {"weight": torch.arange(50.0)}}
        WholeCheckpoints(folder / "best.ckpt").save_checkpoint(state, folder / f"{name}.ckpt")
    return folder


@pytest.mark.parametrize("name", ["runs/*.json", "epoch1.safetensors", "last.ckpt", "best.ckpt"])
def test_every_flip_and_tear_is_noticed(written: Path, name: str) -> None:
    (file,) = written.glob(name)
    assert not is_changed(file)

    @given(DAMAGE)
    def notices(how: Damage) -> None:
        with damage_of(file, how):
            assert is_changed(file)

    notices()


def test_a_damaged_sum_says_nothing_good_of_its_file(written: Path) -> None:
    file = written / "epoch1.safetensors"
    with damage_of(file.with_name(f"{file.name}.sha256"), (3, 1, False)):
        assert is_changed(file)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_training_does_not_go_on_from_a_damaged_checkpoint(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = [tmp_path / f"{one}.ckpt" for one in ("last", "best")]
    for file in files:
        state = {"epoch": 0, "state_dict": {"w": torch.arange(50.0)}}
        WholeCheckpoints(files[1]).save_checkpoint(state, file)
    assert resumable(*files)
    # as an earlier version wrote them
    for file in files:
        file.with_name(f"{file.name}.sha256").unlink()
    assert resumable(*files)
    torn = tmp_path / f"{name}.ckpt"
    torn.write_bytes(torn.read_bytes()[:200])
    assert not resumable(*files)
    assert f"{torn} is torn" in caplog.text
    assert list(tmp_path.iterdir()) == []


def stage_in(folder: Path) -> TrainedStage:
    (folder / "model" / "reducer").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "README.md", "reducer/figures.json"):
        (folder / "model" / name).write_text(f"what lies in {name}" * 5)
    save_tensors({"w": torch.arange(9.0)}, folder / "epoch1.safetensors")
    return finish(
        TrainedStage(
            name="search", epochs=1, seconds=1.0, flops=5, curve=[], chosen={}, folder=folder
        )
    )


@pytest.mark.parametrize(
    "name", [MARKER, "SHA256SUMS", "epoch1.safetensors", "model/model.safetensors"]
)
def test_a_stage_that_was_changed_is_trained_again(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    @settings(max_examples=20)
    @given(DAMAGE)
    def is_removed(how: Damage) -> None:
        folder = tmp_path / "stage"
        stage = stage_in(folder)
        # measuring a model writes its card again
        (folder / "model" / "README.md").write_text("more")
        assert finished(folder) == stage
        file = folder / name
        file.write_bytes(damaged(file.read_bytes(), how))
        caplog.clear()
        if finished(folder) is None:
            assert "its stage is trained again" in caplog.text
            assert not folder.exists()
        else:
            # of a list that lost its end the rest still holds
            assert name == "SHA256SUMS"
            shutil.rmtree(folder)

    is_removed()


def test_a_stage_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    stage = stage_in(tmp_path / "stage")
    (stage.folder / "SHA256SUMS").unlink()
    (stage.folder / "epoch1.safetensors.sha256").unlink()
    assert finished(stage.folder) == stage


# -- files that grow ----------------------------------------------------------------------------


def test_what_a_search_store_says_is_evaluated_or_known_from_before(tmp_path: Path) -> None:
    path, wanted = tmp_path / "evaluated.jsonl", [(n, n // 2) for n in range(30)]

    def evaluate(those: Sequence[Configuration]) -> tuple[list[float], int]:
        return [sum(one) / 7 for one in those], 100 * len(those)

    def opened() -> Store:
        return Store(path, evaluate, lambda _: None)

    first = opened()
    scores = first.scores(wanted)
    whole = path.read_bytes()

    @given(DAMAGE)
    def is_right(how: Damage) -> None:
        path.write_bytes(damaged(whole, how))
        again = opened()
        # of what was evaluated together nothing is believed if some of it is not whole
        assert len(again.known) in (0, 10, 20, 30)
        assert again.scores(wanted) == scores
        assert again.flops == first.flops
        assert opened().known == first.known

    is_right()
    for end in (1, 2):
        path.write_bytes(whole[:-end])
        assert opened().scores(wanted) == scores
        assert opened().known == first.known


def test_a_store_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "evaluated.jsonl"
    line = {"configuration": [3, 2], "score": 0.5, "seconds": 1.0, "flops": 9.0}
    path.write_text(json.dumps(line) + "\n" + '{"configuration": [3')
    assert Store(path, lambda _: ([], 0), lambda _: None).known == {(3, 2): 0.5}


def test_a_journal_is_believed_up_to_what_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.journal"
    lock = Lock(path)
    entries = [{"op_code": n, "value": n / 7, "name": "layers"} for n in range(5)]

    def read() -> list[dict[str, object]]:
        found = Journal(path, lock).read_logs(0)
        return [{key: one[key] for key in one if key != "sum"} for one in found]

    Journal(path, lock).append_logs(entries)
    whole = path.read_bytes()

    @given(DAMAGE)
    def is_right(how: Damage) -> None:
        path.write_bytes(damaged(whole, how))
        caplog.clear()
        found = read()
        line = whole[: how[0] % len(whole)].count(b"\n")
        assert found[:line] == entries[:line]
        values = [{key: one[key] for key in one if key in entries[0]} for one in found]
        assert values == entries[: len(found)]

    is_right()
    lock.close()


# -- a record that was edited by hand -----------------------------------------------------------


def edit(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"value": 0.99}))


def test_an_edited_record_is_shown_with_a_mark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_record(record(), tmp_path)
    assert not read_records(tmp_path)[0].has_caveat
    edit(path)
    (found,) = read_records(tmp_path)
    assert f"{path} was changed" in caplog.text
    assert found.value == 0.99
    assert found.has_caveat
    assert any(EDITED in note for note in found.notes)
    # as an earlier version wrote it, there is nothing to hold it against
    path.with_name(f"{path.name}.sha256").unlink()
    assert not read_records(tmp_path)[0].has_caveat


def test_an_edited_or_torn_record_is_measured_again_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_record(record(predictions_file="answers.csv"), tmp_path)
    answers = tmp_path / "answers.csv"
    write_text(answers, "example,label", summed=True)
    set_aside(path, tmp_path, again=True)
    assert path.is_file()
    edit(path)
    # nobody would measure it again
    set_aside(path, tmp_path, again=False)
    assert path.is_file()
    set_aside(path, tmp_path, again=True)
    assert not path.exists()
    assert json.loads(path.with_name(path.name + CHANGED).read_text())["value"] == 0.99
    assert "measured again" in caplog.text
    write_record(record(predictions_file="answers.csv"), tmp_path)
    answers.write_text("example,lobel")
    set_aside(path, tmp_path, again=True)
    assert not path.exists()
    path.write_text('{"torn": ')
    set_aside(path, tmp_path, again=False)
    assert not path.exists()
    assert read_records(tmp_path) == []
