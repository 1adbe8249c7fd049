"""Shows a model in a notebook: HTML without scripts, in which every text from the model is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.report import LARGEST, Inspection
from tfimm_resolver.saved_model.meta_graphs import Signature

_CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;border:none"
_TEXT = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;max-width:60em"
_TABLE = "border-collapse:collapse;margin:2px 0 10px;font-size:inherit"
_WARNING = "color:#d93025;font-weight:600"
_WARNED = {"missing", "needs"}
_CHARACTERS_MAX, _SIGNATURES_MAX, _TENSORS_MAX, _OPERATIONS_MAX = 200, 20, 50, 20


def format_html(model: Inspection) -> str:
    """Return a model as HTML."""
    rows, previous = [], ""
    for label, text in [*summary.list_rows(model), *_list_operation_rows(model)]:
        rows.append([_make_label(label) if label != previous else "", _escape(text)])
        previous = label
    parts = [f"<div><b>{_escape(model.handle)}</b></div>", _make_table(rows)]
    signatures = model.signatures
    parts += map(_format_signature, signatures[:_SIGNATURES_MAX])
    if len(signatures) > _SIGNATURES_MAX:
        parts.append(f"<div>and {len(signatures) - _SIGNATURES_MAX} more signatures</div>")
    if model.weights is not None and model.weights.tensors:
        largest = model.weights.tensors[:LARGEST]
        cells = [
            [
                _escape(tensor.name),
                _escape(tensor.dtype),
                _escape(summary.format_shape(tensor.shape)),
                format_size(tensor.size_bytes),
            ]
            for tensor in largest
        ]
        parts.append(_make_details(f"the largest of {format_count(len(model.weights.tensors), 'weight')}", _make_table(cells)))
    return f'<div style="{_TEXT}">{"".join(parts)}</div>'


def _list_operation_rows(model: Inspection) -> list[tuple[str, str]]:
    rows = [*summary.list_operation_rows(model)]
    more = [("touches", f"and {len(rows) - _OPERATIONS_MAX} more")] if len(rows) > _OPERATIONS_MAX else []
    return [*rows[:_OPERATIONS_MAX], *more]


def _format_signature(signature: Signature) -> str:
    tensors = [*(("in", each) for each in signature.inputs), *(("out", each) for each in signature.outputs)]
    cells = [
        [side, _escape(tensor.name), _escape(summary.format_type(tensor)), _escape(summary.format_shape(tensor.shape))]
        for side, tensor in tensors[:_TENSORS_MAX]
    ]
    if len(tensors) > _TENSORS_MAX:
        cells.append(["", f"and {len(tensors) - _TENSORS_MAX} more"])
    return _make_details(f"signature {_escape(signature.name)}", _make_table(cells), is_open=True)


def _make_label(label: str) -> str:
    return f'<span style="{_WARNING}">{label}</span>' if label in _WARNED else f'<span style="opacity:.65">{label}</span>'


def _make_details(title: str, content: str, *, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{title}</summary>{content}</details>"


def _make_table(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    lines = ("".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) for row in rows)
    return f'<table style="{_TABLE}">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _escape(text: str) -> str:
    """Return a text from outside as HTML, on one line, with what is not visible escaped, and cut."""
    return html.escape(clean_value(text, _CHARACTERS_MAX))
