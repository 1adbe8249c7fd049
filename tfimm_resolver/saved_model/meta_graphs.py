"""Reads the MetaGraphs of a SavedModel without TensorFlow: tags, signatures, operations, assets and objects.

The messages are those of tensorflow/core/protobuf/{saved_model,meta_graph}.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfimm_resolver.saved_model import graph
from tfimm_resolver.saved_model.messages import MessageSource, Span, Spans
from tfimm_resolver.saved_model.object_graph import OBJECTS, ObjectGraph, read_object_graph
from tfimm_resolver.saved_model.shapes import Shape, get_dtype_name, read_shape
from tfimm_resolver.saved_model.wire import BYTES, VARINT, WireError

_INFO, _SIGNATURES, _ASSETS = 1, 5, 6
_TAGS, _VERSION = 4, 5
_INPUTS, _OUTPUTS, _METHOD = 1, 2, 3
_NAME, _SPARSE, _COMPOSITE, _DTYPE, _SHAPE = 1, 4, 5, 2, 3
_FILENAME = 2
_INTERNAL = "__saved_model_"
_KINDS = {_NAME: "dense", _SPARSE: "sparse", _COMPOSITE: "composite"}

TENSORS_MAX = 100_000
"""Limit on the inputs and outputs of all signatures, and on the tags and the assets."""


@dataclass(frozen=True, slots=True)
class SignatureTensor:
    """An input or an output of a signature.

    Attributes:
        name: its name, by which a caller passes it.
        dtype: the name of its type, such as ``float32``.
        shape: its dimensions, None for one that is not fixed; None if not even their number is fixed.
        kind: ``dense``, ``sparse``, or ``composite``, such as a ragged tensor; the last two have no single shape or type.
    """

    name: str
    dtype: str
    shape: Shape | None
    kind: str = "dense"


@dataclass(frozen=True, slots=True)
class Signature:
    """A function that a model offers, such as ``serving_default``.

    Attributes:
        name: its name.
        method: what TensorFlow Serving knows it as.
        inputs: sorted by name.
        outputs: sorted by name.
    """

    name: str
    method: str
    inputs: tuple[SignatureTensor, ...]
    outputs: tuple[SignatureTensor, ...]

    @property
    def is_internal(self) -> bool:
        """Whether it only names what TensorFlow runs when it loads the model."""
        return self.name.startswith(_INTERNAL)


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel, of which most have one; tags choose it.

    Attributes:
        tags: sorted, such as ``serve``.
        tensorflow_version: of the TensorFlow that wrote it.
        signatures: sorted by name.
        assets: the names of files below ``assets/`` that it reads, in the order of the file.
        nodes: how many nodes the graph and its functions have.
        functions: how many functions it has.
        ops: how often each operation is used, by name; calls of its own functions by their names are left out.
        objects: the objects of TensorFlow 2; None for a graph of TensorFlow 1.
    """

    tags: tuple[str, ...]
    tensorflow_version: str
    signatures: tuple[Signature, ...]
    assets: tuple[str, ...]
    nodes: int
    functions: int
    ops: dict[str, int]
    objects: ObjectGraph | None


def read_meta_graphs(source: MessageSource) -> list[MetaGraph]:
    """Return every MetaGraph of a SavedModel.

    Raises:
        WireError: if it is not a SavedModel.
        OSError: if it cannot be read.
    """
    spans = [*source.iterate_messages(source.all, graph.META_GRAPHS)]
    if not spans:
        raise WireError("it has no graph")
    return [_read_meta_graph(source, span) for span in spans]


def _read_meta_graph(source: MessageSource, span: Span) -> MetaGraph:
    parts: dict[int, list[Span]] = {field: [] for field in (_INFO, graph.GRAPH_DEF, _SIGNATURES, _ASSETS, OBJECTS)}
    for number, kind, begin, end in source.iterate((span,)):
        if kind == BYTES and number in parts:
            parts[number].append((begin, end))
            if len(parts[number]) > TENSORS_MAX:
                raise WireError("it has too many signatures or assets")
    info, objects = tuple(parts[_INFO]), tuple(parts[OBJECTS])
    nodes, functions, ops = _count_ops(source, tuple(parts[graph.GRAPH_DEF]))
    return MetaGraph(
        tags=tuple(sorted({source.get_text(tag) for tag in _limit(source, info, _TAGS)})),
        tensorflow_version=source.find_text(info, _VERSION),
        signatures=_read_signatures(source, parts[_SIGNATURES]),
        assets=tuple(source.find_text((asset,), _FILENAME) for asset in parts[_ASSETS]),
        nodes=nodes,
        functions=functions,
        ops=ops,
        objects=read_object_graph(source, objects) if objects else None,
    )


def _count_ops(source: MessageSource, spans: Spans) -> tuple[int, int, dict[str, int]]:
    """Return the number of nodes and of functions, and how often each operation is used, the most frequent first."""
    counts: dict[bytes, int] = {}
    names = set[str]()
    functions = -1  # the first graph is the main one
    for functions, each in enumerate(graph.read_graphs(source, spans)):  # noqa: B007
        each.count_ops(counts)
        names.add(each.name)
    found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ops = {op.decode("utf-8", "backslashreplace"): count for op, count in found}
    return sum(counts.values()), functions, {op: count for op, count in ops.items() if op not in names}


def _read_signatures(source: MessageSource, spans: Iterable[Span]) -> tuple[Signature, ...]:
    entries = dict(graph.read_map_entry(source, span) for span in spans)
    count = 0
    found = []
    for name, values in sorted(entries.items()):
        inputs, outputs = (_read_tensors(source, values, field) for field in (_INPUTS, _OUTPUTS))
        count += len(inputs) + len(outputs)
        if count > TENSORS_MAX:
            raise WireError("it has too many inputs and outputs")
        found.append(Signature(name, source.find_text(values, _METHOD), inputs, outputs))
    return tuple(found)


def _read_tensors(source: MessageSource, spans: Spans, field: int) -> tuple[SignatureTensor, ...]:
    entries = dict(graph.read_map_entry(source, span) for span in _limit(source, spans, field))
    return tuple(_read_tensor(source, name, values) for name, values in sorted(entries.items()))


def _read_tensor(source: MessageSource, name: str, spans: Spans) -> SignatureTensor:
    dtype, encoding, shapes = 0, "dense", list[Span]()
    for number, kind, begin, end in source.iterate(spans):
        if number in _KINDS and kind == BYTES:
            encoding = _KINDS[number]
        elif number == _DTYPE and kind == VARINT:
            dtype = source.read_number(kind, begin, end)
        elif number == _SHAPE and kind == BYTES:
            shapes.append((begin, end))
    return SignatureTensor(name, get_dtype_name(dtype) if dtype else "", read_shape(source, tuple(shapes)), encoding)


def _limit(source: MessageSource, spans: Spans, field: int) -> Iterable[Span]:
    for count, span in enumerate(source.iterate_messages(spans, field), 1):
        if count > TENSORS_MAX:
            raise WireError("it has too many tags, or too many inputs or outputs")
        yield span
