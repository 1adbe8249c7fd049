"""The help of each command: one purpose, examples that can be parsed, and the options of every command in one place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tfimm_resolver._util.toml import parse_toml
from tfimm_resolver.cli import help_pages
from tfimm_resolver.cli.app import cli
from tfimm_resolver.cli.help_pages import PAGES, list_examples
from tfimm_resolver.cli.output import Output


@pytest.fixture(autouse=True)
def _restore_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what options such as -q set for the process, which the program itself undoes when a command ends."""
    for variable in ("TFIMM_RESOLVER_QUIET", "TFIMM_RESOLVER_PROGRESS"):
        monkeypatch.setenv(variable, "")


def list_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its full name, without groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from list_commands(found, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", found


COMMANDS = dict(list_commands(cli))
EXAMPLES = [(name, line) for name in PAGES for line in list_examples(name)]


def parse(line: str) -> click.Context:
    """Parse a command line as the program does, without running the command; return its context."""
    context = cli.make_context("tfimm-resolver", shlex.split(line)[1:], obj=Output())
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None and command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def get_help(name: str) -> str:
    """Return what ``--help`` prints for a command."""
    context = click.Context(cli, info_name="tfimm-resolver", max_content_width=80, terminal_width=80)
    for word in name.split():
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, word)
        assert command is not None
        context = click.Context(command, context, word)
    return context.get_help()


def test_every_command_has_one_to_three_examples() -> None:
    assert {*PAGES} == {*COMMANDS}
    assert all(1 <= len(page.examples) <= 3 for page in PAGES.values())


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_can_be_parsed(name: str, line: str) -> None:
    assert parse(line).command_path == f"tfimm-resolver {name}"


def test_an_example_with_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.NoSuchOption):
        parse("tfimm-resolver hub trust list --nothing")


@pytest.mark.parametrize("name", PAGES)
def test_the_help_has_purpose_examples_and_where_the_other_options_are(name: str) -> None:
    text = get_help(name)
    assert all(f"\n    {line}\n" in f"{text}\n" for line in list_examples(name))
    assert "Options of every command" in text and "--help" in text
    for option in ("--json", "--quiet", "--color", "--cache-dir", "-V,"):
        assert not re.search(rf"^  \S*\s*{option}", text, re.MULTILINE), "it is listed by the help of the program"
    assert all(variable in text for variable in PAGES[name].variables)
    assert all(f"{code} (" in " ".join(text.split()) for code, _ in PAGES[name].exit_codes)
    short = COMMANDS[name].get_short_help_str(200)
    assert short.endswith(".") and "\n" not in short


def test_the_help_of_the_program_lists_the_options_of_every_command() -> None:
    text = get_help("")
    for option in (
        "--json",
        "-q, --quiet",
        "--progress",
        "-v, --verbose",
        "--debug",
        "--color",
        "--cache-dir",
        "-V, --version",
    ):
        assert re.search(rf"^  {option}", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_options_of_every_command_stand_before_or_after_it(name: str) -> None:
    command = COMMANDS[name] if name else cli
    flags = {flag for one in command.params for flag in one.opts}
    assert flags >= {"--json", "-q", "-v", "--debug", "--color", "--cache-dir", "-V"}


def test_the_help_of_sign_has_the_tables_that_require_a_signature() -> None:
    text = get_help("sign")
    for start, path in ("    [models.half]", "tfimm-models.toml"), ("    [[trust]]", "config.toml"):
        before, _, rest = text.partition(start)
        table = parse_toml(start + rest.partition("\n\n")[0])
        found = table["models"]["half"] if "models" in table else table["trust"][0]
        assert found["signer"] == {"key": "team.pub"} and path in before
    assert all("sign --help" in " ".join(get_help(name).split()) for name in ("add", "verify"))


def test_a_command_without_a_page_still_says_where_the_options_are() -> None:
    command = click.Command("other")
    help_pages.complete_help(command, "other")
    assert command.epilog and command.epilog.startswith("Options of every command")
