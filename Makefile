# make serve   set up, then start the graph on http://localhost:8000; STS=, COLA=, QA= name other checkpoints
# make test    set up, then run all tests
# make bench   set up, then measure Munjang and its peers on this machine (hours; ARGS= narrows it, see benchmarks/README.md)
# make lint    formatting, lint, types

PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test bench lint format clean

serve: .venv/serve
	@set -a; . deploy/serve.env; set +a; \
	RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=1 PATH="$(CURDIR)/$(BIN):$$PATH" \
	exec $(BIN)/python -m deployments.launch serve_config.yaml \
	$(if $(STS),--sts "$(STS)") $(if $(COLA),--cola "$(COLA)") $(if $(QA),--qa "$(QA)")

test: lint
	$(BIN)/python -m pytest $(ARGS)

bench: .venv/bench
	$(BIN)/python -m benchmarks.run $(ARGS)

lint: .venv/dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/serve: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/bench: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@
