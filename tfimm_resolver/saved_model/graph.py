"""Reads the nodes of a SavedModel's graphs and functions, one at a time, without TensorFlow.

The messages are those of tensorflow/core/framework/{graph,function,node_def,attr_value,tensor}.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from tfimm_resolver.saved_model import wire
from tfimm_resolver.saved_model.messages import MessageSource, Span, Spans
from tfimm_resolver.saved_model.shapes import read_shape
from tfimm_resolver.saved_model.wire import BYTES, FIXED32, VARINT, WireError

META_GRAPHS, GRAPH_DEF = 2, 2
"""Fields of SavedModel and MetaGraphDef."""

NODE_FIELDS_MAX = 1_000_000
"""Limit on the inputs of a node, and on its attributes; one that saves a checkpoint has three inputs for each variable."""

_GRAPH_NODE, _LIBRARY, _FUNCTION = 1, 2, 1
_FUNCTION_SIGNATURE, _FUNCTION_NODE, _FUNCTION_RETURNS = 1, 3, 4
_SIGNATURE_NAME, _SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS = 1, 2, 3
_NODE_NAME, _NODE_OP, _NODE_INPUT, _NODE_ATTRIBUTE = 1, 2, 3, 5
_KEY, _VALUE = 1, 2
_KINDS = {1: "list", 2: "s", 3: "i", 4: "f", 5: "b", 6: "type", 7: "shape", 8: "tensor", 9: "placeholder", 10: "func"}
_WIRE_TYPES = dict.fromkeys(_KINDS, BYTES) | {3: VARINT, 4: FIXED32, 5: VARINT, 6: VARINT}
_MERGED = {1, 7, 8, 10}
"""Fields of AttrValue that are messages: if one is there twice, both count."""
_LIST_TEXT, _LIST_TENSOR, _LIST_CALL = 2, 8, 9
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENT, _TENSOR_TEXT = 1, 2, 4, 8
_CALL_NAME = 1
_PACKED_TEXTS_MAX = 10_000_000
_STRING = 7
_VARIABLE_OPS = {"VarHandleOp", "Variable", "VariableV2"}


class Attribute:
    """The value of a node's attribute, an AttrValue; read when it is asked for.

    Attributes:
        kind: the name of the field of AttrValue that is set: ``s``, ``i``, ``type``, ``tensor``, ``func``, ``list`` and so on;
            empty if none is.
    """

    __slots__ = ("_number", "_source", "_spans", "kind")

    def __init__(self, source: MessageSource, spans: Spans) -> None:
        self._source = source
        field, self._number = 0, 0
        found: list[Span] = []
        for number, wire_type, begin, end in source.iterate(spans):
            if wire_type == _WIRE_TYPES.get(number):
                if number != field or number not in _MERGED:
                    found.clear()
                field = number
                found.append((begin, end))
                self._number = 0 if wire_type == BYTES else source.read_number(wire_type, begin, end)
        self.kind, self._spans = _KINDS.get(field, ""), tuple(found)

    @property
    def text(self) -> str:
        """The text of a value of the kind ``s``; empty for any other kind."""
        return self._source.get_text(self._spans[-1]) if self.kind == "s" else ""

    @property
    def number(self) -> int:
        """The number of a value of the kind ``i``, ``b`` or ``type``; 0 for any other kind."""
        return wire.to_signed(self._number) if self.kind in ("i", "b", "type") else 0

    def iterate_functions(self) -> Iterator[str]:
        """Yield the names of the functions in a value of the kind ``func``, or in a list of them."""
        for spans in (self._spans,) if self.kind == "func" else self._iterate_list(_LIST_CALL):
            yield self._source.find_text(spans, _CALL_NAME)

    def iterate_texts(self) -> Iterator[Span]:
        """Yield where the texts of the value are: of the kind ``s``, a list of them, a tensor, or a list of tensors.

        A text of a tensor may be a graph: ``read_graphs`` reads it. ``MessageSource.read`` and ``get_text`` read any other.
        """
        if self.kind == "s":
            yield self._spans[-1]
        for spans in self._iterate_list(_LIST_TEXT):
            yield from spans
        for spans in (self._spans,) if self.kind == "tensor" else self._iterate_list(_LIST_TENSOR):
            yield from iterate_tensor_texts(self._source, spans)

    def _iterate_list(self, field: int) -> Iterator[Spans]:
        if self.kind == "list":
            for span in self._source.iterate_messages(self._spans, field):
                yield (span,)


class Node:
    """One node of a graph; nothing of it is stored, so that a graph of any size can be read."""

    __slots__ = ("_source", "_start", "_stop")

    def __init__(self, source: MessageSource, start: int, stop: int) -> None:
        self._source, self._start, self._stop = source, start, stop

    @property
    def op(self) -> str:
        """The name of its operation, or of the function that it calls."""
        return self._read(_NODE_OP)

    @property
    def name(self) -> str:
        """Its name, which is unique in its graph."""
        return self._read(_NODE_NAME)

    @property
    def inputs(self) -> list[str]:
        """What its inputs are: ``node``, ``node:output``, ``node:name:output`` in a function, ``^node`` for control.

        In a function it may also be the name of an argument.
        """
        return [self._source.get_text(span) for span in self._iterate(_NODE_INPUT)]

    @property
    def attributes(self) -> dict[str, Attribute]:
        """Its attributes by name; the last one of a name counts, as in protocol buffers."""
        found = {}
        for span in self._iterate(_NODE_ATTRIBUTE):
            key, values = read_map_entry(self._source, span)
            found[key] = Attribute(self._source, values)
        return found

    def _iterate(self, field: int) -> Iterator[Span]:
        for count, span in enumerate(self._source.iterate_messages(((self._start, self._stop),), field)):
            if count == NODE_FIELDS_MAX:
                raise WireError(f"a node has over {count} inputs or attributes")
            yield span

    def _read(self, field: int) -> str:
        return self._source.get_text(self._source.find_last(self._start, self._stop, field))


class Graph:
    """The nodes of a main graph or of one function.

    Attributes:
        source: the file that it is in.
        meta_graph: the number of the MetaGraph that it belongs to, from 0.
        is_function: whether it is a function.
    """

    def __init__(self, source: MessageSource, spans: Spans, meta_graph: int = 0, *, is_function: bool = False) -> None:
        self.source, self._spans = source, spans
        self.meta_graph, self.is_function = meta_graph, is_function
        self._node_field = _FUNCTION_NODE if is_function else _GRAPH_NODE
        self._name = None if is_function else ""

    @property
    def name(self) -> str:
        """The name of the function; empty for a main graph."""
        if self._name is None:
            self._name = self.source.find_text(self._spans, _FUNCTION_SIGNATURE, _SIGNATURE_NAME)
        return self._name

    def iterate_nodes(self) -> Iterator[Node]:
        """Yield each node in the order of the file."""
        for begin, end in self.source.iterate_messages(self._spans, self._node_field):
            yield Node(self.source, begin, end)

    def count_ops(self, counts: dict[bytes, int]) -> None:
        """Add how often each operation is used, by its name; in half of the time that its nodes and its name take."""
        find_last, read, field = self.source.find_last, self.source.read, self._node_field
        signature = list[Span]()
        for number, kind, begin, end in self.source.iterate(self._spans):
            if number == field and kind == BYTES:
                span = find_last(begin, end, _NODE_OP)
                op = read(span) if span else b""
                counts[op] = counts.get(op, 0) + 1
            elif number == _FUNCTION_SIGNATURE and kind == BYTES:
                signature.append((begin, end))
        self._name = self.source.find_text(tuple(signature), _SIGNATURE_NAME) if self.is_function else ""

    def list_arguments(self) -> list[str]:
        """Return the names of a function's arguments, in order, which inputs of its nodes may be; none for a main graph."""
        if not self.is_function:
            return []
        found = self.source.iterate_messages(self._spans, _FUNCTION_SIGNATURE, _SIGNATURE_INPUTS)
        return [self.source.find_text((span,), _SIGNATURE_NAME) for span in found]

    def list_outputs(self) -> list[str]:
        """Return the names of a function's outputs, in order."""
        found = self.source.iterate_messages(self._spans, _FUNCTION_SIGNATURE, _SIGNATURE_OUTPUTS)
        return [self.source.find_text((span,), _SIGNATURE_NAME) for span in found]

    def map_returns(self) -> dict[str, str]:
        """Return what each output of a function is: by its name, the output of a node, or an argument."""
        found: dict[str, str] = {}
        if not self.is_function:
            return found
        for span in self.source.iterate_messages(self._spans, _FUNCTION_RETURNS):
            key, values = read_map_entry(self.source, span)
            found[key] = self.source.get_text(values[-1] if values else None)
        return found


