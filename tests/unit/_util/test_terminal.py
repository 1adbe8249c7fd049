"""Terminals and notebooks are distinguished from all other outputs."""

from __future__ import annotations

import io
import os
import sys
from types import ModuleType

import pytest

from tfimm_resolver._util.terminal import is_notebook, is_terminal


def test_only_an_open_terminal_is_one() -> None:
    main, terminal = os.openpty()
    try:
        with open(terminal, "w", encoding="utf-8") as stream:
            assert is_terminal(stream)
        assert not is_terminal(stream)  # it is closed, and isatty() would raise ValueError
    finally:
        os.close(main)


def test_a_missing_stream_a_text_and_a_pipe_are_not_terminals() -> None:
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8"), open(writing, "w", encoding="utf-8") as pipe:
        assert [is_terminal(stream) for stream in (None, io.StringIO(), pipe)] == [False, False, False]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [("ZMQInteractiveShell", True), ("Shell", True), ("TerminalInteractiveShell", False), (None, False)],
)
def test_the_shell_of_ipython_tells_a_notebook(shell: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: type(shell, (), {})() if shell else None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert is_notebook() is expected


def test_without_ipython_nothing_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not is_notebook()
    assert "IPython" not in sys.modules  # it takes long to import
