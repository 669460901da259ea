# The interface of this checkout. `make help` prints the targets from the comments in this file.
#
# Works with GNU make 3.81 (what macOS ships) to 4.x, so nothing here is newer than 3.81, and every recipe line
# is one command. There are no .SHELLFLAGS: with them a shell stands between make and the command, gets make's SIGTERM
# in its place, and leaves it running.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# T=tests/api/test_providers.py::test_create narrows any test target to that file, class or test. One test pays
# for no second process and says nothing about coverage, so narrowing turns xdist and coverage off: the answer
# comes sooner and breakpoint() works, but the threshold is not checked. T is one argument, taken literally.
T ?=

# PYTEST_ARGS goes to pytest as the shell splits it: make test PYTEST_ARGS='-x -k "login or logout"'.
PYTEST_ARGS ?=

# ENGINE chooses where Postgres comes from. Left empty, it is not passed on, and greenroom decides (auto).
ENGINE ?=
ifneq ($(strip $(ENGINE)),)
export GREENROOM_ENGINE := $(ENGINE)
endif

# For Docker, all optional, on the command line or in the environment: IMAGES=offline uses the stand-ins that
# `make offline-images` builds, IMAGES=mirror.example/ those of a mirror; POSTGRES_VERSION and PYTHON_VERSION choose
# others; CA_BUNDLE and PIP_CONFIG_FILE are for builds behind a proxy; NETWORK=bridge lets tests call out; PORT is the
# application's.
IMAGES ?=
ifeq ($(strip $(IMAGES)),offline)
override IMAGES := greenroom-offline/
endif
export IMAGES

# Hints name the targets of this file, and not greenroom's own commands.
export GREENROOM_HINTS := make

# SHARD=2/4 makes ci-test run the second quarter of the suite.
SHARD ?=

# ARGS is passed to the command of a target whose help says so: make down ARGS=--volumes.
ARGS ?=

# The message of a new migration.
m ?=

# What `make bench` measures, and its options.
PARTS ?=

# More arguments for scripts/lock.
LOCK_ARGS ?=

# What the bootstrap makes: every target that needs Python depends on $(venv).
venv := .venv/.bootstrapped
bin := .venv/bin

# $(call quote,NAME): the value of a variable as one shell word, whatever spaces, quotes or $ it contains.
quote = '$(subst ','\'',$(value $(1)))'

# $(call pytest,PATH,OPTIONS): pytest on PATH with OPTIONS, or on T without xdist and coverage, where the engine has it.
pytest = $(bin)/greenroom test -- $(if $(value T),$(call quote,T) -n 0 --no-cov,$(1) $(2)) $(value PYTEST_ARGS)

##@ Tests (T=tests/api/test_providers.py::test_create narrows, ENGINE=docker|embedded|external chooses the Postgres)

.PHONY: test-up test test-unit test-integration test-api test-toolkit test-contract test-oldest test-newest test-status test-logs test-down ci-test ci-report

test-up: $(venv) ## Start and migrate this checkout's Postgres
	$(bin)/greenroom up

# On all cores: counting lines inside greenlets costs more than the tests themselves.
# The package is named, as in pyproject.toml: a bare --cov would take the first of PYTEST_ARGS for it.
test: $(venv) ## Run the suite with coverage, and start whatever is missing
	$(call pytest,,--cov=app -n auto)

test-unit: $(venv) ## Run the unit tests of the reference service, without coverage
	$(call pytest,tests/unit,--no-cov)

test-integration: $(venv) ## Run the integration tests of the reference service, without coverage
	$(call pytest,tests/integration,--no-cov)

test-api: $(venv) ## Run the API tests of the reference service, without coverage
	$(call pytest,tests/api,--no-cov)

# In a separate venv. Always the same requests; EXAMPLES=500 sends ten times as many to each operation, and others each time.
test-contract: $(venv) ## Send generated requests, and compare the answers with the OpenAPI document
	scripts/contract $(if $(value T),$(call quote,T) -n 0) $(value PYTEST_ARGS)

# The toolkit's tests run pytest inside pytest, a hundred times, and start their own stacks: never inside a stack.
test-toolkit: $(venv) ## Run the tests of greenroom itself and of the scripts, without coverage
	$(bin)/pytest $(if $(value T),$(call quote,T) -n 0,tests/greenroom tests/scripts tests/lab tests/docker offline -n auto --dist=loadgroup) --no-cov $(value PYTEST_ARGS)

# Those of them that use the libraries, in separate venvs.
test-oldest: $(venv) ## Run the tests of greenroom with the oldest versions that it supports
	scripts/versions oldest $(if $(value T),$(call quote,T) -n 0) $(value PYTEST_ARGS)

test-newest: $(venv) ## Run the tests of greenroom with today's newest versions
	scripts/versions newest $(if $(value T),$(call quote,T) -n 0) $(value PYTEST_ARGS)

test-status: $(venv) ## Show which servers and databases exist
	$(bin)/greenroom status

