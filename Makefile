# Every target makes .venv, says what it downloads, and is quick the second time.
#   make demo    the whole loop: train, prove, serve, replace live, refuse, roll back; again, by the cache
#   make test    all tests but the slow ones
#   make check   format, lint, types, layers, unit tests
#   make bench   every measurement, one JSON object a line
#   make mutants broken versions of the code, each of which a named test must catch
# TORCH_INDEX=URL takes torch and torchvision from another index, e.g. one with CPU wheels.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
ARGS ?=
WORKERS ?= auto
PIP := $(BIN)/python -m pip install --quiet

.PHONY: demo test check check-style check-types check-tests bench mutants slow clean

demo: $(VENV)/.train
	$(BIN)/sightloop demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.train
	$(BIN)/python -m pytest $(ARGS)

slow: $(VENV)/.dev $(VENV)/.train
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target check-style check-types check-tests

check-style: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

check-types: $(VENV)/.dev
	$(BIN)/mypy

check-tests: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/unit tests/architecture

bench: $(VENV)/.dev
	$(BIN)/sightloop bench all --json $(ARGS)

mutants: $(VENV)/.dev
	$(BIN)/python tests/mutants/run.py $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, found " + sys.version.split()[0]'
	@$(PYTHON) -m venv $(VENV) || { echo "no venv: install it (Debian, Ubuntu: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "installing sightloop and its development tools into $(VENV): about 200 MB to download, 600 MB on disk"
	@$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.train: $(BIN)/python pyproject.toml
	@echo "installing sightloop with the extras registry (MLflow, about 250 MB to download) and train (Ultralytics and torch: up to 3 GB to download, 7 GB on disk with CUDA; TORCH_INDEX=URL takes smaller CPU wheels)"
	@echo "licence: Ultralytics is AGPL-3.0; Sightloop itself is Apache-2.0 and never imports it while serving (docs/licensing.md)"
	@if [ -n "$(TORCH_INDEX)" ]; then $(PIP) torch torchvision --index-url "$(TORCH_INDEX)"; fi
	@$(PIP) -e '.[registry,train]'
	@touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache
