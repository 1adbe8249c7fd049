"""``tfimm-resolver adopt``: takes over the models in other tools' caches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size, truncate_middle
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, error_to_json, format_error, style, style_state
from tfimm_resolver.maintenance import adoption
from tfimm_resolver.maintenance.adoption import ADOPTED, AdoptResult
from tfimm_resolver.resolution.cached_names import SHORTENED_MIN

_WOULD_ADOPT = "would adopt"
_OTHER_COLUMNS, _NAME_COLUMNS = 32, 45


@click.command(short_help="Make models in other tools' caches entries of this one.")
@click.option(
    "--from",
    "caches",
    multiple=True,
    metavar="CACHE",
    help="tfhub, kagglehub, huggingface, tfimm, or a directory laid out as one of these; may be repeated; by default, all.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be adopted, and change nothing.")
@common
@click.pass_obj
def command(output: Output, caches: Sequence[str], dry_run: bool) -> int:
    """Make complete models in the caches of tensorflow_hub, kagglehub, huggingface_hub and tfimm entries of this cache.

    Nothing is downloaded. Files are shared where the disk can do that, by reflink or hard link, and copied otherwise.
    The other caches are not changed, and may be removed afterwards.
    """
    results = []
    for result in adoption.iterate_results(caches, dry_run=dry_run):
        results.append(result)
        if not output.as_json:
            _print(output, result, dry_run=dry_run)
    error = next((result.error for result in results if result.error), None)
    if output.as_json:
        output.print_json(
            {
                "models": [_make_facts(result) for result in results],
                "adopted_bytes": _sum_bytes(results),
                "dry_run": dry_run,
                **({"error": error_to_json(error)} if error else {}),
            }
        )
    else:
        output.print_message(_format_summary(results, dry_run=dry_run))
    return error.exit_code if error else 0


def _make_facts(result: AdoptResult) -> dict[str, object]:
    return {**result.facts(), **({"error": error_to_json(result.error)} if result.error else {})}


def _print(output: Output, result: AdoptResult, *, dry_run: bool) -> None:
    if output.is_quiet:
        if result.state == ADOPTED:
            output.print_line(result.handle)
        elif result.error:
            output.print_error(result.error)
        return
    word = _WOULD_ADOPT if dry_run and result.state == ADOPTED else result.state
    columns = len(_WOULD_ADOPT if dry_run else ADOPTED)
    width, others = output.get_width(), _OTHER_COLUMNS + columns - len(ADOPTED)
    name = truncate_middle(result.handle, width and max(SHORTENED_MIN, width - others))
    name = f"{name:<{min(_NAME_COLUMNS, width - others) if width else 0}}"
    size = f"{format_size(result.size_bytes):>7}" if result.state == ADOPTED else ""
    how = style(" ".join(filter(None, (result.method, f"from {result.cache}" * (not result.method)))), dim=True)
    state = style_state(result.state).replace(result.state, word) + " " * (columns - len(word))
    output.print_line("  ".join(filter(None, (state, name, size, how))))
    if result.reason:
        output.print_line(f"           {result.found}: {result.reason}")
    if result.error:
        output.print_failure(f"{style('error:', fg='red')} {format_error(result.error)}")


def _format_summary(results: Sequence[AdoptResult], *, dry_run: bool) -> str:
    if not results:
        return "no models were found in other caches"
    counts = Counter(result.state for result in results)
    verb = "would adopt" if dry_run else "adopted"
    found = [f"{verb} {counts[ADOPTED]}, {format_size(_sum_bytes(results))}"] if counts[ADOPTED] else ["adopted nothing"]
    found += [f"{counts[state]} {text}" for state, text in _OTHERS.items() if counts[state]]
    return "; ".join(found) + "\n  nothing was changed (dry run)" * dry_run


_OTHERS = {adoption.CACHED: "cached already", adoption.SKIPPED: "skipped", adoption.FAILED: "failed"}


def _sum_bytes(results: Sequence[AdoptResult]) -> int:
    return sum(result.size_bytes for result in results)