test-logs: $(venv) ## Print the end of this checkout's Postgres log
	$(bin)/greenroom logs

test-down: $(venv) ## Stop this checkout's Postgres and remove its data
	$(bin)/greenroom down

ci-test: $(venv) ## Run the suite as CI does: write reports/ and leave nothing else; SHARD=2/4 runs a part
	$(bin)/greenroom ci $(if $(strip $(SHARD)),--shard $(call quote,SHARD)) -- --cov=app -n auto $(value PYTEST_ARGS)

ci-report: $(venv) ## Merge the shards' reports and check their combined coverage
	$(bin)/greenroom report

##@ Application (in Docker; PORT=8000 fixes its port)

.PHONY: up down logs ps shell db-shell load

up: $(venv) ## Start the application with its own database; it reloads edited sources
	$(bin)/greenroom app up

down: $(venv) ## Stop the application; ARGS=--volumes also removes its data
	$(bin)/greenroom app down $(value ARGS)

logs: $(venv) ## Print the end of the application's log; ARGS=--follow keeps printing
	$(bin)/greenroom app logs $(value ARGS)

ps: $(venv) ## List the application's containers
	$(bin)/greenroom app ps

shell: $(venv) ## Open a shell in the application's container
	$(bin)/greenroom app shell

db-shell: $(venv) ## Open psql on the application's database
	$(bin)/greenroom app psql

load: $(venv) ## Send a thousand requests at once to what `make up` started; ARGS=--rounds=20
	$(bin)/python -m benchmarks.load $(value ARGS)

##@ Images (IMAGES=offline uses the stand-ins)

.PHONY: images offline-images

images: $(venv) ## Pull and build the images of the test stack
	$(bin)/greenroom images

offline-images: $(venv) ## Build stand-ins for the base images from packages, where no image registry is reached
	offline/build $(value ARGS)

##@ Database

.PHONY: migrate migration

migrate: $(venv) ## Bring the template up to date
	$(bin)/greenroom migrate

migration: $(venv) ## Write a migration from the models: make migration m="add a table"
	$(if $(strip $(value m)),,$(error m is empty, and a migration needs a message. Usage: make migration m="add a table"))
	$(bin)/greenroom exec -- $(bin)/alembic revision --autogenerate -m $(call quote,m)

##@ Code

.PHONY: lint format bench faults lab lab-check docs lock

lint: $(venv) ## Run every check; changes nothing
	scripts/lint

format: $(venv) ## Rewrite Python, shell and this Makefile in the project's format
	scripts/format

# ARGS='signals paths' narrows it to faults with one of these words.
faults: $(venv) ## Provoke more than 120 faults, ten minutes at most, and print which held; IMAGES=offline with Docker's
	$(bin)/python -m tests.faults $(value ARGS)

# PARTS=resets narrows it; PARTS=--write puts the figures into docs/.
bench: $(venv) ## Measure greenroom beside its peers, ten minutes; PARTS=resets measures only those
	scripts/bootstrap bench
	.greenroom/bench/bin/python -m benchmarks $(value PARTS)

lab: $(venv) ## Run the troubleshooting guide's programs and report what differs from the records; ARGS=--newest, ARGS=--write
	scripts/lab $(value ARGS)

lab-check: $(venv) ## Run the same programs, and fail if anything differs from the records
	scripts/lab --check $(value ARGS)

docs: $(venv) ## Build the documentation site into reports/docs; a broken link fails the build
	scripts/docs $(value ARGS)

# Needs no .venv: a lock that does not install must not keep you from making a new one.
lock: ## Pin the dependencies in requirements/dev.txt; LOCK_ARGS=--upgrade takes newer ones
	scripts/lock $(value LOCK_ARGS)

##@ Housekeeping

.PHONY: help clean

help: ## List the targets
	@if test -t 1 && test -z "$${NO_COLOR:-}"; then color=yes; else color=; fi; awk -v color="$$color" ' \
	  BEGIN { FS = ":.*## "; if (color) { bold = "\033[1m"; cyan = "\033[36m"; off = "\033[0m" } } \
	  /^##@ / { printf "\n%s%s%s\n", bold, substr($$0, 5), off } \
	  /^[a-z-]+:.*## / { printf "  %s%-17s%s %s\n", cyan, $$1, off, $$2 }' $(MAKEFILE_LIST)

# greenroom goes down before the tool that can stop it is deleted; where .venv is not whole, there is no such tool.
clean: ## Stop the test environment, then remove .venv, caches and reports
	@if test -e .venv/.bootstrapped && $(bin)/python -c '' 2>/dev/null; then $(bin)/greenroom down; fi
	rm -rf .venv reports dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache
	find . -path ./.git -prune -o -type d -name __pycache__ -exec rm -rf {} +

# The script writes this stamp, and is silent and quick when nothing changed. It looks every time (.PHONY), since
# make's file times cannot tell that the interpreter behind .venv vanished or that the checkout was moved.
.PHONY: $(venv)
$(venv):
	@scripts/bootstrap
