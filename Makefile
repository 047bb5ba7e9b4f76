# Every target begins with `setup`, which does nothing when nothing has changed.
# They work from any folder, also as `make -f PATH/Makefile ui`.
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
PYTHON ?= python3
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KILLS ?= 200
ROUNDS ?= 5
CASES ?= all
DATABASE ?= sqlite
SEED ?= 7
DATA ?= $(ROOT)/../shared/data
chaos: REPORT ?= docs/reports/kills.md
chaos-heal: REPORT ?= docs/reports/healing.md
export PIPELINE_HOME ?= $(ROOT)/var

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos chaos-heal bench check format ui lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Create .venv and install exactly what requirements.lock says

$(STAMP): $(ROOT)/requirements.lock $(ROOT)/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name another with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) (about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(ROOT)/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable $(ROOT)
	@touch $(STAMP)

demo: setup ## Run 500 fictional companies through everything, on loopback, with mild faults
	@PIPELINE_RETRY_BACKOFF_BASE=0.3 PIPELINE_CIRCUIT_BREAKER_TIMEOUT=0.3 $(BIN)/pipeline run $(ROOT)/examples/domains.csv --sandbox --faults mild --wait 150s

test: setup ## Run the whole test suite
	@cd $(ROOT) && $(BIN)/python -m pytest

chaos: setup ## Kill the main job KILLS times (200) and compare with a run that nobody killed
	@cd $(ROOT) && $(BIN)/python -m tests.campaigns.kills --kills $(KILLS) --seed $(SEED) --report $(REPORT)

chaos-heal: setup ## Break everything under real servers, ROUNDS (5) times each, and see it heal; CASES, DATABASE
	@cd $(ROOT) && $(BIN)/python -m tests.campaigns.healing --rounds $(ROUNDS) --seed $(SEED) --cases $(CASES) --database $(DATABASE) --report $(REPORT)

bench: setup ## Run the benchmarks, side by side with what they are compared to; DATA, a folder of real pages
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(ROOT)/benchmarks/requirements.txt
	@cd $(ROOT) && $(BIN)/python -m benchmarks.enrichment_cost --latency-ms 0
	@cd $(ROOT) && $(BIN)/python -m benchmarks.enrichment_cost --latency-ms 50
	@cd $(ROOT) && $(BIN)/python -m benchmarks.reconcile_tick
	@cd $(ROOT) && $(BIN)/python -m benchmarks.ingest_memory
	@cd $(ROOT) && $(BIN)/python -m benchmarks.extraction_quality $(DATA)
	@cd $(ROOT) && $(BIN)/python -m benchmarks.main_text $(DATA)
	@cd $(ROOT) && $(BIN)/python -m benchmarks.extraction_fuzz $(DATA)
	@cd $(ROOT) && $(BIN)/python -m benchmarks.scraping.speed $(DATA)
	@cd $(ROOT) && $(BIN)/python -m benchmarks.data_cases $(DATA)
	@cd $(ROOT) && $(BIN)/python -m benchmarks.hostile_servers

check: setup ## Format, lint, types and import contracts
	@cd $(ROOT) && $(BIN)/ruff format --check .
	@cd $(ROOT) && $(BIN)/ruff check .
	@cd $(ROOT) && $(BIN)/mypy
	@cd $(ROOT) && $(BIN)/lint-imports

format: setup ## Format the code
	@cd $(ROOT) && $(BIN)/ruff format .
	@cd $(ROOT) && $(BIN)/ruff check --fix .

ui: setup ## Start Dagster's webserver, daemon and code server on http://127.0.0.1:3000
	@$(BIN)/pipeline ui

lock: ## Resolve pyproject.toml into requirements.lock again (needs uv on PATH)
	cd $(ROOT) && uv pip compile --universal --no-strip-extras --python-version 3.11 --generate-hashes \
		--group dev --no-header pyproject.toml -o requirements.lock

clean: ## Remove the environment and caches; keeps PIPELINE_HOME
	cd $(ROOT) && rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
