"""Tests of ``_util.tables``: columns are aligned, and no text from outside leaves its cell."""

from __future__ import annotations

import re

import pytest

from tfimm_resolver._util import tables
from tfimm_resolver._util.tables import Table

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "</td></tr></table><h1>forged</h1>",
    "&lt;b&gt;",
    "name\nok  forged row",
    "\x1b[31mred\x1b[0m \u202ereversed",
    "https://ada:hunter22@host/m.tar.gz?token=hunter22",
)


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    table = Table(["MODEL", "SIZE"], [["a", "9 B"], ["longer name", "54 MB"]], "2 models", numbers={1})
    assert tables.format_text(table).splitlines() == [
        "2 models",
        "MODEL         SIZE",
        "a              9 B",
        "longer name  54 MB",
    ]


def test_a_table_without_rows_is_its_summary() -> None:
    table = Table(["MODEL"], [], "0 models")
    assert tables.format_text(table) == "0 models"
    assert "<table" not in tables.format_html(table) and "0 models" in tables.format_html(table)


def test_a_long_table_shows_its_first_rows_and_how_many_follow() -> None:
    table = Table(["MODEL"], [[f"m{number}"] for number in range(120)])
    lines = tables.format_text(table).splitlines()
    assert (lines[-2], lines[-1], len(lines)) == ("m49", "and 70 more", 52)
    page = tables.format_html(table)
    assert page.count("<tr>") == 101 and "and 20 more" in page and "m100" not in page


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("where", ["cell", "summary"])
def test_a_text_from_outside_stays_text(text: str, where: str) -> None:
    table = Table(["MODEL"], [[text if where == "cell" else "m"]], text if where == "summary" else "")
    lines, page = tables.format_text(table), tables.format_html(table)
    assert len(lines.splitlines()) == 2 + (where == "summary")
    assert set(re.findall(r"<(\w+)", page)) <= {"div", "table", "tr", "td", "span"} and "<script" not in page
    assert not set(re.findall(r"<[^>]* (\w+)=", page)) - {"style"}
    for shown in (lines, page):
        assert "hunter22" not in shown and not set(shown) & {"\x1b", "\u202e"}


def test_a_warned_text_has_a_colour_and_nothing_else_has_one() -> None:
    page = tables.format_html(Table(["STATE"], [["ok"], ["damaged"]], warned={"damaged"}))
    assert re.findall(r"color:[^>]*>([^<]*)", page) == ["damaged"]
    assert "background" not in page, "a notebook has a light or a dark background"
