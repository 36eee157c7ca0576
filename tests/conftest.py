"""Settings of all tests: no network, no account, the same random numbers every time."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_CACHE = tempfile.mkdtemp(prefix="tokendrop-test-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
# read by the libraries when they are imported, hence before the imports below
os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENDROP_CACHE=_CACHE)
# no list of all installed packages beside each of the runs
os.environ.update(WANDB_X_SAVE_REQUIREMENTS="false", WANDB_DISABLE_JOB_CREATION="true")

import logging  # noqa: E402
import random  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402, F401
from hypothesis import settings  # noqa: E402

from tests import drawing  # noqa: E402

if not torch.cuda.is_available():
    # the kernels for GPUs run on a processor, slowly, by Triton's interpreter
    os.environ["TRITON_INTERPRET"] = "1"
settings.register_profile("tokendrop", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tokendrop")
torch.set_num_threads(1)  # tiny tensors, and pytest -n has the cores busy already


# files whose tests take a minute, or wait for the processes that they start: begun first, so that
# others run beside them and none is left alone on a core at the end
_LONG = {
    "test_executors.py",
    "test_hostile_folders.py",
    "test_processes_of_fit.py",
    "test_processes.py",
    "test_compare.py",
    "test_kernels_compile.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONG)


class _Deprecations(logging.Handler):
    """Remembers what transformers says will go away."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "deprecat" in record.getMessage().lower():
            self.messages.append(record.getMessage())


_deprecations = _Deprecations()
logging.getLogger("transformers").addHandler(_deprecations)


@pytest.fixture(autouse=True)
def _no_deprecated_calls() -> Iterator[None]:
    _deprecations.messages.clear()
    yield
    assert not _deprecations.messages, f"transformers warns: {_deprecations.messages}"


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    # torch.manual_seed also reads the stack once for each kind of device that is not there
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@pytest.fixture(scope="session", autouse=True)
def _undrawn() -> Iterator[None]:
    with drawing.undrawn():
        yield


@pytest.fixture(scope="module")
def drawn() -> Iterator[None]:
    """For tests that look at figures."""
    with drawing.drawn():
        yield
