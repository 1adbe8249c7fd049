"""The table of limits in the documentation has the values of the code."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.endless_server import ANSWER_SECONDS, ANSWERS
from tests.fakes.hostile_inputs import INPUTS
from tfimm_resolver import errors, settings

TABLE = Path(__file__).parents[2] / "docs" / "limits.md"
UNITS = {"": 1, "s": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "TiB": 1 << 40}
VARIABLES = ("TFIMM_RESOLVER_MAX_MEMBERS", "TFIMM_RESOLVER_MAX_BYTES", "TFIMM_RESOLVER_MAX_RATIO")


def read_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells of each row of the first table."""
    for line in TABLE.read_text().partition("\n## ")[0].splitlines():
        if line.startswith("| ") and not line.startswith("| input"):
            about, limit, variable, effect = (cell.strip() for cell in line.strip("|").split("|"))
            yield about, limit, variable, effect


ROWS = {about: row for about, *row in read_rows()}


@pytest.mark.parametrize("about", ROWS)
def test_the_documented_limit_is_the_one_in_the_code(about: str) -> None:
    limit, variable, effect = ROWS[about]
    number, unit = re.match(r"([\d,]+) ?(\w*)", limit).groups()  # type: ignore[union-attr]
    documented = int(number.replace(",", "")) * UNITS[unit]
    if named := re.search(r"`([\w.]+)\.([A-Z_]+)`\)$", about):
        assert getattr(importlib.import_module(f"tfimm_resolver.{named[1]}"), named[2]) == documented
    else:
        assert settings.unpack_limits()[VARIABLES.index(variable.strip("`"))] == documented
    assert effect.startswith("the ") or hasattr(errors, effect)


def test_every_setting_of_a_limit_is_documented() -> None:
    assert {name for _, variables, _ in ROWS.values() for name in re.findall(r"\w+", variables)} == {*VARIABLES}


def read_costs() -> dict[str, str]:
    """Return the time in the third column of each row of the second table."""
    lines = TABLE.read_text().partition("\n## What hostile inputs cost")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row[2] for row in cells if row[0] != "input"}


def test_every_hostile_input_is_documented_with_the_time_that_its_test_allows() -> None:
    allowed = {name: f"{one.seconds:g} s" for name, one in INPUTS.items()}
    assert read_costs() == allowed | {f"{name} of a server": f"{ANSWER_SECONDS} s" for name in ANSWERS}
