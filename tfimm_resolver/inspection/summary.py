"""Describes a model in rows of text, which the command line and notebooks show."""

from __future__ import annotations

from collections.abc import Iterator

from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.inspection.report import Inspection
from tfimm_resolver.saved_model.meta_graphs import MetaGraph, SignatureTensor
from tfimm_resolver.saved_model.shapes import Shape

DUPLICATES_SHARE = 20
"""Duplicates are reported from one in so many bytes."""

_LISTED_MAX, _INDEX = 10, "variables/variables.index"


def list_rows(model: Inspection) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each row, without signatures and single weights; the label repeats if a row goes on."""
    yield "format", _describe_format(model)
    for graph in model.meta_graphs:
        yield "tags", ", ".join(graph.tags) or "(none)"
        yield "graph", _describe_graph(graph)
        for text in _list_some(graph.assets):
            yield "assets", text
    yield "files", f"{format_count(len(model.files), 'file')}, {format_size(model.size_bytes)}"
    yield from (("weights", text) for text in _describe_weights(model))
    for need in model.needs:
        yield "needs", f"{need.package} (import {need.module}): {', '.join(_list_some(need.ops))}"
    for text in _list_some(model.missing):
        yield "missing", text
    if model.fingerprint is not None and model.fingerprint.uuid:
        yield "uuid", model.fingerprint.uuid


def list_operation_rows(model: Inspection) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each operation that touches what is outside of the model, or for what is known instead."""
    found = model.operations
    if found is None:
        yield "touches", "not known: the graph cannot be searched completely"
    elif not found:
        yield "touches", "nothing was found that writes or reads other files, uses the network or calls Python"
    for one in found or ():
        path = "" if one.path is None else f" {one.path}"
        location = "/".join(filter(None, (one.function, one.node)))
        notes = "; ".join(filter(None, (location, one.note)))
        yield "touches", f"{one.kind} {one.when}: {one.op}{path}{f' ({notes})' if notes else ''}"


def format_shape(shape: Shape | None) -> str:
    """Return a shape as text: ``(?, 3)``."""
    return "(any shape)" if shape is None else f"({', '.join('?' if size is None else str(size) for size in shape)})"


def format_type(tensor: SignatureTensor) -> str:
    """Return the type of an input or output as text."""
    return tensor.dtype if tensor.kind == "dense" else f"{tensor.kind} {tensor.dtype}".strip()


def _describe_format(model: Inspection) -> str:
    if not model.is_parsed:
        return f"{model.graph_file}, a format that is not parsed: only files and weights are shown"
    keras = " ".join(filter(None, (model.keras_class, model.keras_version)))
    version = model.meta_graphs[0].tensorflow_version
    written = f", written by TensorFlow {version}" if version else ""
    return f"{model.format}{f' ({keras})' if keras else ''}{written}"


def _describe_graph(graph: MetaGraph) -> str:
    nodes = f"{graph.nodes:,} node{'' if graph.nodes == 1 else 's'}"
    return f"{nodes}, {format_count(graph.functions, 'function')}, {format_count(len(graph.ops), 'kind')} of operations"


def _describe_weights(model: Inspection) -> Iterator[str]:
    if model.parameters:
        trainable = model.trainable_parameters
        yield f"{model.parameters:,} parameter{'' if model.parameters == 1 else 's'}" + (
            "" if trainable is None else f", {trainable:,} of them trainable"
        )
    weights = model.weights
    if weights is None:
        yield "unknown" if model.missing or any(file.path == _INDEX for file in model.files) else "none"
        return
    files = format_count(weights.shards, "data file")
    yield f"{format_count(len(weights.tensors), 'tensor')}, {format_size(weights.size_bytes)} in {files}"
    if weights.duplicate_bytes * DUPLICATES_SHARE > weights.size_bytes:
        yield f"{format_size(weights.duplicate_bytes)} of it is stored more than once"


def _list_some(texts: tuple[str, ...]) -> list[str]:
    rest = len(texts) - _LISTED_MAX
    return [*texts[:_LISTED_MAX], *([f"and {rest} more"] if rest > 0 else [])]
