"""``tfimm-resolver load``: loads a model and describes it."""

from __future__ import annotations

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_handle
from tfimm_resolver.cli.output import Output, format_device, format_table, style, suppress_native_stderr
from tfimm_resolver.handles.fragment import split_fragment
from tfimm_resolver.loading import loader
from tfimm_resolver.resolution.resolver import resolve_to_load


@click.command(short_help="Load a model and print its signatures.")
@click.argument("handle", shell_complete=complete_handle)
@click.option("--tags", metavar="TAG,TAG", help="The tags of the MetaGraph to load, if the model has several.")
@common
@click.pass_obj
def command(output: Output, handle: str, tags: str | None) -> int:
    """Load a model with TensorFlow; print its signatures, and the devices that hold its variables."""
    tag_names = None if tags is None else [tag.strip() for tag in tags.split(",") if tag.strip()]
    model = resolve_to_load(handle)  # shows progress, so stderr must not be redirected yet
    with suppress_native_stderr():
        facts = loader.describe(loader.load_resolved(model, tags=tag_names, subdirectory=split_fragment(handle)[2]))
    if output.as_json:
        output.print_json({"handle": handle, "path": model.path, **facts})
        return 0
    for name, signature in facts["signatures"].items():
        output.print_line(style(name, bold=True))
        rows = [
            [f"  {side}", tensor["name"], tensor["dtype"], _format_shape(tensor["shape"])]
            for side in signature
            for tensor in signature[side]
        ]
        for line in format_table(rows) if rows else ():
            output.print_line(line)
    if not facts["signatures"]:
        output.print_message("the model has no signatures")
    for device in facts["variables"]:
        output.print_line(format_device(device))
    return 0


def _format_shape(shape: list[int | None] | None) -> str:
    return "<unknown>" if shape is None else f"({', '.join('None' if size is None else str(size) for size in shape)})"
