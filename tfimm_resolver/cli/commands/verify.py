"""``tfimm-resolver verify``: compares the cached files with their recorded hashes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.cli.commands import common, format_command
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.exit_codes import EXIT_DAMAGED, EXIT_UNVERIFIED
from tfimm_resolver.cli.output import Output, error_to_json, style_state
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.maintenance import verification
from tfimm_resolver.maintenance.verification import VerifyResult


@click.command(short_help="Compare the cached files with their recorded hashes.")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_cached)
@click.option("--repair", is_flag=True, help="Download damaged models again.")
@common
@click.pass_obj
def command(output: Output, models: Sequence[str], repair: bool) -> int:
    """Read every file of the given or of all models, and compare it with the hash recorded when it was fetched.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    Signatures that are required are verified, too; `tfimm-resolver sign --help` shows how to require one. Exits with 6 if a
    model is damaged, with 10 if a signature is missing or not valid, with 7 if no hashes were recorded for one.
    """
    results = []
    for result in verification.iterate_results(models, repair=repair):
        results.append(result)
        if not output.as_json:
            _print(output, result)
    states = [result.state for result in results]
    if output.as_json:
        output.print_json({"models": [_to_json(result) for result in results]})
    else:
        output.print_summary(
            ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)) or "nothing is cached"
        )
    exit_codes = {"damaged": EXIT_DAMAGED, "unsigned": SignatureError.exit_code, "unverified": EXIT_UNVERIFIED}
    return next((code for state, code in exit_codes.items() if state in states), 0)


def _to_json(result: VerifyResult) -> dict[str, Any]:
    facts = {"state": result.state, "faults": [*result.faults], "files": result.files, "seconds": result.seconds}
    if result.is_repaired is not None:
        facts["repaired"] = result.is_repaired
    if result.is_repaired:
        facts["changed"] = result.is_changed
    if result.error:
        facts["error"] = error_to_json(result.error)
    signed_by = result.signed_by.facts() if result.signed_by else None
    return {**result.model.facts(), **facts, "signed_by": signed_by}


def _print(output: Output, result: VerifyResult) -> None:
    model = result.model
    if output.is_quiet and result.state == "ok":
        return
    files, size = format_count(result.files, "file"), format_size(model.size_bytes)
    note = ", fetched again" if result.is_repaired else ""
    note += ", a different archive than before" if result.is_changed else ""
    output.print_line(f"{style_state(result.state)}  {model.name}  {files}  {size}  {result.seconds:.1f} s{note}")
    if output.is_quiet:
        return
    if result.state == "damaged":
        for fault in result.faults:
            output.print_line(f"  {fault}")
        output.print_line(f"  {_advise(result)}")
    elif result.state == "unsigned":
        for fault in result.faults:
            output.print_line(f"  {fault}")
    elif result.signed_by:
        output.print_line(f"  signed by {result.signed_by.describe()}")


def _advise(result: VerifyResult) -> str:
    if result.error:
        return f"not repaired: {result.error.text}"
    if result.model.is_read_only:
        return f"to repair: ask the owner of {result.model.other_root}, which is read-only"
    return f"to repair: {format_command(f'verify --repair {shlex.quote(result.model.name)}')}"
