# Everything one does with this project; `make help` lists it. Needs Python 3.11 or newer, make, and a package index.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup run test check lock bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := schemas rating metering tests benchmarks
LOCK_FLAGS := --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate --no-header

# An interpreter is taken only if it runs, is new enough and can make environments (a shim may be none of these).
PYTHONS := $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3
SUITABLE := import sys; assert sys.version_info >= (3, 11); import ensurepip, venv

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## make .venv with the exact locked packages and this project

$(STAMP): requirements.lock pyproject.toml
	@python=; \
	for candidate in $(PYTHONS); do \
	  if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then \
	    python=$$("$$candidate" -c 'import sys; print(sys.executable)'); break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python 3.11 or newer with venv was found among: $(PYTHONS)." >&2; \
	  echo "make: install one (on Debian: python3 python3-venv) or name it: make setup PYTHON=/path/to/python3.13" >&2; \
	  exit 1; \
	fi; \
	if [ -x $(BIN)/python ] && $(BIN)/python -c '$(SUITABLE)' >/dev/null 2>&1; then \
	  echo "make: $(VENV) is there, with $$($(BIN)/python --version)"; \
	else \
	  echo "make: making $(VENV) with $$python"; rm -rf $(VENV); "$$python" -m venv $(VENV) || exit 1; \
	fi; \
	if command -v uv >/dev/null 2>&1; then \
	  echo "make: installing the locked packages with uv"; \
	  uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
	  echo "make: installing the locked packages with pip (a minute or two)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

run: setup  ## set up, then show the whole engine at work: events in, balances, one final invoice out
	@$(BIN)/metering demo

test: setup  ## set up, then run all tests; those that need Apache Kafka are named if they are skipped
	$(BIN)/python -m pytest -n 2 --no-fold-skipped $(ARGS)

check: setup  ## format, lint, types, tidiness
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/tidy

lock:  ## resolve the dependencies of pyproject.toml anew (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make: lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	uv pip compile $(LOCK_FLAGS) pyproject.toml -o requirements.lock

bench: setup  ## run every benchmark; each prints JSON lines
	@for file in benchmarks/bench_*.py; do echo "# $$file"; $(BIN)/python "$$file" || exit 1; done

clean:  ## remove what can be made again: .venv, caches, builds
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks build dist
	find schemas rating metering tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
