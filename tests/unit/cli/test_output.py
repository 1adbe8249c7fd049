"""Tests of ``cli.output``: tables, colours, JSON and messages."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.fakes.named_models import put_model
from tfimm_resolver.cli.app import main
from tfimm_resolver.cli.output import Output, error_to_json, format_bar, format_error, format_table, style
from tfimm_resolver.errors import FetchError


def test_columns_are_aligned_and_colours_have_no_width() -> None:
    plain, coloured = format_table([["a", "b"], ["long", "c"]]), format_table([[style("a", fg="red"), "b"], ["long", "c"]])
    assert plain == ["a     b", "long  c"]
    assert plain[1] == coloured[1] and coloured[0].endswith("   b")


def test_data_goes_to_stdout_and_messages_to_stderr_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(colour="never")
    output.print_line("line\x1b[2J")
    output.print_message("message\x1b[2J")
    out, err = capsys.readouterr()
    assert out.startswith("line") and err.startswith("message") and "\x1b" not in out + err


@pytest.mark.parametrize(("colour", "expected"), [("always", True), ("never", False), ("auto", False)])
def test_colour_is_a_choice_and_off_without_a_terminal(
    colour: str, expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Output(colour=colour).print_line(style("ok", fg="green"))
    assert ("\x1b[32m" in capsys.readouterr().out) is expected


def test_an_error_is_a_message_or_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    error = FetchError("it failed", fix="Try again.")
    Output().print_error(error)
    assert capsys.readouterr().err == "error: it failed\n  Try again.\n"
    Output(as_json=True).print_error(error)
    assert json.loads(capsys.readouterr().out) == {"error": error_to_json(error)}
    assert error_to_json(error) == {"code": error.code, "text": "it failed", "fix": "Try again."}
    assert format_error(FetchError("it failed")).startswith("it failed")


def test_a_bar_is_never_empty_for_a_value() -> None:
    assert (format_bar(0, 10), format_bar(1, 10**9), format_bar(10, 10, cells=3)) == ("", "▏", "███")


def test_a_stream_that_is_not_unicode_gets_similar_or_escaped_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for encoding in ("latin-1", "utf-8")]
    path = put_model(tmp_path / "gr\u00f6\u00dfe\u2026\u2588\u258e\u2192")
    for stream in streams:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["resolve", str(path)]) == 0
        stream.flush()
    latin, utf = (stream.buffer.getvalue().decode(stream.encoding) for stream in streams)
    assert utf == f"{path}\n" and latin == f"{tmp_path}/gr\u00f6\u00dfe~#-\\u2192\n"
