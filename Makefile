# make demo: resolve and load a small model. make check: lint, types and unit tests. make test: also all other tests,
# except those that take long. make test-long: every test. All create .venv, with the interpreter PYTHON.
# make test-all: unit and integration tests on every supported Python that is found, with the oldest and newest dependencies.
# make test-pythons: the unit tests alone on each of them.
# make test-engines: the tests with Apache Beam, Ray, and other engines, each in an environment of its own.
# make test-newest: every test with the newest releases of all dependencies, instead of those in constraints.txt.
# make docs: the documentation in site/, with warnings as errors. make reference: its generated pages. make pictures: the recorded
# sessions of commands, in docs/images/. make screenshots: the pages as Chromium shows them, in site-screenshots/.
# Some tests also need Debian packages, which .ci/run installs.
PYTHON ?= python3
BIN := .venv/bin
NOX := .nox/own/bin
# The number of tests that run at the same time; auto is the number of processors.
WORKERS ?= auto
FUZZ_SECONDS ?= 60
# The engines whose tests test-engines runs.
ENGINES ?= beam ray others
# The versions of Python whose unit tests test-pythons runs.
PYTHONS ?= 3.10 3.11 3.12 3.13
FUZZ_TARGETS ?=
SOAK_SECONDS ?= 600
SOAK_SEED ?=
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadgroup

ifneq ($(MAKECMDGOALS),clean)
VENV := $(shell $(PYTHON) .ci/check_python.py)
ifeq ($(VENV),)
$(error PYTHON=$(PYTHON) cannot be used)
endif
endif

.PHONY: demo lint check test test-long test-all test-pythons test-engines test-newest constraints bench golden docs reference pictures screenshots fuzz soak clean

demo: .venv/installed
	$(BIN)/tfimm-resolver demo

lint: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint
	$(PYTEST) tests/unit

test: lint
	$(PYTEST)

test-long: lint
	$(PYTEST) -m ""

test-all: $(NOX)/nox
	$(NOX)/nox

test-pythons: $(NOX)/nox
	$(NOX)/nox --session interpreters $(addprefix unit-,$(PYTHONS))

test-engines: $(NOX)/nox
	$(NOX)/nox --session $(ENGINES)

test-newest: $(NOX)/nox
	$(NOX)/nox --session newest

# Write the newest version of each dependency that works together with the others into constraints.txt, and the same for the engines.
constraints: $(NOX)/nox
	$(NOX)/uv pip compile --quiet --universal --python-version 3.10 --extra test --extra docs --extra fuzz --no-header --no-annotate --no-emit-package setuptools \
		--output-file constraints.txt setup.cfg
	for engine in beam ray others; do $(NOX)/uv pip compile --quiet --universal --python-version 3.10 --extra test-$$engine --no-header --no-annotate \
		--no-emit-package setuptools --output-file tests/engines/constraints-$$engine.txt setup.cfg; done

bench: .venv/tested
	$(BIN)/python -m tests.benchmarks

# Show what has changed in commands, errors, records and trees since the base commit, except for what tests/golden/accepted.toml lists;
# that file names the commit. BASE=COMMIT compares with another one, to which nothing is accepted.
golden: .venv/tested
	$(BIN)/python -m tests.golden $(if $(BASE),--base $(BASE))

docs: .venv/documented
	rm -rf site
	$(BIN)/zensical build --strict --clean

reference: .venv/installed
	$(BIN)/python -m tools.reference

pictures: .venv/tested
	$(BIN)/python -m tools.terminal

screenshots: docs
	$(BIN)/python -m tools.screenshots

# Give damaged data to everything that reads data of others, for FUZZ_SECONDS in all; FUZZ_TARGETS names some targets.
fuzz: .venv/fuzz
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# Processes use one cache at random, for SOAK_SECONDS: at the end nothing has vanished or changed, and nothing is left.
# SOAK_SEED repeats a schedule.
soak: .venv/tested
	$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

clean:
	rm -rf .venv .nox .cache site site-screenshots build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/installed: setup.cfg pyproject.toml constraints.txt $(if $(filter outdated,$(VENV)),FORCE)
	@echo "installing TensorFlow and the other dependencies into .venv; this may take minutes"
	$(PYTHON) -m venv $(if $(filter outdated,$(VENV)),--clear) .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt -e '.[tensorflow]'
	touch $@

# tfimm requires a TensorFlow of 2022 and is tested with the current one; setuptools 84 does not contain pkg_resources.
# constraints.txt names no setuptools: that of a new .venv stays, whose pkg_resources prints no warning.
.venv/tested: .venv/installed
	@echo "installing the test dependencies"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt -e '.[test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python tfimm==0.2.14
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target .venv/setuptools-84 setuptools==84.2.1
	touch $@

.venv/documented: .venv/installed
	@echo "installing what builds the documentation"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt -e '.[docs]'
	touch $@

.venv/fuzz: .venv/tested
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt -e '.[fuzz]'
	touch $@

$(NOX)/nox:
	$(PYTHON) -m venv .nox/own
	$(NOX)/pip install --quiet --disable-pip-version-check 'nox>=2024.10.9' 'uv>=0.5'
	touch $@

FORCE:
