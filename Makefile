# make demo: resolve and load a small model. make check: lint, types and unit tests. make test: also all other tests,
# except those that take long. make test-long: every test. All create .venv, with the interpreter PYTHON.
# Some tests also need the Debian packages git, nginx-light and strace, which .ci/run installs.
PYTHON ?= python3
BIN := .venv/bin
# The number of tests that run at the same time; auto is the number of processors.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadgroup

.PHONY: demo lint check test test-long bench golden clean

demo: .venv/installed
	$(BIN)/tfimm-resolver demo

lint: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	$(PYTEST)

test-long: lint
	$(PYTEST) -m ""

bench: .venv/tested
	$(BIN)/python -m tests.benchmarks

# Show what has changed in commands, errors, records and trees since the base commit, except for what tests/golden/accepted.toml lists.
golden: .venv/tested
	$(BIN)/python -m tests.golden

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/installed: setup.cfg pyproject.toml
	@echo "installing TensorFlow and the other dependencies into .venv; this may take minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[tensorflow]'
	touch $@

# tfimm requires a TensorFlow of 2022 and is tested with the current one; setuptools 84 does not contain pkg_resources.
.venv/tested: .venv/installed
	@echo "installing the test dependencies"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python tfimm==0.2.14
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target .venv/setuptools-84 setuptools==84.2.1
	touch $@
