# Every target makes its own environment, .venv, from Python 3.11 or later alone, once.
# Options of `robustiqa demo` go into ARGS: make demo ARGS="--data photos.csv"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),$(BIN)/uv)
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
ARGS ?=

.PHONY: help demo demo-weights test test-slow check format-check types bench bench-quick performance peers results docs \
	lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: $(READY) ## Train, attack and compare a baseline and an NT model in minutes; write the report
	$(BIN)/robustiqa demo $(ARGS)

demo-weights: $(READY) ## Rebuild the pair of models that ships in the package
	$(BIN)/python -m robustiqa.experiments.demo_weights $(ARGS)

test: check ## Run the gate, then every test but the slow ones
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(READY) ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 3600 $(ARGS)

check: format-check types ## Check format, lint, types and the import rule
	$(BIN)/python -m pytest tests/contracts/test_imports.py tests/contracts/test_start_up.py

format-check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(READY)
	$(BIN)/mypy --strict

demo demo-weights bench bench-quick: export GLIBC_TUNABLES ?= glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.hugetlb=1

bench: $(READY) peers ## Measure speed and memory, side by side with peers; hours, in pieces if need be
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-quick: $(READY) ## See in a minute, on small sizes, that every measurement works
	$(BIN)/python -m benchmarks.run --quick $(ARGS)

performance: $(READY) ## Rebuild docs/performance.md from benchmarks/results/
	$(BIN)/python -m benchmarks.rendering

# torchattacks and foolbox beside the very packages of .venv, which they stay out of. Without them, the bench says so.
peers: $(PEERS)/.ready

$(PEERS)/.ready: benchmarks/peers.txt $(READY)
	$(BIN)/python -m venv --clear --without-pip $(PEERS)
	$(BIN)/python -c "import site, sysconfig as s; print(f'import site; site.addsitedir({s.get_path(\"purelib\")!r})')" \
		> "$$($(PEERS)/bin/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/main-environment.pth"
	$(UV) pip install --quiet --python $(PEERS)/bin/python --no-deps --requirement benchmarks/peers.txt \
		&& touch $@ || { rm -rf $(PEERS); echo "the peers could not be installed; they are skipped" >&2; }

results: $(READY) ## Rebuild docs/results.md from the records in results/
	$(BIN)/python -m robustiqa.experiments.results

docs: $(READY) ## Build the documentation into site/; any warning is an error
	$(BIN)/mkdocs build --strict $(ARGS)

# What is installed follows pyproject.toml and the lock; a failed install leaves no stamp and is made again.
$(READY): pyproject.toml requirements.lock | $(BIN)/python $(UV)
	$(UV) pip install --python $(BIN)/python --requirement requirements.lock --editable '.[dev,docs,kornia,tensorboard]'
	touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or later on the path, found none; \
	install one or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)

$(BIN)/uv: | $(BIN)/python
	$(BIN)/python -m pip install --quiet uv

lock: | $(BIN)/python $(UV) ## Pin the newest versions that pyproject.toml allows
	$(UV) pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links \
		--extra dev --extra docs --extra kornia --extra tensorboard --output-file requirements.lock pyproject.toml

clean: ## Remove what building and testing leave behind, but neither environments nor runs
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
