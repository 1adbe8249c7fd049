"""Wrong commands, options and arguments as errors of this package: one form, also as JSON, with suggestions."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver.errors import ResolverError

_COMMAND = re.compile(r"No such command '(.*?)'\..*", re.DOTALL)
_SUGGESTION_OF_CLICK = re.compile(r" *(\(Possible options: |Did you mean ).*", re.DOTALL)


class UsageError(ResolverError):
    """The command line is not valid."""

    exit_code = 2


def make_usage_error(error: click.ClickException) -> UsageError:
    """Return the error for what click does not accept, with what was probably meant, or how the command is used."""
    message = clean_value(_describe(error))
    text = _SUGGESTION_OF_CLICK.sub("", message).strip().removesuffix(".")
    return UsageError(text[:1].lower() + text[1:], fix=_suggest_fix(error, message))


def _describe(error: click.ClickException) -> str:
    """Return the message, in one line: click lists the values of a missing argument one below the other."""
    param = error.param if isinstance(error, click.MissingParameter) else None
    if param is None or not isinstance(param.type, click.Choice):
        return error.format_message()
    *others, last = map(str, param.type.choices)
    return f"Missing {param.param_type_name}: {', '.join(others)}{' or ' if others else ''}{last}"


def _suggest_fix(error: click.ClickException, message: str) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return ""
    if meant := _find_similar(error, message, context):
        return f"Did you mean {' or '.join(meant)}?"
    return f"{' '.join(context.get_usage().split())}, explained by {context.command_path} --help"


def _find_similar(error: click.ClickException, message: str, context: click.Context) -> Sequence[str]:
    """Return options or commands whose names are similar to the one that does not exist."""
    if isinstance(error, click.NoSuchOption):
        return error.possibilities or ()
    found = _COMMAND.fullmatch(message)
    if found is None or not isinstance(context.command, click.Group):
        return ()
    import difflib

    return difflib.get_close_matches(found[1], context.command.list_commands(context), n=2)
