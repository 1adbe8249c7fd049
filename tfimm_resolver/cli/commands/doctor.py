"""``tfimm-resolver doctor``: finds what is wrong with the caches, the settings and the installation."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.diagnosis import report
from tfimm_resolver.cli.diagnosis.findings import PROBLEM
from tfimm_resolver.cli.diagnosis.report import Report
from tfimm_resolver.cli.exit_codes import EXIT_PROBLEMS
from tfimm_resolver.cli.output import Output, style


@click.command(short_help="Find problems with the caches, the settings and the installation.")
@click.option("--online", is_flag=True, help="Also ask Kaggle, GitHub and Hugging Face whether they can be reached.")
@common
@click.pass_obj
def command(output: Output, online: bool) -> int:
    """Print each problem and what to do about it; a note is something that may be intended.

    Nothing is changed and, without --online, no request is made. TensorFlow is not imported. Exits with 11 if there is a
    problem, with 0 if there are only notes.
    """
    found = report.make_report(online=online)
    if output.as_json:
        output.print_json(
            {
                "problems": [finding.facts() for finding in found.problems],
                "notes": [finding.facts() for finding in found.notes],
                "environment": report.collect_facts(found),
            }
        )
    else:
        _print(output, found)
    return EXIT_PROBLEMS if found.problems else 0


def _print(output: Output, found: Report) -> None:
    for finding in found.findings:
        word = style(f"{finding.kind:<8}", fg="red" if finding.kind == PROBLEM else "yellow")
        for number, line in enumerate(finding.text.splitlines()):
            output.print_line(f"{' ' * 8 if number else word} {line}")
        if finding.fix:
            output.print_line(f"{' ' * 8} fix: {' '.join(finding.fix.split())}")
    if output.is_quiet:
        return
    if not found.problems:
        notes = f"; {format_count(len(found.notes), 'note')}" * bool(found.notes)
        output.print_line(f"No problems found: {_describe(found)}{notes}")
    else:
        counts = [format_count(len(found.problems), "problem"), format_count(len(found.notes), "note")]
        output.print_summary(", ".join(counts if found.notes else counts[:1]))


def _describe(found: Report) -> str:
    cache = next((root for root in found.roots if "urls" in root.kinds), None)
    if cache is None:
        return "plug-in active"
    free = cache.disk.free_bytes
    sizes = [format_size(found.size_bytes), *([f"{format_size(free)} free"] if free is not None else [])]
    return f"plug-in active, cache {cache.path} ({', '.join(sizes)})"
