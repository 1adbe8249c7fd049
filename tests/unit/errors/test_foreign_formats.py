"""Tests of ``errors.foreign_formats``: each format has a title and advice that fit every caller."""

from __future__ import annotations

import re

import pytest

from tfimm_resolver.errors import foreign_formats
from tfimm_resolver.errors.foreign_formats import ForeignFormat

FORMATS = {name: one for name, one in vars(foreign_formats).items() if isinstance(one, ForeignFormat)}


@pytest.mark.parametrize("name", FORMATS)
def test_title_and_advice_are_parts_of_sentences(name: str) -> None:
    found = FORMATS[name]
    assert re.match(r"(?:an? |the |part |plain )", found.title) and not found.title.endswith(".")
    assert found.advice[:1].isupper() and found.advice.endswith(".")


def test_each_format_has_a_title_of_its_own() -> None:
    assert len({one.title for one in FORMATS.values()}) == len(FORMATS) > 20
