# make serve   set up, then start the graph on http://localhost:8000; STS=, COLA=, QA= name other checkpoints, and
#              HOST=0.0.0.0 opens it to other machines, which needs API keys (docs/access.md)
# make test    set up, then run lint and all tests
# make test-faults   set up, then kill processes of a real graph and overload it; prints figures
# make bench   set up, then compare Munjang with other servers on this machine (takes hours; ARGS= passes options that
#              measure less, see benchmarks/README.md)
# make lint    set up, then check formatting, lint and types

PYTHON ?= python3
BIN := .venv/bin
PARALLEL := --numprocesses auto --dist loadfile

.PHONY: serve test test-quick test-faults bench lint format clean

# HOST counts only on the command line of make: shells and compilers set a variable of that name, too.
# Importing checkpoints and running them on a GPU need more packages.
serve: .venv/serve $(if $(STS)$(COLA)$(QA)$(wildcard /proc/driver/nvidia/version),.venv/models)
	@exec $(BIN)/munjang serve serve_config.yaml \
	$(if $(filter command%,$(origin HOST)),--host "$(HOST)") \
	$(if $(STS),--sts "$(STS)") $(if $(COLA),--cola "$(COLA)") $(if $(QA),--qa "$(QA)")

# Tests that start Ray have time limits that a busy machine would miss, so they run alone, after the others.
test: lint
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest $(PARALLEL) -m "not serve and not train and not faults"
	$(BIN)/python -m pytest -m "serve or train"
endif

test-quick: .venv/dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not serve and not train and not faults and not slow" $(ARGS)

test-faults: .venv/dev
	$(BIN)/python -m pytest -m faults $(ARGS)

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

.venv/models: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models]'
	touch $@

.venv/train: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	touch $@

.venv/dev: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/bench: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@
