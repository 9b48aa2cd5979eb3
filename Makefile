# Every target sets up what it needs. A second run does not install it again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev

# Recreate an environment that is incomplete, was moved or has lost its Python.
SOUND := . $(BIN)/activate && test "$$VIRTUAL_ENV/bin" -ef $(BIN) && $(BIN)/python -c 'import pip'
ifeq ($(shell test -e $(VENV) && { ($(SOUND)) > /dev/null 2>&1 || echo unsound; }),unsound)
.PHONY: $(BIN)/python $(RUNTIME) $(DEVELOPMENT)
endif

.DEFAULT_GOAL := help
.PHONY: help demo run test test-pages test-killed lint bench screenshots upgrade clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

demo: $(RUNTIME)  ## See every hook and authentication work, without an Okta org
	@FLASK_SKIP_DOTENV=1 $(BIN)/flask okta demo

# Ctrl-C is the normal way to stop this, not an error.
run: $(RUNTIME) .env  ## Serve on http://127.0.0.1:5000 for development
	@trap 'exit 0' INT; FLASK_SKIP_DOTENV=1 $(BIN)/flask run --debug --no-debugger

test: $(DEVELOPMENT)  ## Run the tests (a minute)
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-pages: $(DEVELOPMENT)  ## Follow README, docs and the local Okta's page (four minutes)
	@$(BIN)/python -m pytest tests/slow/test_demo.py tests/slow/test_local_okta_page_browser.py tests/slow/test_docs_walkthrough.py

test-killed: $(DEVELOPMENT)  ## Kill event workers, and count lost events (two minutes)
	@$(BIN)/python -m pytest -s tests/slow/test_kill_9.py tests/slow/test_inbox_*.py

bench: $(DEVELOPMENT)  ## Compare with the smallest Flask view (three minutes)
	@$(BIN)/python -m tools.bench
	@$(BIN)/python -m tools.bench_events

screenshots: $(DEVELOPMENT)  ## Take screenshots of the local Okta's page, with Chromium
	@$(BIN)/python -m tools.screenshots

lint: $(DEVELOPMENT)  ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check . || { echo 'To format them: $(BIN)/ruff format .'; exit 1; }
	@$(BIN)/mypy

upgrade: $(DEVELOPMENT)  ## Install new compatible releases, and record them
	@echo 'Looking for newer releases ...'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade --upgrade-strategy eager -r requirements/dev.txt
	@{ grep '^#' constraints.txt; $(BIN)/python -m pip freeze -qq; } > $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt && touch $(RUNTIME) $(DEVELOPMENT)

clean:  ## Remove the virtual environment and caches (.env stays)
	@rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.env:
	@FLASK_SKIP_DOTENV=1 $(BIN)/flask okta new-env

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...")'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): requirements.txt constraints.txt | $(BIN)/python
	@$(call install,requirements.txt,the service and the demo)

$(DEVELOPMENT): requirements.txt $(wildcard requirements/*.txt) constraints.txt | $(RUNTIME)
	@$(call install,requirements/dev.txt,the tests and checks)

# Print a dot for each package, since this takes a while. Show pip's errors only if it fails.
define install
printf 'Installing what $(2) need into $(VENV) '; \
{ $(BIN)/python -m pip install --disable-pip-version-check -r $(1) -c constraints.txt 2> $@.errors; echo $$? > $@.status; } \
| awk '/^Collecting/ { printf "."; fflush() } END { print "" }'; \
if test "$$(cat $@.status)" = 0; then mv $@.status $@; else cat $@.errors >&2; exit 1; fi
endef
