# Everything here works without root, and needs only Python 3.11 or newer, and Node 20 or newer for what concerns TypeScript.
# `make` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The Python to make the environments with, e.g. `make PYTHON=python3.12 setup`; by default the newest one found.
PYTHON ?=
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check --no-input -qq
# Each stamp says that its environment was made from the pins that it depends on.
READY := .venv/.ready
GENERATE_READY := .venv-generate/.ready
OLDEST_READY := .venv-oldest/.ready
# npm's own stamp would do, were it not for a `npm ci` that was interrupted.
NODE_READY := client_ts/node_modules/.ready
# The research chat's page, and the client that it is built with.
CLIENT_TS := client_ts/dist/.built
PAGE := examples/research_chat/page
PRETTIER := client_ts/node_modules/.bin/prettier --config client_ts/.prettierrc.json --log-level warn
PAGE_READY := $(PAGE)/node_modules/.ready
# Half of the tests' time is waiting: for processes to start, be killed and come back.
TEST_PROCESSES ?= 2
PAGE_BUILT := $(PAGE)/dist/index.html
# What the bench measures Midstream beside: an environment and node_modules of their own.
PEERS := bench/peers
PEERS_READY := $(PEERS)/.venv/.ready
PACKAGES := client_py/pyproject.toml server/pyproject.toml server/hatch_build.py

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## watch a research agent being steered while it works
	@$(BIN)/python examples/research_agent/demo.py

.PHONY: demo-chat
demo-chat: $(READY) $(PAGE_BUILT) ## steer the research agent from a page in your browser
	@$(BIN)/python examples/research_chat/run_chat.py $(ARGUMENTS)

.PHONY: test
test: check test-oldest test-ts $(READY) $(PAGE_BUILT) ## run every check and every test
	@echo "Running the tests, $(TEST_PROCESSES) at a time"
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: test-ts
test-ts: $(NODE_READY) $(READY) ## run the tests of the TypeScript client
	@echo "Testing the TypeScript client"
	@cd client_ts && npm run --silent build && MIDSTREAM_SERVER=$(CURDIR)/$(BIN)/midstream-server npm test --silent

.PHONY: test-fast
test-fast: $(READY) ## run the tests that take no more than a few seconds
	@$(BIN)/python -m pytest -m "not slow"

.PHONY: fuzz
fuzz: $(READY) $(NODE_READY) ## kill, suspend and replay thousands of random tasks of both languages, and compare; TRIALS=... for more
	@PYTHONPATH=tests $(BIN)/python -m support.replay $(or $(TRIALS),5000)

