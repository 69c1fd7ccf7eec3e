# Everything here needs Python 3.11 or later and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
UNPINNED := build/unpinned.in
AUDIT := pip-audit==2.10.1

.DEFAULT_GOAL := help
.PHONY: help install demo up test lint bench chaos outrun docs lock audit clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

install: $(STAMP) ## .venv with everything in it, from requirements.lock

# pip compares every file with its pinned hash; --no-deps, because the lock is complete.
$(STAMP): requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Streakline needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e client -e .
	@touch $(STAMP)

demo: install ## the main job on a real history, in a minute
	$(BIN)/streakline demo

up: install ## servers, workers and scheduler until Ctrl-C
	$(BIN)/streakline up

test: install ## all tests, on embedded servers and on those that run here
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: install ## format, types and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## rates, as ratios in one run and as figures: docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks

chaos: install ## everything dies and breaks, and nothing is lost: make chaos RUNS=10 PARALLEL=2
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --runs $(or $(RUNS),1) --parallel $(or $(PARALLEL),1)

outrun: install ## producers outrun workers for an hour: make outrun SECONDS=3600
	$(BIN)/python -m tests.benchmarks.outrun --seconds $(or $(SECONDS),3600)

docs: install ## the documentation in site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: install ## requirements.lock anew from both pyproject.toml files
	@mkdir -p build
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -c 'import tomllib; \
	read = lambda path: tomllib.load(open(path, "rb")); \
	root, client = read("pyproject.toml"), read("client/pyproject.toml"); \
	wanted = root["project"]["dependencies"] + client["project"]["dependencies"] + root["dependency-groups"]["dev"] + ["pip"]; \
	print("\n".join(line for line in wanted if not line.startswith("streakline==")))' > $(UNPINNED)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock $(UNPINNED)

# In an environment of its own: the tool's dependencies are none of ours. A package that the service
# does not know, or a service that cannot be reached, is a failure.
audit: ## what is published about vulnerabilities of what is locked; needs the network
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check $(AUDIT)
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

clean: ## away with what was built, and with the embedded servers' data
	rm -rf .venv .streakline .cache build dist site
