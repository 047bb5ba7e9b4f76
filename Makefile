# Every target begins with `setup`, which does nothing when nothing has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KILLS ?= 200
SEED ?= 7
REPORT ?= docs/reports/kills.md
export PIPELINE_HOME ?= $(CURDIR)/var

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos bench check format ui lock clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Create .venv and install exactly what requirements.lock says

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name another with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) (about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## Run 500 fictional companies through everything, on loopback, with mild faults
	@PIPELINE_RETRY_BACKOFF_BASE=0.3 PIPELINE_CIRCUIT_BREAKER_TIMEOUT=0.3 $(BIN)/pipeline run examples/domains.csv --sandbox --faults mild --wait 150s

test: setup ## Run the whole test suite
	@$(BIN)/python -m pytest

chaos: setup ## Kill the main job KILLS times (200) and compare with a run that nobody killed
	@$(BIN)/python -m tests.campaigns.kills --kills $(KILLS) --seed $(SEED) --report $(REPORT)

bench: setup ## Run the benchmarks, side by side with what they are compared to
	@$(BIN)/python -m benchmarks.enrichment_cost --latency-ms 0
	@$(BIN)/python -m benchmarks.enrichment_cost --latency-ms 50

check: setup ## Format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

ui: setup ## Start Dagster's webserver, daemon and code server on http://127.0.0.1:3000
	@$(BIN)/pipeline ui

lock: ## Resolve pyproject.toml into requirements.lock again (needs uv on PATH)
	uv pip compile --universal --no-strip-extras --python-version 3.11 --generate-hashes \
		--group dev --no-header pyproject.toml -o requirements.lock

clean: ## Remove the environment and caches; keeps PIPELINE_HOME
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
