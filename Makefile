# Needs Python 3.11 or newer, make, and the package registries. Everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO_HOME ?= $(CURDIR)/.demo
PROGRAMS = $(abspath $(BIN))
NOW := $(shell date +%m%d-%H%M%S)
SHELL = bash
.SHELLFLAGS = -o pipefail -c
PIP = $(BIN)/python -m pip --disable-pip-version-check
PACKAGES = sed -u -n 's/^Collecting \([^<>=!~ ;(]*\).*/  \1/p; s/^Installing collected.*/  now unpacking/p'  # as they come
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Studio needs Python 3.11 or newer: make PYTHON=python3.11")'

.PHONY: setup ui demo test test-long test-frameworks lint bench-quality release clean

setup: $(VENV)/installed ui

$(VENV)/installed: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), in a minute or two:"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]' | $(PACKAGES)
	touch $@

# The library of the dashboard's charts, from the npm registry or the one that NPM_CONFIG_REGISTRY names. No Node is needed.
ui: core/dashboard/vendor/uplot.version

core/dashboard/vendor/uplot.version: core/dashboard/vendor.lock.json core/dashboard/fetch_charts.py
	$(PYTHON) -I core/dashboard/fetch_charts.py
	touch $@

# The main job on real data: a grid on TensorBoard logs, then CMA-ES on `fitness:`. Installs what that needs, if `setup` has not.
demo: $(if $(wildcard $(VENV)/installed),setup,$(VENV)/demo) ui
	cd examples && STUDIO_HOME=$(DEMO_HOME) $(PROGRAMS)/studio run --project=digits-grid-$(NOW) --metric=val_loss:min \
		--num-workers=2 --hyperparam=lr=1e-4:l5:1 train_digits.py 8
	cd examples && STUDIO_HOME=$(DEMO_HOME) $(PROGRAMS)/studio run --project=digits-cma-$(NOW) --optimizer=cma --seed=1 \
		--max-experiments=16 --num-workers=2 --hyperparam=lr=1e-4:1:l --hyperparam=hidden=8:128:il train_digits.py 8
	@printf '%s\n' '' 'What to type next:' \
		'  export PATH="$(PROGRAMS):$$PATH" STUDIO_HOME="$(DEMO_HOME)"' \
		'  studio ui' \
		'  studio resume digits-cma-$(NOW) --max-experiments=24' \
		'and for a script of yours: studio inspect SCRIPT'

$(VENV)/demo: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	@echo "Installing what the demo needs into $(VENV), in half a minute or so:"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt --editable '.[demo]' | $(PACKAGES)
	@touch $@

test: setup
	$(BIN)/python -m pytest -n auto --dist worksteal </dev/null

# More rounds of the random tests, and those that take long.
test-long: setup
	STUDIO_TEST_LONG=1 $(BIN)/python -m pytest -n auto --dist worksteal -m '' --timeout=1800 </dev/null

# How good the answers of the optimizers are, beside peers that are installed: hours. Tables in benchmarks/results.
bench-quality: setup
	nice $(BIN)/python -m benchmarks.quality

# Keras on TensorFlow, PyTorch, Lightning, Hugging Face, Hydra and MLflow, in an environment of their own (about 5 GB).
test-frameworks:
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/python -m pip install --quiet --editable '.[dev]' tensorflow keras \
		torch lightning transformers accelerate tensorboard hydra-core mlflow
	STUDIO_TEST_FRAMEWORKS=1 .venv-frameworks/bin/python -m pytest tests/process/test_frameworks.py

# mypy sees the package as it is installed; a strict editable install shows it real files.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTHON) -m venv .venv-types
	.venv-types/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' --config-settings editable_mode=strict
	.venv-types/bin/mypy -p studio

# The packages of a release in dist/, checked, and the demo with the installed wheel alone; then the notes that changes/ makes.
release: ui
	@test -z "$$(git status --porcelain)" || { echo "commit first: make release takes what is committed"; exit 2; }
	rm -rf dist .venv-release .venv-installed
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check build twine check-wheel-contents towncrier
	.venv-release/bin/python -m build --outdir dist .
	rm -rf build *.egg-info  # setuptools leaves them behind
	.venv-release/bin/twine check --strict dist/*
	.venv-release/bin/check-wheel-contents dist/*.whl
	$(PYTHON) -m venv .venv-installed
	.venv-installed/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[demo]"
	.venv-installed/bin/studio --version
	$(MAKE) --no-print-directory --assume-old=.venv-installed/demo --assume-old=ui demo VENV=.venv-installed DEMO_HOME=$(CURDIR)/.demo
	.venv-release/bin/towncrier build --draft --version="$$(.venv-installed/bin/python -c 'import studio; print(studio.__version__)')"
	@echo "dist/ is ready: write the notes with .venv-release/bin/towncrier, commit, tag the commit, push the tag"

clean:
	rm -rf .venv .venv-types .venv-frameworks .venv-release .venv-installed .demo build dist *.egg-info core/dashboard/vendor
