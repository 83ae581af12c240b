# Every check and every command of the project; CI calls the same targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPENVINO_VENV := .venv-openvino
PROTOCOL_VENV := .venv-protocol
PACKAGES := crds kube operator device_runtime localfleet training cli examples benchmarks
SOURCES := $(PACKAGES) tests
# What an install of this project compiles.
NATIVE := device_runtime/build_native.py $(wildcard device_runtime/native/*)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps make a second `make` free; the lock files pin every package by hash.
$(VENV)/.stamp: locks/dev.txt pyproject.toml $(NATIVE)
	@echo "==> Python environment $(VENV) (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(OPENVINO_VENV)/.stamp: locks/openvino.txt pyproject.toml $(NATIVE)
	@echo "==> Python environment $(OPENVINO_VENV) with OpenVINO (once, about half a minute)"
	@test -x $(OPENVINO_VENV)/bin/python || $(PYTHON) -m venv $(OPENVINO_VENV)
	@$(OPENVINO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/openvino.txt
	@$(OPENVINO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PROTOCOL_VENV)/.stamp: locks/protocol.txt pyproject.toml $(NATIVE)
	@echo "==> Python environment $(PROTOCOL_VENV) with the clients of KServe and Triton (once, about a minute)"
	@test -x $(PROTOCOL_VENV)/bin/python || $(PYTHON) -m venv $(PROTOCOL_VENV)
	@$(PROTOCOL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/protocol.txt
	@$(PROTOCOL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
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
	@$(BIN)/python -m pytest -q --numprocesses=auto --dist=worksteal tests/unit tests/examples
	@$(BIN)/python -m pytest -q tests/runtime tests/integration  # they share one control plane, so one process
	@$(BIN)/python -m pytest -q --numprocesses=auto tests/fuzz  # a minute of fuzzing in all

.PHONY: properties
properties: venv ## The unit tests, with twenty times as many examples for each property
	@$(BIN)/python -m pytest -q --numprocesses=auto --hypothesis-profile=thorough tests/unit tests/examples

.PHONY: test-protocol
test-protocol: $(PROTOCOL_VENV)/.stamp ## KServe's and Triton's own clients against the runtime, then the fuzzers
	@# One process each: both libraries register the protocol's messages under the same names.
	@$(PROTOCOL_VENV)/bin/python -m pytest -q -W default tests/protocol/test_triton_clients.py
	@$(PROTOCOL_VENV)/bin/python -m pytest -q -W default tests/protocol/test_kserve_clients.py
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=60

FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: $(VENV)/.stamp ## Fuzz HTTP, JSON, binary tensors and gRPC for FUZZ_SECONDS (600)
	@FLEETFIT_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -q tests/fuzz

.PHONY: e2e
e2e: venv binaries ## The fleet end to end
	@$(BIN)/python -m pytest -q tests/e2e

.PHONY: bench-predict
bench-predict: venv ## Measure the predictor on devices it has not seen
	@$(BIN)/python -m benchmarks.predict

.PHONY: bench-select
bench-select: venv ## Measure the choice with simulated users of real devices
	@$(BIN)/python -m benchmarks.select

.PHONY: bench-serving
bench-serving: venv ## Measure the runtime's serving beside other Python model servers
	@$(BIN)/python -m benchmarks.serving

.PHONY: bench-telemetry
bench-telemetry: venv ## Measure what metrics, exemplars and traces cost a request
	@$(BIN)/python -m benchmarks.serving.telemetry_cost

.PHONY: lint
lint: $(VENV)/.stamp ## Format, lint, types, import contracts, generated files
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python crds/generate.py --check
	@$(BIN)/python device_runtime/compile_protos.py --check

.PHONY: fmt
fmt: $(VENV)/.stamp ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

.PHONY: generate
generate: $(VENV)/.stamp ## Rebuild the CRDs and the API reference from the models
	@$(BIN)/python crds/generate.py
	@$(BIN)/python device_runtime/compile_protos.py

.PHONY: lock
lock: ## Resolve the dependencies anew and pin them by hash
	@locks/compile

.PHONY: clean
clean: ## Remove environments and build results
	@rm -rf $(VENV) $(OPENVINO_VENV) $(PROTOCOL_VENV) build
