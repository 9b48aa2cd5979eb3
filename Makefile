# Every target sets up what it needs; a second run installs nothing again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo run test lint bench upgrade clean

help:  ## Show what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## See every hook and every authentication work, on this machine, without an Okta org
	@$(BIN)/python -m local_okta.demo

run: $(INSTALLED) .env  ## Serve on http://127.0.0.1:5000 for development
	@FLASK_SKIP_DOTENV=1 $(BIN)/flask run --debug --no-debugger

test: $(INSTALLED)  ## Run the tests
	@$(BIN)/python -m pytest

bench: $(INSTALLED)  ## Measure the guard, the service, its memory and its start
	@$(BIN)/python bench.py

lint: $(INSTALLED)  ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

upgrade: $(INSTALLED)  ## Take the newest compatible releases, and write them down in constraints.txt
	@$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager -r requirements-dev.txt
	@grep '^#' constraints.txt > constraints.new
	@$(BIN)/python -m pip freeze | sed 's/$$/ ; python_version >= "3.11"/' >> constraints.new
	@mv constraints.new constraints.txt && touch $(INSTALLED)

clean:  ## Remove the virtual environment and caches (.env stays)
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.env:
	@sed "s|^BASIC_AUTH_PASSWORD=.*|BASIC_AUTH_PASSWORD=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(32))')|" .env.example > .env.new
	@chmod 600 .env.new && mv .env.new .env
	@echo "Made .env from .env.example, with a password of your own."

$(INSTALLED): requirements.txt requirements-dev.txt requirements-twilio.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (half a minute, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@