def iterate_graphs(source: MessageSource) -> Iterator[Graph]:
    """Yield the main graph of each MetaGraph of a SavedModel, each followed by its functions.

    Raises:
        WireError: then, or while one is read, if the file is not a SavedModel.
    """
    for number, meta_graph in enumerate(source.iterate_messages(source.all, META_GRAPHS)):
        spans = tuple(source.iterate_messages((meta_graph,), GRAPH_DEF))
        yield from read_graphs(source, spans, number)


def read_graphs(source: MessageSource, spans: Spans, meta_graph: int = 0) -> Iterator[Graph]:
    """Yield a graph, a GraphDef at any position of a file, and its functions; also for one in a text of a tensor."""
    yield Graph(source, spans, meta_graph)
    for span in source.iterate_messages(spans, _LIBRARY, _FUNCTION):
        yield Graph(source, (span,), meta_graph, is_function=True)


def list_ops(source: MessageSource) -> set[str]:
    """Return the names of all operations that a SavedModel uses, and of its functions. Raises WireError."""
    counts: dict[bytes, int] = {}
    for each in iterate_graphs(source):
        each.count_ops(counts)
    return {op.decode("utf-8", "backslashreplace") for op in counts}


def has_variable_nodes(source: MessageSource) -> bool:
    """Whether a graph of a SavedModel has a variable, of either kind. Raises WireError."""
    return not _VARIABLE_OPS.isdisjoint(list_ops(source))


