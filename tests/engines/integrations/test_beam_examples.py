"""The examples of the documentation that need Apache Beam."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.examples import list_examples, name_example, run_example
from tests.fakes.pages import Block
from tests.fakes.saved_models import make_half_plus_two


@pytest.mark.parametrize("block", list_examples("with Beam"), ids=name_example)
def test_an_example_prints_what_it_shows(block: Block, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    run_example(block, make_half_plus_two(tmp_path / "made"), tmp_path)
