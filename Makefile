# Two targets are all that a fresh machine needs: `make up` and `make test`. Both build what they stand on.
# Needs CPython 3.11 or later with pip and venv, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up test check demo sweep soak fuzz bench clean help

help: ## Say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: $(VENV)/run ## Run a three-node cluster on embedded storage, shown live (Ctrl-C stops it)
	$(BIN)/ratified up

demo: $(VENV)/run ## Kill a leader under load and show that nothing acknowledged is lost
	$(BIN)/ratified demo

test: $(VENV)/dev clients ## Pass the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/dev ## Static checks: formatting, lints, types, who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sweep: $(VENV)/dev ## Thousands of simulated runs and every mutant (long)
	@for engine in $$($(BIN)/python -c "from ratified.consensus.engines import ENGINES; print(*ENGINES)"); do \
		echo "== $$engine"; $(BIN)/python -m ratified.sim.sweep --engine $$engine || exit 1; done
	$(BIN)/python -m tests.mutants.search

soak: $(VENV)/dev clients ## Real processes, twenty leader kills, again and again (long)
	$(BIN)/python -m pytest tests/faults --count-kills 100
	$(BIN)/python -m pytest tests/client/test_copying.py --copied-keys 100000

fuzz: $(VENV)/dev ## Fuzz every method by its schema, and the clients' edge, half an hour each part (long; Linux)
	$(BIN)/python -m tests.server.schema_fuzz
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	@for part in frames calls headers http1; do echo "== $$part"; \
		$(BIN)/python -m tests.edge.fuzz $$part -max_total_time=1800 -max_len=4096 -timeout=5 || exit 1; done

bench: $(VENV)/dev ## Every benchmark, one after another (some need h2load, Debian's nghttp2-client)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## Remove what the targets above made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The package and what it needs to run; then also what the tests and the checks need.
$(VENV)/run: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/run $@

# The tests run clients that others have made: Debian's packages etcd-client, curl, nghttp2-client, nodejs, chromium;
# Prometheus scrapes, Patroni keeps PostgreSQL servers, and strace makes a disk slow.
CLIENTS := etcdctl curl h2load node chromium promtool pg_ctlcluster strace
PACKAGES := etcd-client curl nghttp2-client nodejs chromium prometheus postgresql strace
.PHONY: clients
clients:
	@missing=; for each in $(CLIENTS); do command -v $$each >/dev/null || missing=yes; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update --quiet=2 && \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $(PACKAGES); \
	else \
		echo "The tests need $(CLIENTS): install Debian's packages $(PACKAGES), or run make test as root once." >&2; \
		exit 1; \
	fi
