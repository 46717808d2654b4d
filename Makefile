# One virtual environment, .venv, for running, testing and checking. Needs Python 3.11+ with venv, make, and a package registry.
# Stamps inside .venv say what is installed: a second call does nothing, an interrupted install is tried again.
# Written for GNU make 3.81 (the one macOS ships) and later.

.DEFAULT_GOAL := help
.PHONY: run test test-fleet drill check format bench clean requirements help FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

# What a user's environment must not change about the installs below.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV VIRTUAL_ENV

PYTHON ?=
ARGS ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip --no-input --disable-pip-version-check --quiet
INSTALL_PINNED := $(PIP) install --no-compile --require-hashes --requirement
INSTALL_PROJECT := $(PIP) install --no-deps --no-build-isolation --editable .
# Tests start hundreds of processes: each module is compiled once for all of them, and what comes of it stays in $(VENV).
PYTEST := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX='$(CURDIR)/$(VENV)/bytecode' exec $(VENV)/bin/python -m pytest
# Thousands of them wait until their disk has written: what they keep is in memory instead, where that has room (2 GiB) and runs programs.
MEMORY = $(shell grep -qs ' /dev/shm [^ ]* [^ ]*noexec' /proc/mounts || df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 2097152 { print "/dev/shm" }')
IN_MEMORY = TMPDIR="$${TMPDIR:-$(or $(MEMORY),/tmp)}"

# An environment that was moved (its scripts name the old place) or whose interpreter is gone is made anew.
ifneq ($(shell cat $(VENV)/stamp-created 2>/dev/null && $(VENV)/bin/python -c '' 2>&1),$(CURDIR))
$(VENV)/stamp-created: FORCE
endif

help: ## show this list
	@echo 'make <target>:'
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' Makefile | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

run: $(VENV)/stamp-server ## set up what is missing and serve on http://127.0.0.1:8000; options: ARGS='--port 9000'
	@exec $(VENV)/bin/tokenkeep serve $(ARGS)

test: $(VENV)/stamp-dev ## set up what is missing and run the tests; options for pytest: ARGS='-k refresh'
	@$(IN_MEMORY) $(PYTEST) -n 2 --dist loadgroup $(ARGS)

test-fleet: $(VENV)/stamp-dev ## the tests of a running server, with three workers on PostgreSQL and Redis; options as for test
	@$(IN_MEMORY) $(PYTEST) -n 2 --dist loadgroup --fleet $(ARGS)

drill: $(VENV)/stamp-dev ## break what the server relies on while people use it, and say what they saw of it; some minutes
	@$(PYTEST) -n 0 -s --drills -m drill tests/system/drills $(ARGS)

check: $(VENV)/stamp-dev ## formatting, lint, types and import rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy src $(wildcard tests/typing/*.py)
	$(VENV)/bin/lint-imports --no-cache --no-logo

format: $(VENV)/stamp-dev ## format the code and apply the safe fixes
	$(VENV)/bin/ruff check --fix --exit-zero --quiet .
	$(VENV)/bin/ruff format .

bench: $(VENV)/stamp-dev $(VENV)/bench/stamp ## measure the engine and the server beside their peers; some minutes, on a machine with nothing else to do
	$(VENV)/bin/python bench/engine.py
	$(VENV)/bin/python bench/sessions.py rotations --peer-python $(VENV)/bench/bin/python
	$(VENV)/bin/python bench/sessions.py rotations --peer-python $(VENV)/bench/bin/python --postgres
	$(VENV)/bin/python bench/postgres.py
	$(VENV)/bin/python bench/workers.py
	$(VENV)/bin/python bench/sessions.py storm
	$(VENV)/bin/python bench/sessions.py growth
	$(VENV)/bin/python bench/revocation.py
	$(VENV)/bin/python bench/fleet.py

clean: ## remove the environment, caches and build results; never the data directory
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. PYTHON=… chooses the interpreter; otherwise the first usable one of the list.
$(VENV)/stamp-created:
	@set -e; chosen=; \
	for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo 'Tokenkeep needs Python 3.11 or later with its venv module, and none was found as: $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14).' >&2; \
	  echo 'Install it (Debian and Ubuntu keep venv in the package python3-venv), or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
	  exit 1; \
	fi; \
	echo "Creating $(VENV) with $$($$chosen --version)"; \
	"$$chosen" -m venv --clear $(VENV); \
	echo '$(CURDIR)' > $@

$(VENV)/stamp-server: $(VENV)/stamp-created requirements/server.txt pyproject.toml
	@echo 'Installing what the server needs into $(VENV) (once; some seconds)'
	@$(INSTALL_PINNED) requirements/server.txt
	@$(INSTALL_PROJECT)
	@touch $@

# The development requirements hold everything the server needs, in the same versions.
$(VENV)/stamp-dev: $(VENV)/stamp-created requirements/dev.txt requirements/server.txt pyproject.toml
	@echo 'Installing what the tests and checks need into $(VENV) (once; under a minute)'
	@$(INSTALL_PINNED) requirements/dev.txt
	@$(INSTALL_PROJECT)
	@touch $(VENV)/stamp-server $@

# The peers that servers are measured beside.
$(VENV)/bench/stamp: $(VENV)/stamp-created requirements/bench.txt
	@$(VENV)/bin/python -m venv --clear $(VENV)/bench
	@$(VENV)/bench/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes --requirement requirements/bench.txt
	@touch $@

# For maintainers: compile requirements/*.txt anew. UPGRADE=1 takes the newest versions, otherwise pins are kept.
UV_VERSION := 0.13.9
COMPILE := $(VENV)/tools/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 $(if $(UPGRADE),--upgrade)
requirements: $(VENV)/stamp-created ## compile requirements/*.txt anew from pyproject.toml and requirements/*.in; UPGRADE=1 for newest versions
	@test -x $(VENV)/tools/bin/uv || { $(VENV)/bin/python -m venv $(VENV)/tools && $(VENV)/tools/bin/python -m pip install --quiet uv==$(UV_VERSION); }
	$(COMPILE) pyproject.toml --extra server --extra redis requirements/server.in --output-file requirements/server.txt
	$(COMPILE) pyproject.toml --extra all requirements/server.in requirements/dev.in --constraint requirements/server.txt --output-file requirements/dev.txt
	$(COMPILE) requirements/bench.in --output-file requirements/bench.txt
