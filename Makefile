# make serve   set up, then start the graph on http://localhost:8000; STS=, COLA=, QA= name other checkpoints (with
#              POSITIVE_LABEL= and SCALE="LOW HIGH" where needed, docs/checkpoints.md), and HOST=0.0.0.0 opens it to
#              other machines, which needs API keys (docs/access.md)
# make test    set up, then run lint and all tests
# make test-clients   set up, then use real clients of other servers (OpenAI, Hugging Face and others, 545 MB)
# make test-faults   set up, then kill processes of real graphs, jobs and trainings, and overload a graph; prints figures
# make test-cluster  set up, then start Ray nodes in network namespaces (as root) and let them come and go; prints figures
# make bench   set up, then compare Munjang with other servers on this machine (takes hours; ARGS= passes options that
#              measure less, see benchmarks/README.md)
# make lint    set up, then check formatting, lint and types, and look up known vulnerabilities of the packages
# make sbom    set up, then list all installed packages in sbom.json (CycloneDX)

PYTHON ?= python3
BIN := .venv/bin
PARALLEL := --numprocesses auto --dist loadfile
# Files with tests that start Ray; importing all others takes seconds.
ON_RAY = $$(grep --recursive --files-with-matches --extended-regexp --include='*.py' 'mark\.(serve|train)\b' tests | sort)

# Without bytecode on disk, each of Ray's processes would compile all its packages again.
unexport PYTHONDONTWRITEBYTECODE

PYPI_ANSWERS := import urllib.request as r; r.urlopen('https://pypi.org/pypi/pip/json', timeout=5)

.PHONY: serve test test-quick test-faults test-cluster test-clients bench lint audit sbom format clean

# HOST counts only on the command line of make: shells and compilers set a variable of that name, too.
# Importing checkpoints and running them on a GPU need more packages.
serve: .venv/serve $(if $(STS)$(COLA)$(QA)$(wildcard /proc/driver/nvidia/version),.venv/models)
	@exec $(BIN)/munjang serve serve_config.yaml \
	$(if $(filter command%,$(origin HOST)),--host "$(HOST)") \
	$(if $(STS),--sts "$(STS)") $(if $(COLA),--cola "$(COLA)") $(if $(QA),--qa "$(QA)") \
	$(if $(POSITIVE_LABEL),--positive-label "$(POSITIVE_LABEL)") $(if $(SCALE),--scale $(SCALE))

# Tests that start Ray have time limits that a busy machine would miss, so they run alone, after the others.
test: lint
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest $(PARALLEL) -m "not serve and not train and not faults and not cluster and not clients"
	$(BIN)/python -m pytest -m "(serve or train) and not faults" $(ON_RAY)
endif

test-quick: .venv/dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not serve and not train and not faults and not cluster and not clients and not slow" $(ARGS)

test-cluster: .venv/dev
	$(BIN)/python -m pytest -m cluster $(ARGS)

test-clients: .venv/dev .venv/clients/installed
	$(BIN)/python -m pytest -m clients $(ARGS)

test-faults: .venv/dev
	$(BIN)/python -m pytest -m faults $(ARGS)

bench: .venv/bench
	$(BIN)/python -m benchmarks.run $(ARGS)

# The packages of the audit are installed and asked about while pip installs the others.
lint:
	@$(MAKE) --no-print-directory --jobs=2 .venv/dev audit
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

audit: .venv/bin/python
	@if $(BIN)/python -c "$(PYPI_ANSWERS)" 2>/dev/null; then $(MAKE) --no-print-directory .venv/tools/installed && \
	.venv/tools/bin/pip-audit --disable-pip --no-deps --progress-spinner off --requirement constraints.txt; \
	else echo "pypi.org can't be read: known vulnerabilities of the packages were not looked up"; fi

sbom: .venv/serve .venv/tools/installed
	.venv/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file sbom.json $(BIN)/python

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

.venv/bulk: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bulk]'
	touch $@

.venv/redis: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[redis]'
	touch $@

.venv/tracing: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[tracing]'
	touch $@

.venv/train: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	touch $@

# Tests import some of the files that this installs, so --no-compile leaves compiling them to the first import.
.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch .venv/serve $@

.venv/bench: .venv/serve
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

# Their packages can't be installed beside those of the project.
.venv/clients/installed: .venv/bin/python tests/clients/requirements.txt
	$(PYTHON) -m venv .venv/clients
	.venv/clients/bin/pip install --quiet --requirement tests/clients/requirements.txt
	touch $@

# Programs whose packages the project does not need.
.venv/tools/installed: .venv/bin/python
	$(PYTHON) -m venv .venv/tools
	.venv/tools/bin/pip install --quiet pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@
