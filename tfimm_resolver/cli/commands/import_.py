"""``tfimm-resolver import``: imports the models of a bundle into the cache."""

from __future__ import annotations

import sys

import click

from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.bundles import reader
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_file
from tfimm_resolver.cli.output import Output, format_table


@click.command(short_help="Import the models of a bundle into the cache.")
@click.argument("bundle", metavar="FILE", shell_complete=complete_file)
@click.option("--refresh", is_flag=True, help="Replace cached copies that are newer than those in the bundle, too.")
@click.option("--sha256", metavar="HEX", help="Expected sha256 of the bundle, as printed by export.")
@click.option(
    "--signature",
    metavar="PATH",
    shell_complete=complete_file,
    help="Signature of the bundle, as written by sign; needs --key.",
)
@click.option(
    "--key",
    multiple=True,
    metavar="PATH",
    shell_complete=complete_file,
    help="Public key (a PEM file) that must have signed the models.",
)
@common
@click.pass_obj
def command(
    output: Output, bundle: str, refresh: bool, sha256: str | None, signature: str | None, key: tuple[str, ...]
) -> int:
    """Import all models of the bundle FILE (- for stdin) into the cache; import none if one of them fails verification."""
    if bundle == "-" and sys.stdin is None:
        raise click.UsageError("- reads the bundle from stdin, which is closed")
    if (signature is None) != (not key):
        raise click.UsageError("--signature and --key can only be used together")
    source = sys.stdin.buffer if bundle == "-" else bundle
    signer = {"key": [*key]} if key else None
    models = reader.import_(source, refresh=refresh, sha256=sha256, signature=signature, signer=signer)
    if output.as_json:
        output.print_json({"models": [model.facts() for model in models]})
        return 0
    if output.is_quiet:
        for model in models:
            output.print_line(model.record.handle)
        return 0
    rows = [
        [
            model.state,
            model.record.handle,
            f"{format_count(len(model.record.files or ()), 'file')}  {format_size(model.record.size_bytes)}",
        ]
        for model in models
    ]
    for line in format_table(rows):
        output.print_line(line)
    if any(model.state == "kept" for model in models):
        output.print_message(
            "kept: the cached copy is newer than the one in the bundle; --refresh imports the one in the bundle"
        )
    if sha256 is None and signature is None:
        output.print_message("note: without --sha256 or --signature these models satisfy no pin")
    return 0
