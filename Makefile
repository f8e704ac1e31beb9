# `make` lists what there is. Needs Python 3.11 or newer and nothing else; everything it installs goes into .venv.
PORT ?= 8080
DATA_DIR ?= .trunkline
PYTHON ?= python3
# More arguments for the program; from the command line only, lest a stray one in the environment changes what runs.
ARGS =

# Test processes, each with a PostgreSQL and a Valkey of its own; tests wait more than they work.
WORKERS ?= 3

# Absolute and quoted: recipes change directory, and a checkout's path may hold spaces.
PY := "$(CURDIR)/.venv/bin/python"
TRUNKLINE := $(PY) -m trunkline.cli
UV ?= uv
PACKAGES := trunkline api webhooks messaging billing tenants runtime migrations sandbox

# A stray api/ in the current directory shadows nothing.
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.PHONY: help venv run demo test test-pg15 check format bench-ingest bench-idempotency bench-neighbours bench-cleanup bench-decode bench-pacer bench-fairness bench-dispatch kills storms faults thousand mutants \
  k8s-check pins clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  variables: PORT=$(PORT) DATA_DIR=$(DATA_DIR) PYTHON=$(PYTHON) ARGS=(more arguments)"

venv: ## .venv with the pinned packages; instant when it is there
	@exec "$(PYTHON)" -I trunkline/dev/bootstrap.py

# `exec`, so that the one child of make is the program itself: a TERM to make alone reaches it, and make waits for its end.
run: venv ## everything on this machine, until Ctrl-C: PostgreSQL, Valkey, sandboxes, API, worker, a demo tenant
	@exec $(TRUNKLINE) dev --port "$(PORT)" --data-dir "$(DATA_DIR)" $(ARGS)

demo: venv ## plays the main job once, in a directory of its own, and ends
	@exec $(TRUNKLINE) dev --demo $(ARGS)

test: venv ## the test suite (ARGS="tests/dev -x" for a part; WORKERS=0 for one process, to debug in)
	@exec $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-pg15: POSTGRES_BIN ?= /usr/lib/postgresql/15/bin
test-pg15: venv ## the test suite on an installed PostgreSQL 15 (POSTGRES_BIN= for where its programs are)
	@test -x "$(POSTGRES_BIN)/postgres" || { echo "make test-pg15 finds no PostgreSQL in $(POSTGRES_BIN): install version 15" \
	  "(Debian, Ubuntu: apt-get install postgresql-15) or say where it is: make test-pg15 POSTGRES_BIN=/path/to/bin" >&2; exit 1; }
	@exec env TRUNKLINE_TEST_POSTGRES="$(POSTGRES_BIN)" $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: venv ## format, lint, types, layers, house rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy $(PACKAGES)
	$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"
	$(PY) tests/rules/check.py

format: venv ## rewrites the code as the formatter wants it
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench-ingest: venv ## how many webhooks a second; the last line is one JSON object
	@exec $(PY) benchmarks/ingest.py $(ARGS)

bench-idempotency: venv ## what enforcing idempotency adds, at 1,000 and at 5,000,000 stored keys
	@exec $(PY) benchmarks/idempotency.py $(ARGS)

bench-neighbours: venv ## what a tenant feels of another one's flood
	@exec $(PY) benchmarks/neighbours.py $(ARGS)

bench-cleanup: venv ## millions of keys and thousands of bodies leave while webhooks arrive (ARGS=--quick for a small one)
	@exec $(PY) benchmarks/cleanup.py $(ARGS)

bench-decode: venv ## what reading a webhook costs beside decoding all of it, at 2 kB, 51 kB and 1.3 MB
	@exec $(PY) benchmarks/decode.py $(ARGS)

bench-pacer: venv ## how exactly every rate of the tiers is kept and used, in ten minutes (ARGS=--quick for one)
	@exec $(PY) benchmarks/pacer.py $(ARGS)

bench-fairness: venv ## what 200 tenants with one text wait for while another one has 500,000 queued
	@exec $(PY) benchmarks/fairness.py $(ARGS)

bench-dispatch: venv ## how fast one worker sends, what a backlog costs it in memory, what a pick costs with many tenants
	@exec $(PY) benchmarks/dispatch.py $(ARGS)

kills: venv ## kills processes at random moments and counts effects
	@exec $(PY) tests/kills/run.py $(ARGS)

storms: venv ## twenty seconds of each fault while 2,000 texts flow; counts effects (ARGS="--only redis-killed" for some)
	@exec $(PY) tests/storms/run.py $(ARGS)

thousand: venv ## 1,000 deliveries of 100 ids at once over 8 processes, across a clean-up and midnight; counts effects
	@exec $(PY) tests/thousand/run.py $(ARGS)

mutants: venv ## breaks each promise in a copy of the code and wants to see a test fail (ARGS="--only lease" for some)
	@exec $(PY) tests/mutants/run.py $(ARGS)

faults: venv ## strikes every delivery at each of its steps and counts effects
	@exec $(PY) tests/faults/run.py $(ARGS)

k8s-check: .venv.k8s/.made ## manifests against schemas and our own assertions
	@exec env -u PYTHONSAFEPATH .venv.k8s/bin/python -m k8s.check $(ARGS)

.venv.k8s/.made: requirements/k8s.txt
	"$(PYTHON)" -m venv .venv.k8s && .venv.k8s/bin/pip install --require-hashes -r requirements/k8s.txt && touch $@

pins: ## the requirement files anew from their .in files (needs uv)
	@command -v "$(UV)" >/dev/null || { echo "make pins needs uv: make pins UV=/path/to/uv" >&2; exit 1; }
	cd requirements && for name in runtime dev k8s peers; do \
	  "$(UV)" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make pins" $(ARGS) $$name.in -o $$name.txt || exit 1; done
	cd k8s/image && "$(UV)" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make pins" $(ARGS) build.in -o build.txt

clean: ## removes .venv and caches; data directories stay
	rm -rf .venv .venv.k8s .venv.log build *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
