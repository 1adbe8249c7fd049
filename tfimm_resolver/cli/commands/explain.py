"""``tfimm-resolver explain``: explains an error or an exit code."""

from __future__ import annotations

import re
from typing import Any

import click

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cli import explanations
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_error
from tfimm_resolver.cli.diagnosis.codes import find_meaning
from tfimm_resolver.cli.exit_codes import MEANINGS, get_code, list_classes
from tfimm_resolver.cli.output import Output, style
from tfimm_resolver.cli.usage_errors import UsageError
from tfimm_resolver.errors import ResolverError


@click.command(short_help="Explain an error or an exit code, and what to do about it.")
@click.argument("error", required=False, metavar="[ERROR]", shell_complete=complete_error)
@common
@click.pass_obj
def command(output: Output, error: str | None) -> int:
    """Explain what an error means and what to do about it; without ERROR, list all errors.

    ERROR is the name of an error such as NotFoundError, its code such as `not-found`, which --json prints, an exit code, or a
    code of `doctor` such as `not-writable`.
    """
    kinds = explanations.find_classes(error) if error else list_classes()
    code = int(error) if error and error.isdecimal() else None
    check = find_meaning(error) if error else None
    if error and not kinds and code not in MEANINGS and check is None:
        raise _make_unknown(error)
    if output.as_json:
        meaning = {} if code is None else {"exit_code": code, "meaning": MEANINGS[code]}
        checks = {"check": {"code": error, "text": check}} if check else {}
        output.print_json({**meaning, "errors": [_make_facts(kind) for kind in kinds], **checks})
    elif error:
        _print(output, kinds, code)
        if check:
            _print_check(output, error, check, is_first=not kinds)
    else:
        _print_list(output, kinds)
    return 0


def _make_unknown(name: str) -> UsageError:
    import difflib

    names = explanations.list_names()
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=2) if re.search("[a-z]", name.lower()) else []
    meant = f"Did you mean {' or '.join(by_lower[one] for one in close)}?"
    fix = meant if close else "`tfimm-resolver explain` lists all errors."
    return UsageError(f'no error or exit code is called "{show(name)}"', fix=fix)


def _make_facts(kind: type[ResolverError]) -> dict[str, Any]:
    text = explanations.make_plain(explanations.get_text(kind))
    return {"name": kind.__name__, "code": get_code(kind), "exit_code": kind.exit_code, "text": text}


def _print(output: Output, kinds: list[type[ResolverError]], code: int | None) -> None:
    if code is not None:
        for line in explanations.wrap(f"Exit code {code}: {MEANINGS[code]}.", output.get_width()):
            output.print_line(line)
    for number, kind in enumerate(kinds):
        if number or code is not None:
            output.print_line("")
        output.print_line(style(f"{kind.__name__} ({get_code(kind)})", bold=True))
        for line in explanations.wrap(explanations.get_text(kind), output.get_width()):
            output.print_line(line)


def _print_check(output: Output, code: str, meaning: str, *, is_first: bool) -> None:
    if not is_first:
        output.print_line("")
    output.print_line(style(f"{code} (of doctor)", bold=True))
    text = f"{meaning[0].upper()}{meaning[1:]}. `tfimm-resolver doctor` shows where, and what to do."
    for line in explanations.wrap(text, output.get_width()):
        output.print_line(line)


def _print_list(output: Output, kinds: list[type[ResolverError]]) -> None:
    if output.is_quiet:
        for kind in kinds:
            output.print_line(kind.__name__)
        return
    head = [style(cell, bold=True) for cell in ("EXIT", "CODE", "ERROR")]
    output.print_table([head, *([f"{kind.exit_code:>4}", get_code(kind), kind.__name__] for kind in kinds)])
    output.print_summary("tfimm-resolver explain ERROR says what one means; ERROR is any of these three")
