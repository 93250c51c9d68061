# make help prints every target. `make demo` and `make test` do all the set-up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait more than they work: three are busy at a time on two cores.
TEST_WORKERS ?= 3
SOURCES := pyproject.toml requirements.lock setup.py \
  $(wildcard daemon/*.pyx daemon/*.pxd daemon/fastpath/*.pxi daemon/fastpath/*.h daemon/librdkafka/*.pxi)
PYTEST := $(BIN)/python -m pytest
ENVIRONMENT := $(PYTHON) tools/environment.py

.PHONY: help check machine build demo example test test-newest test-oldest test-real test-valkey test-systemd test-all
.PHONY: types lint tables docs wheels bench bench-client debug lock clean
.DEFAULT_GOAL := help

help:  ## Print every target with a sentence
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check:  ## Say what this machine lacks, with the one command that installs it
	@INSTALL=no PYTHON="$(PYTHON)" sh tools/check_machine.sh

machine:
	@PYTHON="$(PYTHON)" sh tools/check_machine.sh

$(VENV)/built: $(SOURCES) | machine
	@$(ENVIRONMENT) locked $(VENV) "$(PYTHON)"
	@touch $@

build: $(VENV)/built  ## Make the virtual environment and build the compiled modules into it

demo: build  ## Run everything here for ten seconds, on a mock Kafka and a private Redis
	@$(BIN)/ingestd demo

example: build  ## Run the example: programs that publish, read and look up events
	@$(BIN)/python examples/event_streaming/main.py

test: build  ## Run the tests that need no root, no Java and no Go
	$(PYTEST) -m "not real" -n $(TEST_WORKERS) --dist worksteal

# Without the lock, as who installs the package gets it. What differs from the lock is said again below a failure.
test-newest: build  ## Run the fast tests on the newest releases that pyproject.toml allows
	@$(ENVIRONMENT) newest .venv-newest "$(PYTHON)"
	.venv-newest/bin/python -m pytest -m "not real and not slow" -n $(TEST_WORKERS) --dist worksteal || \
	  { status=$$?; $(ENVIRONMENT) differences .venv-newest; exit $$status; }

test-oldest: build  ## Run the fast tests on the oldest releases that pyproject.toml allows (Python 3.11)
	@$(ENVIRONMENT) oldest .venv-oldest
	.venv-oldest/bin/python -m pytest -m "not real and not slow" -n $(TEST_WORKERS) --dist worksteal

# The fast tests run on the Valkey that comes with the packages; these, and the benches, on Debian's Redis.
test-real test-systemd test-all bench bench-client: export REDIS_SERVER ?= redis-server

test-real: build  ## Run what needs real Kafka and Redis (Java, Maven), and fail where it cannot run
	INGESTD_REQUIRE_ALL=1 $(PYTEST) -m "real and not systemd"

test-valkey: build  ## Run the part of test-real that is about Redis on Valkey, which comes with the packages
	REDIS_SERVER= INGESTD_REQUIRE_ALL=1 $(PYTEST) -m "real and valkey"

test-systemd: build  ## Run the units under a systemd of their own (root, beside what test-real needs)
	INGESTD_REQUIRE_ALL=1 $(PYTEST) -m systemd

test-all: build  ## Run all three in one go: every lane, and fail where one cannot run
	INGESTD_REQUIRE_ALL=1 $(PYTEST)

types: build  ## Check the client library with mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

tables: build  ## Write the parts of documents that are made from the sources
	@for made in api_pages architecture config_keys monitoring; do $(BIN)/python -m tests.support.$$made || exit 1; done

# The switch silences a paragraph on the tool's successor; docs/decisions/0013-site.md has it.
docs: build  ## Build the site of the documents into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: build  ## Check style and spelling of all files, and the subjects of the newest commits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m tools.commit_subjects

WHEEL_TOOLS := build/wheels/tools
$(WHEEL_TOOLS)/made: tools/wheels.lock
	@$(ENVIRONMENT) wheel-tools $(WHEEL_TOOLS) "$(PYTHON)"
	@touch $@

wheels: $(WHEEL_TOOLS)/made  ## Build and try a source archive and manylinux wheels; PYTHONS=python3.12 ARCHES=x86_64 for one
	@$(WHEEL_TOOLS)/bin/python -m tools.build_wheels $(PYTHONS:%=--python %) $(ARCHES:%=--arch %)

bench: build  ## Measure CPU an event against a native copy loop, on real Kafka
	$(BIN)/python -m bench.run --redis

bench-client: build  ## Measure the client library against a bare confluent-kafka loop, on real Kafka
	$(BIN)/python -m bench.client

debug:  ## Build with invariant checks and annotated HTML, and run the fast tests on it
	INGESTD_DEBUG=1 $(MAKE) -B $(VENV)/built
	INGESTD_DEBUG=1 $(PYTEST) -m "not real and not slow"; status=$$?; touch setup.py; exit $$status

lock:  ## Write requirements.lock from pyproject.toml; UPGRADE=1 takes the newest releases
	@$(ENVIRONMENT) lock $(if $(UPGRADE),--upgrade)

clean:  ## Remove what was built
	rm -rf $(VENV) .venv-newest .venv-oldest build dist *.egg-info bench/native_loop
	rm -f daemon/*.so daemon/_fastpath.c daemon/_librdkafka.c daemon/*.html daemon/*/*.html
