# `make` lists what there is. Everything happens in .venv; nothing outside this folder is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := packaging/locks
PIP := $(BIN)/python -m pip --disable-pip-version-check
EDITABLE := $(PIP) install --quiet --no-deps --no-build-isolation -e .
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help serve test check unit slow bench binary test-binary lock clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

serve: $(VENV)/.demo ## Start the sandbox, a whole shop; LISTEN=127.0.0.1:9000 elsewhere
	@exec $(BIN)/reseller serve $(if $(LISTEN),--listen $(LISTEN))

test: check unit ## Everything CI runs: lint, types, tests

check: $(VENV)/.dev ## Lint and types
	@$(BIN)/ruff check reseller tests packaging
	@$(BIN)/ruff format --check --quiet reseller tests packaging
	@$(BIN)/mypy

unit: $(VENV)/.dev ## The tests alone; TESTS=tests/money for some of them
	@$(BIN)/python -m pytest -n auto --dist loadfile -rs $(TESTS)

slow: $(VENV)/.dev ## The long series: crashes, random days, fuzz
	@RESELLER_SLOW=1 $(BIN)/python -m pytest -m slow $(TESTS)

bench: $(VENV)/.dev ## Measure against the bars; writes tests/bench/out/
	@$(BIN)/python -m tests.bench

binary: $(VENV)/.dev ## Build dist/reseller, one file
	@$(BIN)/python packaging/build.py

test-binary: binary ## Start the built file and buy from it
	@RESELLER_BINARY=dist/reseller $(BIN)/python -m pytest packaging/tests

lock: ## Resolve the dependencies again into packaging/locks
	@$(PYTHON) -m uv --version >/dev/null 2>&1 || { echo "make lock needs uv: pip install uv"; exit 1; }
	@for set in run demo dev; do \
	  extra=$$([ $$set = run ] || echo "--extra $$set"); \
	  $(PYTHON) -m uv pip compile -q --upgrade --universal --generate-hashes --no-header \
	    --python-version 3.11 $$extra pyproject.toml -o $(LOCKS)/$$set.lock || exit 1; \
	done

clean: ## Remove what was built; ./data stays
	@rm -rf $(VENV) build dist tests/bench/out

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "reseller needs Python 3.11 or newer; say which: make PYTHON=python3.12 serve"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no virtual environments here; on Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(LOCKS)/demo.lock pyproject.toml | $(BIN)/python
	@echo "Installing (about a minute, once) …"
	@$(PIP) install --quiet --require-hashes -r $(LOCKS)/demo.lock
	@$(EDITABLE) >$(VENV)/install.log 2>&1 || { cat $(VENV)/install.log; exit 1; }
	@touch $@

$(VENV)/.dev: $(LOCKS)/dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need (about a minute, once) …"
	@$(PIP) install --quiet --require-hashes -r $(LOCKS)/dev.lock
	@$(EDITABLE) >$(VENV)/install.log 2>&1 || { cat $(VENV)/install.log; exit 1; }
	@touch $@ $(VENV)/.demo
