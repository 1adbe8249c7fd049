"""``tfimm-resolver import``: takes the models of a bundle into the cache."""

from __future__ import annotations

import sys

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.bundles import reader
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, count, table


@click.command(short_help="Take the models of a bundle into the cache.")
@click.argument("bundle", metavar="FILE")
@click.option("--refresh", is_flag=True, help="Also in place of copies that were fetched later than the bundle's.")
@click.option("--sha256", metavar="HEX", help="What the bundle must hash to, as export printed it.")
@common
@click.pass_obj
def command(screen: Output, bundle: str, refresh: bool, sha256: str | None) -> int:
    """Take every model of a bundle (- for stdin) into the cache, verified; none of them if anything in it is not right."""
    taken = reader.read(sys.stdin.buffer if bundle == "-" else bundle, refresh=refresh, sha256=sha256)
    if screen.as_json:
        screen.facts({"models": [one.facts() for one in taken]})
        return 0
    rows = [
        [one.state, one.record.handle, f"{count(len(one.record.files or ()), 'file')}  {format_size(one.record.size_bytes)}"]
        for one in taken
    ]
    for line in table(rows):
        screen.data(line)
    if any(one.state == "kept" for one in taken):
        screen.say("kept: what is here was fetched later than the bundle's; --refresh takes the bundle's")
    return 0
