"""The command line that tests run in forked processes does what it does in a new interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.cli import run_cli, run_cli_from_its_start


@pytest.mark.parametrize("words", ["ls --json", "--version", "resolve no_such_model", "ls --nonsense", "resolve --help"])
def test_a_forked_command_does_the_same_as_one_in_a_new_interpreter(words: str) -> None:
    assert run_cli(*words.split()) == run_cli_from_its_start(*words.split())


def test_variables_that_only_a_new_interpreter_reads_are_obeyed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('started')\n")
    assert run_cli("--version", PYTHONPATH=str(tmp_path))[1].startswith("started\n")
