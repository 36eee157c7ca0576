# The two commands of the README; each sets itself up on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/demo

.PHONY: compare test lint setup clean

compare: setup
	$(BIN)/tokendrop compare --config configs/compare/demo.yaml --out $(OUT)

test: setup lint
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/done

.venv/done: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable '.[demo,dev]'
	touch .venv/done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache runs