def read_map_entry(source: MessageSource, span: Span) -> tuple[str, Spans]:
    """Return the key of an entry of a map, which is a text, and where its value is."""
    key, values = None, []
    for number, kind, begin, end in source.iterate((span,)):
        if kind == BYTES:
            if number == _KEY:
                key = begin, end
            elif number == _VALUE:
                values.append((begin, end))
    return source.get_text(key), tuple(values)


def iterate_tensor_texts(source: MessageSource, spans: Spans) -> Iterator[Span]:
    """Yield where the texts of a tensor are, a TensorProto: one by one, or packed as its content."""
    dtype, content, packed = 0, (0, 0), False
    for number, kind, begin, end in source.iterate(spans):
        if number == _TENSOR_TYPE and kind == VARINT:
            dtype = source.read_number(kind, begin, end)
        elif number == _TENSOR_CONTENT and kind == BYTES:
            content, packed = (begin, end), end > begin
    if not packed:
        yield from source.iterate_messages(spans, _TENSOR_TEXT)
    elif dtype == _STRING:
        shape = read_shape(source, tuple(source.iterate_messages(spans, _TENSOR_SHAPE)))
        count = prod(size or 0 for size in shape or ())
        yield from _iterate_packed_texts(source, content, count)


def _iterate_packed_texts(source: MessageSource, content: Span, count: int) -> Iterator[Span]:
    """Yield where the texts are; their sizes come first (tensorflow/core/platform/tensor_coding.cc)."""
    position, stop = content
    sizes = []
    if count > _PACKED_TEXTS_MAX:
        raise WireError(f"a tensor has {count} texts")
    for _ in range(count):
        size_bytes, position = source.read_varint(position, stop)
        sizes.append(size_bytes)
    for size_bytes in sizes:
        if size_bytes > stop - position:
            raise WireError(f"a text of {size_bytes} bytes is outside of its tensor")
        yield position, position + size_bytes
        position += size_bytes
