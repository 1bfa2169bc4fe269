# fleetstream: `make run` and `make test` install what is missing first. All real work is in Python.

.DEFAULT_GOAL := help
.PHONY: help install run test check tables bench bench-quick
MAKEFLAGS += --no-print-directory

# The first Python that fits. 3.11 is asked first: it is what the Lambda functions run on.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { command -v $$python; exit; }; done)

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Install what is missing: .venv from uv.lock, then Java, Kafka, S3A, Pulumi into the per-user cache
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 on PATH: install one, or make install PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) envs/toolchain/bootstrap.py
	@.venv/bin/python -m envs.toolchain

run: install ## Run the platform end to end on this machine: make run ARGS="--rate 5000 --seconds 30"
	@.venv/bin/fleetstream run $(ARGS)

test: install ## Run all tests: make test ARGS="tests/envs -k toolchain"
	@.venv/bin/pytest $(ARGS)

bench: install ## Measure what this machine carries, against goals and peers: make bench ROW="headline peak"
	@.venv/bin/python -m benchmarks $(ROW) $(ARGS)

bench-quick: install ## The same in short, in a few minutes
	@.venv/bin/python -m benchmarks --quick $(ROW) $(ARGS)

check: install ## Lint, formatting and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright

tables: install ## Write the tables in documents that are made from settings
	@.venv/bin/python -m infra.differences
