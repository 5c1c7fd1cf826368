PYTHON ?= python3.11
PORT ?= 8000
DATA ?= data
SCOPES ?= catalog sales orders growth rewards invariants communities chat events
URL ?= http://127.0.0.1:$(PORT)

BIN := .venv/bin
FOR_RUNNING := .venv/.requirements
FOR_CHECKING := .venv/.requirements-dev
BROWSER := .venv/.browser
# Twice quiet: errors only.
INSTALL := $(BIN)/python -m pip install -q -q --disable-pip-version-check --require-hashes -r
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

# Each with servers of its own.
WORKERS := --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help env run demo key migrate test bench chaos check format docs health screenshots lock audit clean

help: ## Show this list
	@echo "Kaituan 开团. It needs Python 3.11; everything else is installed into .venv."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: $(FOR_CHECKING) ## Make .venv with what the service, the checks and the tests need

run: $(FOR_RUNNING) ## Try it: API, workers, SQLite, Valkey and sample data (PORT=8000 DATA=data)
	@exec $(BIN)/python -m app run --port "$(PORT)" --data "$(DATA)"

demo: $(FOR_RUNNING) ## Have many members buy at a running service (URL=... MEMBERS=200 SCENE=... KEY=...)
	@exec $(BIN)/python -m app.demo --url "$(URL)" $(if $(MEMBERS),--members "$(MEMBERS)") \
		$(if $(SCENE),--scene "$(SCENE)") $(if $(KEY),--key "$(KEY)")

key: $(FOR_RUNNING) ## Make an operator's API key (SCOPES="catalog sales ..." DATA=data)
	@$(BIN)/python -m app keys create --data "$(DATA)" $(addprefix --scope ,$(SCOPES))

migrate: $(FOR_RUNNING) ## Bring the tables of DATABASE_URL to the newest migration
	@$(BIN)/python -m app migrate

test: $(FOR_CHECKING) $(BROWSER) ## Run the tests (ARGS="-x tests/domain")
	$(BIN)/python -m pytest $(or $(ARGS),$(WORKERS))
	$(if $(ARGS),,$(BIN)/python -m pytest tests/chaos tests/bench)

bench: $(FOR_CHECKING) ## Measure how fast it is beside yardsticks, ~15 min (ARGS="--only claim --seconds 3")
	@exec $(BIN)/python -m bench $(ARGS)

chaos: $(FOR_CHECKING) ## Kill, cut and mislead a running service, and hold it to what it said (MINUTES=10 ARGS="--seed 1")
	@exec $(BIN)/python -m chaos $(if $(MINUTES),--minutes "$(MINUTES)") $(ARGS)

check: $(FOR_CHECKING) ## Check format, lint, types, layers, Dockerfile and compose file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

format: $(FOR_CHECKING) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(FOR_CHECKING) ## Write the tables in docs/ from the code
	@$(BIN)/python -m docs.tables

health: $(FOR_CHECKING) ## Play two communities over 90 days; write docs/community-health.md (ARGS="--days 30")
	@$(BIN)/python -m docs.health $(ARGS)

screenshots: $(FOR_CHECKING) $(BROWSER) ## Play an invite in a browser; keep pictures in screenshots/
	@$(BIN)/python -m docs.screenshots

lock: $(FOR_CHECKING) ## Pin requirements*.in in requirements*.txt (ARGS=--upgrade for newer versions)
	$(LOCK) $(ARGS) requirements.in -o requirements.txt
	$(LOCK) $(ARGS) -c requirements.txt requirements-dev.in -o requirements-dev.txt

audit: $(FOR_CHECKING) ## Ask an advisory service about the pinned versions (needs the network)
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.txt

clean: ## Remove .venv and what tools left behind; data/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v "$(PYTHON)" > /dev/null || \
		{ echo "$(PYTHON) is not there. Install Python 3.11, or name yours: make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -m venv .venv

$(FOR_RUNNING): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into .venv ..."
	@$(INSTALL) requirements.txt
	@touch $@

# requirements-dev.txt holds requirements.txt too, at the same versions.
$(FOR_CHECKING): requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing requirements-dev.txt into .venv ..."
	@$(INSTALL) requirements-dev.txt
	@touch $(FOR_RUNNING) $@

# Chromium comes with the system. Where it cannot be had, the tests of pages in a browser are left out, and say so.
$(BROWSER): | $(BIN)/python
	@if $(BIN)/python -m tests.browser.chromium > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && echo "Installing Chromium ..." && \
		apt-get -qq update > /dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends chromium fonts-wqy-microhei > /dev/null 2>&1; then :; \
	else echo "There is no Chromium here: tests of pages in a browser will be left out."; fi
	@touch $@
