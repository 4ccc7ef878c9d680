# Everything that a newcomer types. Each target makes .venv from the lock by itself.

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/python -m uv

.PHONY: newer-servers servers install run test test-scenarios test-thorough check simulate chaos bench bench-quick audit unlocked fuzz coverage mutants docs-check docs-check-quick reference prefect-tables screenshots cluster lock mariadb chromium clean image-check pool-check

## install: make .venv from the lock, and nothing more
install: .venv/installed

## run: verify a sample of 50,000 contacts on embedded defaults, or on what the environment names
run: .venv/installed
	$(BIN)/bouncer-flows demo

## test: style, types, every part, and the main line from a list to its verdicts; CI does this
test: .venv/installed mariadb newer-servers check
	./.ci/tests -n 4 --dist worksteal -m "not audit and not thorough and not scenario" --durations 20

## test-scenarios: whole stories: kills, limits, workers, alerts, a demo, the UI in a browser; CI does this after make test
test-scenarios: .venv/installed mariadb newer-servers chromium
	$(BIN)/python -m tests.simulation --seed 800000 --histories 130
	-$(BIN)/python -m tests.simulation --histories 1000000 --seconds 60
	./.ci/tests -n 2 --dist loadgroup -m "scenario and not audit and not thorough" --durations 20

## test-thorough: the tests with a Prefect server that CI leaves out; half an hour
test-thorough: .venv/installed mariadb newer-servers chromium
	$(BIN)/pytest -n 2 --dist worksteal -m "thorough and not audit"

## check: style, types
check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

## chaos: kill processes for real, with a table: what only real processes and servers show, in ten minutes; EVERYTHING=1: each kind with two seeds, in 45
chaos: .venv/installed mariadb
	$(BIN)/python -m tests.chaos $(if $(EVERYTHING),--everything)

## simulate: play lives of batches in a simulated world: SEED=… HISTORIES=… or SECONDS=3600; HISTORIES=1 tells the whole story
HISTORIES ?= $(if $(SECONDS),1000000,500)

simulate: .venv/installed
	$(BIN)/python -m tests.simulation --histories $(HISTORIES) $(if $(SEED),--seed $(SEED)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(LESS),--less '$(LESS)')

## servers: verify a list on every database server with every setting, kill each side, and write docs/reference/databases.md
servers: .venv/installed mariadb newer-servers
	$(BIN)/python -m tests.servers --keep-results

## bench: measure everything, in an hour on two cores; bench-quick: with little, in 5
bench: .venv/installed mariadb newer-servers
	$(BIN)/python -m bench

bench-quick: .venv/installed mariadb newer-servers
	$(BIN)/python -m bench --quick

## docs-check: follow the README and all pages of docs that have commands word by word, in clean folders
docs-check: .venv/installed mariadb
	$(BIN)/python -m tests.docs

## docs-check-quick: only the pages that take seconds; CI does this
docs-check-quick: .venv/installed
	$(BIN)/python -m tests.docs --quick

## cluster: verify 200,000 contacts on three workers and two Prefect servers, and kill one of each; prints a table
cluster: .venv/installed mariadb
	@./.ci/install-cluster
	$(BIN)/python -m tests.cluster

## audit: leaks, restores, documentation, vulnerabilities, licences, fuzzers, branches, mutants; two hours, less with FUZZ_SECONDS=60
FUZZ_SECONDS ?= 600
AUDIT := .venv-audit/bin

audit: .venv-audit/installed mariadb newer-servers
	$(AUDIT)/python -m pytest -m "audit or thorough"
	$(AUDIT)/python -m tests.audit.vulnerabilities
	$(AUDIT)/python -m tests.audit.licences
	$(MAKE) --no-print-directory unlocked docs-check fuzz coverage mutants

## unlocked: a small demo on whatever versions pyproject.toml alone allows today, in a temporary folder
unlocked:
	./.ci/unlocked $(PYTHON)

## fuzz: each property of tests/fuzz under atheris for FUZZ_SECONDS
fuzz: .venv-audit/installed
	$(AUDIT)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

## coverage: which branches the tests reach, as a table and in htmlcov/
coverage: .venv/installed mariadb newer-servers chromium
	$(BIN)/pytest -q -n 2 --dist loadgroup -m "not audit" --cov --cov-branch --cov-report=term:skip-covered --cov-report=html

## mutants: changes to the code that no test notices; docs/testing.md explains those that are left
mutants: .venv-audit/installed
	$(AUDIT)/mutmut run
	$(AUDIT)/mutmut results

.venv-audit/installed: requirements.lock requirements-audit.lock pyproject.toml
	$(PYTHON) -m venv .venv-audit
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-audit.lock
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

## image-check: do the steps of the Dockerfile in a temporary folder, for machines without Docker
image-check: .venv/installed
	$(BIN)/python -m tests.cluster.image

## pool-check: hold the documentation of Docker and Kubernetes pools against Prefect's workers and Kubernetes' schemas
pool-check:
	./.ci/pool-check $(PYTHON)

## reference: write docs/reference anew, from the code
reference: .venv/installed
	$(BIN)/python -m tests.docs.reference

## prefect-tables: write down anew what Prefect's migrations make, for a new version of Prefect
prefect-tables: .venv/installed
	$(BIN)/python -m tests.deployments.server.prefect_tables

## screenshots: take the pictures in docs/images anew, in a real browser
screenshots: .venv/installed chromium
	KEEP_SCREENSHOTS=1 $(BIN)/pytest tests/ui

## lock: bring the locks up to date with pyproject.toml
lock: .venv/installed
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --group dev --extra redis --quiet --output-file requirements.lock pyproject.toml
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --group audit --constraint requirements.lock --quiet --output-file requirements-audit.lock
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --extra redis --constraint requirements.lock --quiet --output-file requirements-runtime.lock \
		pyproject.toml

# The lock names every package with its hashes, so pip has nothing to resolve (and would not accept, for example,
# that a pinned sqlalchemy satisfies a plain sqlalchemy>=2.0). The project itself is put on the path as it stands.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11") if not (3, 11) <= sys.version_info < (3, 14) else None'
	@echo "installing the locked dependencies into .venv: about a minute"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	touch $@

# The tests start a private MariaDB server of their own; they only need its programs.
mariadb:
	@command -v mariadbd >/dev/null 2>&1 || test -x /usr/sbin/mariadbd || ./.ci/install-mariadb

# MySQL 9.7 and MariaDB 11.8, which the tests run on too, are kept in a cache folder.
newer-servers:
	@./.ci/fetch-servers

# The test of the UI drives Debian's browser.
chromium:
	@command -v chromium >/dev/null 2>&1 || ./.ci/install-chromium

clean:
	rm -rf .venv .venv-audit .demo mutants htmlcov build *.egg-info
