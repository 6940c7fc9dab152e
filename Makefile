# Every target sets itself up in .venv: a fresh machine needs Python 3.11, make and a package index.
.DEFAULT_GOAL := help
.PHONY: help demo test check lint bench lock clean
PYTHON ?= python3.11
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Millstream needs Python 3.11: '$(PYTHON)' is not on the PATH. Install it, or name yours: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Millstream needs Python 3.11 or newer; $(PYTHON) is older." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the whole loop on a simulated shop: DEMO_MINUTES= STRATEGY= BUDGET= TRAINER=off LOG=path
	$(BIN)/millstream demo $(if $(DEMO_MINUTES),--minutes $(DEMO_MINUTES)) $(if $(STRATEGY),--strategy $(STRATEGY)) \
	  $(if $(BUDGET),--budget $(BUDGET)) $(if $(filter off,$(TRAINER)),--no-trainer) $(if $(LOG),--log "$(LOG)")

test: $(READY) ## every test, those on real Kafka included
	$(BIN)/pytest -m "not benchmark and not gpu"

check: lint ## format, lint, types, import contracts, fast tests
	$(BIN)/pytest -q -m "not kafka and not slow and not benchmark and not gpu"

lint: $(READY) ## check without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## the end-to-end benchmark: three minutes at 200 labeled impressions a second; RUNS=3 for the spread
	$(BIN)/python -m tests.benchmarks.bench_end_to_end $(if $(RUNS),--runs $(RUNS))

lock: $(READY) ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --all-extras \
	  pyproject.toml -o requirements.lock

clean: ## remove what the targets made here
	rm -rf .venv build *.egg-info demo-report bench-report backtest-report .bench
