"""The examples of the documentation that need Ray."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.engines.examples import list_examples, name_example, run_example
from tests.fakes.archives import REAL
from tests.fakes.pages import Block


@pytest.mark.parametrize("block", list_examples("with Ray"), ids=name_example)
def test_an_example_prints_what_it_shows(block: Block, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short:  # the path of a socket has at most 107 characters
        run_example(block, REAL.read_bytes(), tmp_path, RAY_TMPDIR=short)
