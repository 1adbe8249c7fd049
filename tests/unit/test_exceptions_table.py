"""The table of docs/exceptions.md can be read, and a row that says nothing is noticed."""

from __future__ import annotations

import pytest

from tests.fakes.corpus.exceptions import Row, read_table

_HEAD = "| id | input | tensorflow_hub | this package | why | what to do |\n|---|---|---|---|---|---|\n"
_ROW = "| a | a tar | reads it | refuses it: `no`, `never` | why | nothing |\n"


def test_the_table_is_read() -> None:
    assert read_table(_HEAD + _ROW) == {"a": Row("a", is_read_by_hub=True, is_error=True, messages=("no", "never"))}
    assert len(read_table()) > 10


@pytest.mark.parametrize(
    "text",
    [
        _ROW,
        _HEAD + _ROW + _ROW,
        _HEAD + _ROW.replace("why", ""),
        _HEAD + _ROW.replace("| why ", ""),
        _HEAD + _ROW.replace("reads it", "differs"),
        _HEAD + _ROW.replace("refuses it", "differs"),
        _HEAD + _ROW.replace("`no`, `never`", "no"),
    ],
    ids=["no head", "twice", "empty cell", "missing cell", "hub", "ours", "no message"],
)
def test_a_row_that_cannot_be_checked_is_an_error(text: str) -> None:
    with pytest.raises(AssertionError):
        read_table(text)
