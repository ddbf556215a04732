# Phenoscale's two commands: `make demo` and `make test`. Both set up the virtual environment themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo "$$p" && break; done)
PYTEST_FLAGS ?= -q
# One thread a process: the tests run two processes on two cores, and results do not depend on the thread count.
TEST_WORKERS := -n 2 --dist loadgroup --no-loadscope-reorder
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
INPUTS := pyproject.toml constraints.txt

.PHONY: help setup demo test browser lint format acceptance bench compile golden docs render clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Phenoscale needs Python 3.11 or 3.12; name one with: make PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-all: $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) $(VENV)/.installed-all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed-dev  ## the virtual environment with everything, development tools included

demo: $(VENV)/.installed-all  ## the whole chain on a simulated screen, as a local Kubeflow pipeline
	$(BIN)/phenoscale run full --config demo

test: $(VENV)/.installed-dev  ## lint, types, contracts and every test except the slow proofs
	@mkdir -p build
	@make --no-print-directory lint >build/lint.log 2>&1 & lint=$$!; status=0; \
	$(TEST_ENV) $(BIN)/pytest $(PYTEST_FLAGS) $(TEST_WORKERS) -m "not acceptance" || status=$$?; \
	wait $$lint || status=1; cat build/lint.log; exit $$status

browser:  ## Debian's chromium, with which some tests look at the report (as root)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

lint: $(VENV)/.installed-dev  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## rewrite the code in the house format
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

acceptance: $(VENV)/.installed-dev  ## the slow proofs: three screen seeds, null screens, kills in every stage
	$(TEST_ENV) $(BIN)/pytest $(PYTEST_FLAGS) -s -m acceptance --timeout 7200

bench: $(VENV)/.installed-dev  ## performance scripts; each prints a table and writes JSON under build/bench
	@mkdir -p build/bench
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

compile: $(VENV)/.installed-all  ## compile the pipelines into the package again
	$(BIN)/phenoscale compile

golden: $(VENV)/.installed-dev  ## write the golden recipes again; review their diff
	PYTHONPATH=. $(BIN)/python tests/golden/write.py

docs: $(VENV)/.installed-all  ## write docs/verbs.md again from the configs
	$(BIN)/python docs/write_verbs.py

render: ## render the Kubernetes manifests
	kubectl kustomize infra/overlays/example

clean:  ## remove the virtual environment and everything the tools left
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache platform/*.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