.PHONY: chaos
chaos: $(READY) $(CLIENT_TS) ## kill, stop and cut off everything, and look what is lost; SECONDS=... SEED=... ROUNDS=...
	@PYTHONPATH=tests $(BIN)/python -m support.chaos \
		$(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: test-oldest
test-oldest: $(OLDEST_READY) ## run a round trip on the oldest versions that the packages allow
	@echo "Testing on the oldest versions of the dependencies"
	@.venv-oldest/bin/python -m pytest -q tests/repo/test_supported_versions.py

.PHONY: check
check: check-style check-types check-ts check-proto check-generated check-locks ## run every check that is not a test

.PHONY: check-style
check-style: $(READY) ## check format and style (ruff)
	@echo "Checking format and style"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .

.PHONY: check-types
check-types: $(READY) ## check types (mypy --strict)
	@echo "Checking types"
	@$(BIN)/mypy --no-error-summary

.PHONY: check-ts
check-ts: $(NODE_READY) ## check the style and types of the TypeScript client and the chat's page (prettier, eslint, tsc)
	@echo "Checking the TypeScript client"
	@cd client_ts && npm run --silent check
	@$(PRETTIER) --check $(PAGE)/src $(wildcard $(PAGE)/*.*)

.PHONY: check-proto
check-proto: $(READY) ## check the contract: lint, format, and nothing broken since the last release (buf)
	@echo "Checking the contract"
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@BUF=$(BIN)/buf scripts/check-breaking

.PHONY: check-generated
check-generated: $(GENERATE_READY) $(NODE_READY) ## check that the generated code is current
	@echo "Checking the generated code"
	@.venv-generate/bin/python scripts/generate.py --check

.PHONY: check-locks
check-locks: ## check that the lock files pin everything and name no host
	@echo "Checking the lock files"
	@scripts/check-lock-files

.PHONY: format
format: $(READY) $(NODE_READY) ## format the code and the contract
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/buf format --write
	@cd client_ts && npm run --silent format
	@$(PRETTIER) --write $(PAGE)/src $(wildcard $(PAGE)/*.*)

.PHONY: generate
generate: $(GENERATE_READY) $(NODE_READY) ## generate the Python and TypeScript code from proto/
	@echo "Generating the code of the contract"
	@.venv-generate/bin/python scripts/generate.py

.PHONY: bench
bench: $(READY) ## measure speed against the limits; prints a table and writes bench/results
	@$(BIN)/python -m bench

.PHONY: bench-peers
bench-peers: $(READY) $(PEERS_READY) ## install Restate and NATS in bench/peers, and measure beside them
	@$(BIN)/python -m bench peers $(ARGUMENTS)

.PHONY: lock
lock: ## pin the newest versions of everything in constraints.txt
	@echo "Resolving the newest versions"
	@python=$$(scripts/find-python $(PYTHON)) && scripts/lock "$$python"

.PHONY: setup
setup: $(READY) ## make the development environment in .venv (the other targets do so by themselves)

.PHONY: clean
clean: ## remove the environments, caches and results
	@echo "Removing environments, caches and results"
	@rm -rf .venv .venv-generate .venv-oldest .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -rf bench/results dist client_py/dist server/dist client_ts/dist client_ts/node_modules $(PAGE)/dist $(PAGE)/node_modules
	@rm -rf $(PEERS)/.venv $(PEERS)/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): constraints.txt $(PACKAGES)
	@echo "Setting up .venv, the development environment"
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv --clear .venv
	@$(BIN)/python $(PIP) install --no-compile --no-deps -r constraints.txt
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e client_py -e server
	@touch $@

$(PEERS_READY): $(PEERS)/constraints.txt $(PEERS)/package-lock.json
	@echo "Setting up the peers in $(PEERS)"
	@scripts/check-node
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv --clear $(PEERS)/.venv
	@$(PEERS)/.venv/bin/python $(PIP) install --no-deps -r $(PEERS)/constraints.txt
	@cd $(PEERS) && npm ci --silent --ignore-scripts
	@touch $@

$(GENERATE_READY): scripts/generate-requirements.txt
	@echo "Setting up .venv-generate, the code generator's own environment"
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv --clear .venv-generate
	@.venv-generate/bin/python $(PIP) install --no-deps -r scripts/generate-requirements.txt
	@touch $@

$(NODE_READY): client_ts/package-lock.json
	@echo "Setting up client_ts/node_modules"
	@scripts/check-node
	@cd client_ts && npm ci --silent
	@touch $@

$(CLIENT_TS): $(NODE_READY) $(shell find client_ts/src -type f) client_ts/tsconfig.json client_ts/package.json
	@echo "Building the TypeScript client"
	@cd client_ts && npm run --silent build
	@touch $@

$(PAGE_READY): $(PAGE)/package-lock.json
	@echo "Setting up $(PAGE)/node_modules"
	@scripts/check-node
	@cd $(PAGE) && npm ci --silent
	@touch $@

$(PAGE_BUILT): $(PAGE_READY) $(CLIENT_TS) $(shell find $(PAGE)/src -type f) $(wildcard $(PAGE)/*.*)
	@echo "Building the chat's page"
	@cd $(PAGE) && npm run --silent check && npm run --silent build
	@touch $@

# The oldest pydantic has no build for Python 3.13: an older Python is preferred here.
$(OLDEST_READY): scripts/oldest-requirements.txt $(PACKAGES)
	@echo "Setting up .venv-oldest, with the oldest versions of the dependencies"
	@python=$$(scripts/find-python python3.11 python3.12 python3) && "$$python" -m venv --clear .venv-oldest
	@.venv-oldest/bin/python $(PIP) install -r scripts/oldest-requirements.txt
	@MIDSTREAM_BY_VERSION=1 .venv-oldest/bin/python $(PIP) install -c scripts/oldest-requirements.txt -e client_py -e server
	@touch $@
