# Every check and every command of the project; CI calls the same targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPENVINO_VENV := .venv-openvino
PACKAGES := crds kube operator device_runtime localfleet training examples
SOURCES := $(PACKAGES) tests

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps make a second `make` free; the lock files pin every package by hash.
$(VENV)/.stamp: locks/dev.txt pyproject.toml
	@echo "==> Python environment $(VENV) (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(OPENVINO_VENV)/.stamp: locks/openvino.txt pyproject.toml
	@echo "==> Python environment $(OPENVINO_VENV) with OpenVINO (once, about half a minute)"
	@test -x $(OPENVINO_VENV)/bin/python || $(PYTHON) -m venv $(OPENVINO_VENV)
	@$(OPENVINO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/openvino.txt
	@$(OPENVINO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.stamp $(OPENVINO_VENV)/.stamp ## Make the Python environments

.PHONY: binaries
binaries: $(VENV)/.stamp ## Build etcd, the control plane, kubectl and helm into the cache (once, some minutes)
	@$(BIN)/python -m localfleet build

.PHONY: demo
demo: venv ## Show the whole loop on a real control plane and unlike nodes, then clean up
	@$(BIN)/python -m localfleet demo

.PHONY: up
up: venv ## As demo, and stay up until `make down`
	@$(BIN)/python -m localfleet demo --stay

.PHONY: down
down: venv ## Stop what `make up` started
	@$(BIN)/python -m localfleet down

.PHONY: test
test: venv binaries ## Unit, runtime and integration tests (real API server, real models)
	@$(BIN)/python -m pytest -q

.PHONY: e2e
e2e: venv binaries ## The fleet end to end
	@$(BIN)/python -m pytest -q tests/e2e

.PHONY: lint
lint: $(VENV)/.stamp ## Format, lint, types, import contracts, generated files
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python crds/generate.py --check

.PHONY: fmt
fmt: $(VENV)/.stamp ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

.PHONY: generate
generate: $(VENV)/.stamp ## Rebuild the CRDs and the API reference from the models
	@$(BIN)/python crds/generate.py

.PHONY: lock
lock: ## Resolve the dependencies anew and pin them by hash
	@locks/compile

.PHONY: clean
clean: ## Remove environments and build results
	@rm -rf $(VENV) $(OPENVINO_VENV) build
