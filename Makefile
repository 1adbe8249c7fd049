# make demo: the main job on a small model. make test: every check. Both make .venv themselves.
# Some tests also need Debian's git and strace, which .ci/run installs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench golden clean

demo: .venv/installed
	$(BIN)/tfimm-resolver demo

test: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: .venv/tested
	$(BIN)/python -m tests.benchmarks

# What commands, errors, records and trees have become since the base commit, but for what tests/golden/accepted.toml lists.
golden: .venv/tested
	$(BIN)/python -m tests.golden

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/installed: setup.cfg pyproject.toml
	@echo "installing TensorFlow and what else is needed into .venv; this may take minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[tensorflow]'
	touch $@

# tfimm asks for a TensorFlow of 2022 and is tested with today's; setuptools 84 is the one without pkg_resources.
.venv/tested: .venv/installed
	@echo "installing what the tests need"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python tfimm==0.2.14
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target .venv/setuptools-84 setuptools==84.2.1
	touch $@
