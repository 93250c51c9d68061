# make help prints every target. `make demo` and `make test` do all the set-up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait more than they work: three are busy at a time on two cores.
TEST_WORKERS ?= 3
SOURCES := pyproject.toml setup.py $(wildcard daemon/*.pyx daemon/*.pxd daemon/_hot/*.pxi daemon/_hot/*.h daemon/_edge/*.pxi)
PYTEST := $(BIN)/python -m pytest

.PHONY: help check build demo example test test-real test-systemd test-all types docs bench bench-client debug clean
.DEFAULT_GOAL := help

help:  ## Print every target with a sentence
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check:  ## Say what this machine lacks, with the one command that installs it
	@PYTHON="$(PYTHON)" sh tests/support/check_machine.sh

$(VENV)/built: $(SOURCES) | check
	@if [ ! -x $(BIN)/python ]; then \
	  if command -v uv >/dev/null 2>&1; then uv venv -q --seed --python "$(PYTHON)" $(VENV); \
	  else $(PYTHON) -m venv $(VENV); fi; fi
	@echo "building (about half a minute the first time)"
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python -e '.[test]'; \
	  else $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'; fi
	@touch $@

build: $(VENV)/built  ## Make the virtual environment and build the compiled rooms into it

demo: build  ## Run everything here for ten seconds, on a mock Kafka and a private Redis
	@$(BIN)/ingestd demo

example: build  ## Run the example: programs that publish, read and look up events
	@$(BIN)/python examples/event_streaming/main.py

test: build  ## Run the tests that need no root, no Java and no Go
	$(PYTEST) -m "not real" -n $(TEST_WORKERS) --dist worksteal

test-real: build  ## Run what needs real Kafka and Redis (Java, Maven), and fail where it cannot run
	INGESTD_REQUIRE_ALL=1 $(PYTEST) -m "real and not systemd"

test-systemd: build  ## Run the units under a systemd of their own (root, beside what test-real needs)
	INGESTD_REQUIRE_ALL=1 $(PYTEST) -m systemd

test-all: build  ## Run all three in one go: every lane, and fail where one cannot run
	INGESTD_REQUIRE_ALL=1 $(PYTEST)

types: build  ## Check the client library with mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

$(VENV)/docs-tools: $(VENV)/built
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python -r pyproject.toml --extra docs; \
	  else $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'; fi
	@touch $@

# The switch silences a paragraph on the tool's successor; docs/decisions/0013-site.md has it.
docs: $(VENV)/docs-tools  ## Build the site of the documents into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: build  ## Measure CPU an event against a native copy loop, on real Kafka
	$(BIN)/python -m bench.run --redis

bench-client: build  ## Measure the client library against a bare confluent-kafka loop, on real Kafka
	$(BIN)/python -m bench.client

debug:  ## Build with invariant checks and annotated HTML, and run the fast tests on it
	INGESTD_DEBUG=1 $(MAKE) -B $(VENV)/built
	INGESTD_DEBUG=1 $(PYTEST) -m "not real and not slow"; status=$$?; touch setup.py; exit $$status

clean:  ## Remove what was built
	rm -rf $(VENV) build dist *.egg-info bench/native_loop
	rm -f daemon/*.so daemon/_fastpath.c daemon/_librdkafka.c daemon/*.html daemon/*/*.html
