# Everything runs in .venv, which `make setup` fills with the versions that pyproject.toml pins.
.DEFAULT_GOAL := help
.PHONY: help setup workbook figures test test-any-cpu fuzz test-browser test-load outputs clean

BIN := .venv/bin
# The interpreters to make .venv with, best first, unless one is named: `make setup PYTHON=...`.
PYTHONS := $(or $(PYTHON),python3.11 python3 python3.12 python3.13)

NBVAL := -p tests.nbval_tolerances --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg --nbval-cell-timeout 900 --nbval-kernel-startup-timeout 120

# What to check or to store, if not all: `make test TESTS=tests/model`. Notebooks come first, as the
# longest; the many short files of tests then fill up whichever process is ahead.
TESTS := notebooks tests
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# One process for each core, but no more than memory is sure to hold; each file in one of them, in
# the order given. One thread each, as when the notebooks' outputs were stored: sums in another order
# can tip a search between two nearly equal scenes.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PYTEST = OMP_NUM_THREADS=1 DTIS_FIGURES="$(CURDIR)/build/figures" $(BIN)/python -m pytest $(NBVAL) $(PARALLEL)

# The kernels of a plainer CPU, without AVX: sums in another order must lead to the same results. The
# notebooks are those that compute most in a dozen seconds.
PLAIN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
QUICK := $(wildcard $(foreach number,01 03 04 13 15 16,notebooks/$(number)_*.ipynb))

# A user's own settings must not reach the tests and the notebooks: another kernel, another backend.
unexport PYTHONPATH PYTHONHOME JUPYTER_PATH MPLBACKEND
export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/installed ## make .venv and install the project there (instant when nothing changed)

.venv/installed: pyproject.toml dtis_core/display/jupyter_server.json
	@for python in $(PYTHONS); do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    [ -n "$$python" ] || { echo "dtis needs Python 3.11 or later, and none of these is:" \
	        "$(strip $(PYTHONS)); install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	    $$python -m venv --clear .venv || exit 1; \
	fi
	@echo "Installing dtis and its pinned packages into .venv: some minutes and 6 GB the first time."
	@# Python compiles what it imports, and so not the thousands of modules that nothing here does.
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[test]'
	@cp dtis_core/display/jupyter_server.json .venv/etc/jupyter/jupyter_server_config.d/dtis.json
	@touch $@

# The first model is trained by one thread, while the other cores run all notebooks that do without it:
# one at a time on two cores, at most three.
BESIDE := $(basename $(notdir $(wildcard notebooks/0[1-9]_*.ipynb notebooks/[1-9]*.ipynb)))
JOBS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); \
	echo $$((cores < 3 ? 1 : cores > 3 ? 3 : 2)))

workbook: setup ## train a first model in minutes, and execute every notebook: the place to start
	@mkdir -p runs
	@echo "Training a first model, in minutes: see runs/quickstart.log. Notebooks beside it:"
	@OMP_NUM_THREADS=1 $(BIN)/dtis train tetrominoes/quick --out runs/quickstart --overwrite \
	    >runs/quickstart.log 2>&1 & training=$$!; \
	trap 'kill $$training 2>/dev/null' EXIT; \
	$(BIN)/dtis figures --jobs $(JOBS) --only $(BESIDE); \
	wait $$training || { tail -n 3 runs/quickstart.log >&2; exit 1; }; \
	tail -n 1 runs/quickstart.log
	$(BIN)/dtis figures
	@echo "Made: a model in runs/quickstart, the notebooks' figures and their executed copies in figures/."
	@echo "Look at: figures/index.html in a browser; then $(BIN)/jupyter lab notebooks/ to play with them."

figures: setup ## execute the notebooks whose inputs changed, into figures/
	$(BIN)/dtis figures

# Notebooks draw into build/ here, so that testing leaves figures/ alone.
test: setup ## check style and types, run the tests, compare notebooks with their stored outputs
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/basedpyright --pythonpath $(BIN)/python & types=$$!; \
	$(PYTEST) $(TESTS) || status=1; \
	wait $$types || status=1; \
	exit $$status

test-any-cpu: setup ## compare the quick notebooks with their stored output as a plainer CPU would
	$(PLAIN) $(PYTEST) $(QUICK)

fuzz: setup ## damage what dtis reads in 20,000 ways; another SEED gives others
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --cases 20000 --seed $(or $(SEED),1)

test-browser: setup ## drive the scene editor in JupyterLab by headless Chromium, if there is one
	@$(BIN)/python -c 'import playwright' 2>/dev/null \
	    || $(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest -m browser tests/browser

test-load: setup ## kill workers and schedulers of sweeps, fill a disk, look for leaks: some minutes
	$(BIN)/python -m pytest -m load tests

outputs: setup ## run the notebooks, or NOTEBOOKS=..., and store their outputs in them
	OMP_NUM_THREADS=1 DTIS_FIGURES="$(CURDIR)/build/figures" $(BIN)/jupyter nbconvert \
	    --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
	    --CoalesceStreamsPreprocessor.enabled=True $(NOTEBOOKS)
	$(BIN)/python -m dtis_core.workbook.notebook $(NOTEBOOKS)

clean: ## remove .venv, figures/, caches and runs/quickstart; your other runs and data/ stay
	rm -rf .venv build runs/quickstart runs/quickstart.log *.egg-info .pytest_cache .ruff_cache .hypothesis
	[ ! -d figures ] || find figures -mindepth 1 -maxdepth 1 ! -name readme -exec rm -rf {} +
	find dtis_core tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
