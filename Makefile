# Everything a newcomer needs; each target makes what it stands on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# uv installs from the same lock in a tenth of pip's time; --compile-bytecode because Airflow starts in
# 1.4 s with bytecode and 3.6 s without.
$(STAMP): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -E '^uv==' requirements.txt)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.txt requirements-dev.txt
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/$(BIN)/python" -m %s "$$@"\n' "$(CURDIR)" "$(CURDIR)" include.cli > $(BIN)/assetflow
	@chmod +x $(BIN)/assetflow
	@touch $(STAMP)

install: $(STAMP)  ## the virtual environment, from the locked requirements

demo: $(STAMP)  ## a sample acquisition from this machine to S3, Code Ocean and DocDB, and what landed
	$(BIN)/assetflow demo

up: $(STAMP)  ## embedded services and Airflow, serving until Ctrl-C
	$(BIN)/assetflow local up

down: $(STAMP)  ## stop what `make up` started
	$(BIN)/assetflow local down

test: $(STAMP)  ## all tests
	$(BIN)/python -m pytest

bench: $(STAMP)  ## measured comparisons, as tables of ratios
	$(BIN)/python -m benchmarks

lint: $(STAMP)  ## format check, ruff with its Airflow rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lock: $(STAMP)  ## lock the requirements again
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 requirements-dev.in -o requirements-dev.txt

.PHONY: help install demo up down test bench lint lock
