"""``tfimm-resolver inspect``: shows what is in a SavedModel."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import format_size, truncate_middle
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_handle
from tfimm_resolver.cli.output import Output, format_table, style
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.reading import inspect
from tfimm_resolver.inspection.report import Inspection
from tfimm_resolver.saved_model.meta_graphs import Signature
from tfimm_resolver.saved_model.weights import WeightTensor

_SHOWN, _NAME_COLUMNS_MIN = 3, 20
_WARNED = {"missing": "red", "needs": "yellow", "touches": "yellow"}


@click.command(short_help="Show what is in a model: signatures, weights, needs.")
@click.argument("handle", shell_complete=complete_handle)
@click.option("--weights", is_flag=True, help="List every weight, not only the largest.")
@click.option("--ops", is_flag=True, help="List operations that touch files, the network or Python, or hide a graph.")
@click.option("--cached", is_flag=True, help="Fetch nothing.")
@common
@click.pass_obj
def command(output: Output, handle: str, weights: bool, ops: bool, cached: bool) -> int:
    """Show what is in the SavedModel of HANDLE, without TensorFlow: signatures, weights, what it needs, what is missing.

    A model that is not cached is fetched first.
    """
    model = inspect(handle, cached=cached)
    if output.as_json:
        output.print_json(model.facts(all_weights=weights, operations=ops))
    else:
        _print(output, model, weights, ops)
    return 0


def _print(output: Output, model: Inspection, all_weights: bool, with_operations: bool) -> None:
    output.print_path(model.path)
    previous = ""
    rows = [*summary.list_rows(model), *(summary.list_operation_rows(model) if with_operations else ())]
    for label, text in rows:
        prefix = "" if label == previous else label
        output.print_line(f"  {style(f'{prefix:<9}', fg=_WARNED.get(label))}  {text}")
        previous = label
    for signature in model.signatures:
        output.print_line(f"  signature  {signature.name}")
        _print_table(output, _list_tensors(signature))
    if model.weights is not None and model.weights.tensors:
        tensors = model.weights.tensors if all_weights else model.weights.tensors[:_SHOWN]
        output.print_line(f"  {'all' if all_weights else 'largest'} weights")
        _print_table(output, [[f"{format_size(each.size_bytes):>7}", *_describe_weight(output, each)] for each in tensors])


def _describe_weight(output: Output, tensor: WeightTensor) -> tuple[str, str, str]:
    """Return the type, the shape and the name of a weight; the name is cut to fit a terminal."""
    shape, columns = summary.format_shape(tensor.shape), output.get_width()
    width = columns and max(_NAME_COLUMNS_MIN, columns - len(f"    {'':7}  {tensor.dtype:<8}  {shape:<20}  "))
    return tensor.dtype, shape, truncate_middle(tensor.name, width)


def _list_tensors(signature: Signature) -> list[list[str]]:
    tensors = [*(("in", each) for each in signature.inputs), *(("out", each) for each in signature.outputs)]
    return [[side, each.name, summary.format_type(each), summary.format_shape(each.shape)] for side, each in tensors]


def _print_table(output: Output, rows: list[list[str]]) -> None:
    for line in format_table(rows):
        output.print_line(f"    {line}")
