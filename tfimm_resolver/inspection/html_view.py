"""Shows a model in a notebook: HTML without scripts, in which every text from the model is escaped."""

from __future__ import annotations

from tfimm_resolver._util.tables import dim_html, escape_html, frame_html, make_html_table, warn_html
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.report import LARGEST, Inspection
from tfimm_resolver.saved_model.meta_graphs import Signature

_WARNED = {"missing", "needs"}
_SIGNATURES_MAX, _TENSORS_MAX, _OPERATIONS_MAX = 20, 50, 20


def format_html(model: Inspection) -> str:
    """Return a model as HTML."""
    rows, previous = [], ""
    for label, text in [*summary.list_rows(model), *_list_operation_rows(model)]:
        rows.append([_make_label(label) if label != previous else "", escape_html(text)])
        previous = label
    parts = [f"<div><b>{escape_html(model.handle)}</b></div>", make_html_table(rows)]
    signatures = model.signatures
    parts += map(_format_signature, signatures[:_SIGNATURES_MAX])
    if len(signatures) > _SIGNATURES_MAX:
        parts.append(f"<div>and {len(signatures) - _SIGNATURES_MAX} more signatures</div>")
    if model.weights is not None and model.weights.tensors:
        largest = model.weights.tensors[:LARGEST]
        cells = [
            [
                escape_html(tensor.name),
                escape_html(tensor.dtype),
                escape_html(summary.format_shape(tensor.shape)),
                format_size(tensor.size_bytes),
            ]
            for tensor in largest
        ]
        title = f"the largest of {format_count(len(model.weights.tensors), 'weight')}"
        parts.append(_make_details(title, make_html_table(cells)))
    return frame_html(parts)


def _list_operation_rows(model: Inspection) -> list[tuple[str, str]]:
    rows = [*summary.list_operation_rows(model)]
    more = [("touches", f"and {len(rows) - _OPERATIONS_MAX} more")] if len(rows) > _OPERATIONS_MAX else []
    return [*rows[:_OPERATIONS_MAX], *more]


def _format_signature(signature: Signature) -> str:
    tensors = [*(("in", each) for each in signature.inputs), *(("out", each) for each in signature.outputs)]
    cells = [
        [side, *map(escape_html, (tensor.name, summary.format_type(tensor), summary.format_shape(tensor.shape)))]
        for side, tensor in tensors[:_TENSORS_MAX]
    ]
    if len(tensors) > _TENSORS_MAX:
        cells.append(["", f"and {len(tensors) - _TENSORS_MAX} more"])
    return _make_details(f"signature {escape_html(signature.name)}", make_html_table(cells), is_open=True)


def _make_label(label: str) -> str:
    return warn_html(label) if label in _WARNED else dim_html(label)


def _make_details(title: str, content: str, *, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{title}</summary>{content}</details>"
