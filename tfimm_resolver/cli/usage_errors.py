"""Wrong commands, options and arguments as errors of this package: one form, also as JSON, with suggestions."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver.errors import ResolverError

_COMMAND = re.compile(r"No such command '(.*?)'\..*", re.DOTALL)
_SUGGESTION_OF_CLICK = re.compile(r" *\(?(Possible options: |Did you mean ).*", re.DOTALL)

_RANGE = re.compile(r"is not (?:in the range .*|a valid integer range)\.?$", re.DOTALL)
_VALUE = re.compile(r"'([^']*)' is not (?:one of )?'")
_OTHER_WORDS = {
    **dict.fromkeys(("list", "dir"), "ls"),
    **dict.fromkeys(("remove", "delete", "del", "uninstall", "purge"), "rm"),
    **dict.fromkeys(("download", "get", "pull"), "resolve"),
    **dict.fromkeys(("info", "show", "describe", "signature", "signatures"), "inspect"),
    **dict.fromkeys(("clean", "gc", "evict", "cleanup"), "prune"),
    **dict.fromkeys(("check", "hash"), "verify"),
    **dict.fromkeys(("install", "update"), "sync"),
    **dict.fromkeys(("pin", "freeze"), "lock"),
    **dict.fromkeys(("config", "which", "where"), "path"),
    **dict.fromkeys(("size", "usage", "df"), "du"),
    **dict.fromkeys(("diagnose", "status"), "doctor"),
    **dict.fromkeys(("error", "errors"), "explain"),
    "pack": "export",
    "unpack": "import",
    "help": "--help",
    "version": "--version",
}
"""The words of other tools for the commands of this one."""


class UsageError(ResolverError):
    """The command line is not valid: a command, an option or an argument is not known, is missing, or has a wrong value.

    The error says what was probably meant; `tfimm-resolver COMMAND --help` has the options, with examples.
    """

    exit_code = 2


def make_usage_error(error: click.ClickException) -> UsageError:
    """Return the error for what click does not accept, with what was probably meant, or how the command is used."""
    message = clean_value(_describe(error))
    text = _SUGGESTION_OF_CLICK.sub("", message).strip().removesuffix(".")
    return UsageError(text[:1].lower() + text[1:], fix=_suggest_fix(error, message))


def _describe(error: click.ClickException) -> str:
    """Return the message, in one line: click lists the values of a missing argument one below the other."""
    if isinstance(error, click.BadParameter) and error.param is not None and isinstance(error.param.type, click.IntRange):
        return _RANGE.sub(f"is not {_describe_range(error.param.type)}", error.format_message())
    param = error.param if isinstance(error, click.MissingParameter) else None
    if param is None or not isinstance(param.type, click.Choice):
        return error.format_message()
    *others, last = map(str, param.type.choices)
    return f"Missing {param.param_type_name}: {', '.join(others)}{' or ' if others else ''}{last}"


def _describe_range(kind: click.IntRange) -> str:
    """Return which numbers an option accepts, in words instead of as an inequality."""
    if kind.max is None:
        return f"a whole number of at least {kind.min}"
    return f"a whole number from {kind.min} to {kind.max}"


def _suggest_fix(error: click.ClickException, message: str) -> str:
    if not isinstance(error, click.UsageError):
        return ""
    context = error.ctx or click.get_current_context(silent=True)
    if meant := _find_similar(error, message, context):
        return f"Did you mean {' or '.join(meant)}?"
    if context is None:
        return "Usage: tfimm-resolver [OPTIONS] COMMAND [ARGS]..., explained by tfimm-resolver --help"
    return f"{' '.join(context.get_usage().split())}, explained by {context.command_path} --help"


def _find_similar(error: click.UsageError, message: str, context: click.Context | None) -> Sequence[str]:
    """Return commands, options or values of an option that are similar to the one that does not exist."""
    import difflib

    if isinstance(error, click.NoSuchOption):
        return error.possibilities or ()
    if (value := _VALUE.search(message)) and isinstance(error, click.BadParameter) and error.param is not None:
        return difflib.get_close_matches(value[1].lower(), _list_choices(error.param.type), n=2, cutoff=0.5)
    found = _COMMAND.fullmatch(message)
    if found is None or context is None or not isinstance(context.command, click.Group):
        return ()
    commands = context.command.list_commands(context)
    other = _OTHER_WORDS.get(found[1].lower(), "")
    if other.startswith("-") or other in commands:
        return [other] if context.parent is None else ()
    return difflib.get_close_matches(found[1].lower(), commands, n=2)


def _list_choices(kind: object) -> list[str]:
    """Return the values that an option accepts; those of each part of an option with several values."""
    if isinstance(kind, click.Choice):
        return [*map(str, kind.choices)]
    return [choice for part in kind.types for choice in _list_choices(part)] if isinstance(kind, click.Tuple) else []
