"""The page of the command line: each command with its arguments and options, as click knows them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence

import click

from tfimm_resolver.cli import help_pages
from tfimm_resolver.cli.app import cli
from tools.reference.markdown import GENERATED, make_table
from tools.terminal.sessions import SESSIONS, get_picture

_HEAD = """# Command line

`tfimm-resolver COMMAND` and `python -m tfimm_resolver COMMAND` are the same. Data goes to stdout, everything
else to stderr; a pipe gets the same columns as a terminal, without colour, progress bars and totals. [JSON
output](json.md) describes what `--json` prints, [exit codes](exit_codes.md) what the exit codes mean, and
[environment variables](variables.md) what can be set.
"""
_SHARED = """## Options of every command

They may stand before or after the name of the command. `--help` of a command has examples, and the
environment variables and exit codes that matter for it.

- On a terminal, a running download is one line: a bar, the bytes, the rate of the last five seconds and the
  time that is left. A line stays for each finished model, and one for the sum of several. Without a
  terminal, and with `TERM=dumb`, there are only these lines, and one every 5 s (30 s for several).
- `-q` prints results only: stderr is silent but for errors.
- Wrong options, commands and names are errors like any other, with what was probably meant, and JSON with
  `--json`. `tfimm-resolver explain ERROR` says what an error or an exit code means.
"""


def make_page() -> str:
    """Return the page."""
    shared = [parameter for parameter in cli.params if parameter.name != "version"]
    parts = [_HEAD, _make_overview(), _SHARED, _make_option_table(shared, cli)]
    for name, command in _iterate_commands(cli):
        parts += _describe(name, command, {one.name for one in shared})
    return GENERATED + "\n" + "\n".join(parts)


def _iterate_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its full name; a group's commands stand for the group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _iterate_commands(command, f"{prefix}{name} ")
        elif command:
            yield f"{prefix}{name}", command


def _make_overview() -> str:
    rows = []
    for name, command in _iterate_commands(cli):
        rows.append([f"[`{name}`](#{name.replace(' ', '-')})", _convert_quotes(command.get_short_help_str(200))])
    return make_table(["command", "does"], rows)


def _describe(name: str, command: click.Command, shared: set[str | None]) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## {name}\n"
    yield f"```text\ntfimm-resolver {name} {usage}\n```\n"
    yield _convert_quotes(_join_lines(command.help or "")) + "\n"
    own = [
        one for one in command.params if isinstance(one, click.Option) and one.name not in {*shared, "help", "show_version"}
    ]
    if own:
        yield _make_option_table(own, command)
    examples = "\n".join(help_pages.list_examples(name))
    yield f"```text\n{examples}\n```\n"
    if variables := help_pages.PAGES[name].variables:
        yield f"Environment variables: {', '.join(f'`{variable}`' for variable in variables)}.\n"
    for key, session in SESSIONS.items():
        if session.command == name:
            yield f"![{session.title}](../images/{get_picture(key)})\n"


def _join_lines(text: str) -> str:
    """Return a help text with one line for each paragraph, except for the blocks that click does not wrap."""
    blocks = [block for block in re.split(r"\n\s*\n", inspect.cleandoc(text)) if block.strip()]
    return "\n\n".join(_convert_block(block) for block in blocks)


def _convert_block(block: str) -> str:
    if block.startswith("\b"):
        _, _, text = block.partition("\n")
        return f"```text\n{textwrap.dedent(text)}\n```"
    return " ".join(block.split())


def _make_option_table(options: Sequence[click.Parameter], command: click.Command) -> str:
    context = click.Context(command)
    rows = []
    for option in options:
        assert isinstance(option, click.Option)
        record = option.get_help_record(context)
        if record:
            rows.append([f"`{record[0]}`", _convert_quotes(record[1])])
    return make_table(["option", "does"], rows)


def _convert_quotes(text: str) -> str:
    """Return a help text as Markdown: what looks like HTML is escaped outside of code."""
    parts = re.split(r"(`[^`]*`|```.*?```)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", r"\*") for part in parts)
