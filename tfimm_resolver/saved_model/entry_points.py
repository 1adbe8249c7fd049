"""What TensorFlow runs when it loads a SavedModel, what it runs on a call, and which values it feeds from outside.

Follows tensorflow/python/saved_model/{load,load_v1_in_v2,loader_impl}.py of TensorFlow 2.21, and TensorFlow Serving's
initialization. The messages are those of tensorflow/core/protobuf/{meta_graph,saved_object_graph}.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfimm_resolver.saved_model import wire
from tfimm_resolver.saved_model.graph import read_map_entry
from tfimm_resolver.saved_model.messages import MessageSource, Span, Spans
from tfimm_resolver.saved_model.wire import BYTES, VARINT, WireError

ON_LOAD, ON_CALL, UNKNOWN = "on load", "on call", "unknown"
ASSET, CHECKPOINT, SIGNATURE = "asset", "checkpoint", "signature"
"""What is fed to a tensor of the main graph: on load the path of an asset or of the checkpoint, on a call a caller's value."""

_SAVER, _COLLECTIONS, _SIGNATURES, _ASSETS, _OBJECT_GRAPH = 3, 4, 5, 6, 7
_SAVER_FILENAME, _SAVER_RESTORE = 1, 3
_NODE_LIST, _BYTES_LIST, _ANY_LIST, _LIST_VALUE, _ANY_VALUE = 1, 2, 5, 1, 2
_INITIALIZER_NAME = 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _TENSOR_NAME = 1, 2, 1
_SPARSE, _SPARSE_NAMES, _COMPOSITE, _COMPONENTS = 4, (1, 2, 3), 5, 2
_ASSET_TENSOR, _ASSET_FILENAME = 1, 2
_OBJECTS, _CONCRETE_FUNCTIONS, _BOUND_INPUTS = 1, 2, 2
_CHILDREN, _CHILD_ID, _CHILD_NAME = 1, 1, 2
_SAVEABLE, _RESTORE_FUNCTION = 11, 3
_KINDS = {4: "user", 5: "asset", 6: "function", 7: "variable", 8: "function", 9: "constant", 10: "resource", 12: "captured"}
_CONSTANT_NODE, _USER_METADATA = 1, 3
_OBJECTS_MAX = 1_000_000

_INIT_SIGNATURE = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op", "table_initializer", "init_op", "local_init_op")
_LOCAL_VARIABLES, _OLD_ASSETS = "local_variables", "saved_model_assets"
_RESOURCE_FUNCTIONS = ("_create_resource", "_initialize", "_initializer", "_destroy_resource")
_CALLED_BY_USER = ("_default_save_signature",)


class Capture(NamedTuple):
    """A value from outside that a function captured when it was saved.

    Attributes:
        kind: ``asset``, ``constant``, ``variable``, ``resource``, or empty if it is something else.
        node: the name of the node of the main graph that is the constant.
    """

    kind: str
    node: str = ""


class EntryPoints:
    """Where the execution of one MetaGraph begins.

    Attributes:
        fed: what is fed to tensors of the main graph, by their names, as ``node:0``.
        asset_names: the names of all assets.
        load_nodes: the nodes of the main graph that run when the model is loaded.
        call_nodes: those whose value a caller asks for.
        load_functions: the functions that run when it is loaded, each with ``ON_LOAD``, or ``UNKNOWN`` if it only may.
        call_functions: the functions that a caller can call.
        restorers: the functions among them that receive the tensors of the checkpoint.
        captures: the values that each function captured, which are its last arguments.
        metadata: the metadata of Keras's objects.
    """

    def __init__(self, source: MessageSource, spans: Spans) -> None:
        self._source = source
        self.fed, self.asset_names = dict[str, str](), list[str]()
        self.load_nodes, self.call_nodes = set[str](), set[str]()
        self.load_functions, self.call_functions, self.restorers = dict[str, str](), set[str](), set[str]()
        self.captures, self.metadata = dict[str, tuple[Capture, ...]](), list[Span]()
        self._read_saver(spans)
        for span in source.iterate_messages(spans, _ASSETS):
            self._add_asset(span)
        for span in source.iterate_messages(spans, _COLLECTIONS):
            self._read_collection(*read_map_entry(source, span))
        for span in source.iterate_messages(spans, _SIGNATURES):
            self._read_signature(*read_map_entry(source, span))
        self._read_objects(tuple(source.iterate_messages(spans, _OBJECT_GRAPH)))

    def _read_saver(self, spans: Spans) -> None:
        saver = tuple(self._source.iterate_messages(spans, _SAVER))
        if name := self._source.find_text(saver, _SAVER_FILENAME):
            self.fed[normalize(name)] = CHECKPOINT
        if name := self._source.find_text(saver, _SAVER_RESTORE):
            self.load_nodes.add(get_node(name))

    def _add_asset(self, span: Span) -> None:
        tensor = normalize(self._source.find_text((span,), _ASSET_TENSOR, _TENSOR_NAME))
        self.asset_names.append(self._source.find_text((span,), _ASSET_FILENAME))
        self.fed[tensor] = ASSET

    def _read_collection(self, key: str, spans: Spans) -> None:
        if key in _INIT_COLLECTIONS:
            nodes = self._source.iterate_messages(spans, _NODE_LIST, _LIST_VALUE)
            self.load_nodes.update(get_node(self._source.get_text(span)) for span in nodes)
        elif key == _LOCAL_VARIABLES:
            for span in self._source.iterate_messages(spans, _BYTES_LIST, _LIST_VALUE):
                self.load_nodes.add(get_node(self._source.find_text((span,), _INITIALIZER_NAME)))
        elif key == _OLD_ASSETS and not self.asset_names:
            for span in self._source.iterate_messages(spans, _ANY_LIST, _LIST_VALUE, _ANY_VALUE):
                self._add_asset(span)

    def _read_signature(self, key: str, spans: Spans) -> None:
        outputs = {get_node(name) for name in self._list_tensors(spans, _SIGNATURE_OUTPUTS)}
        if key == _INIT_SIGNATURE:
            self.load_nodes |= outputs
        else:
            self.call_nodes |= outputs
            for name in self._list_tensors(spans, _SIGNATURE_INPUTS):
                self.fed.setdefault(normalize(name), SIGNATURE)

    def _list_tensors(self, spans: Spans, field: int) -> Iterator[str]:
        for entry in self._source.iterate_messages(spans, field):
            yield from self._list_names(read_map_entry(self._source, entry)[1], 0)

    def _list_names(self, info: Spans, depth: int) -> Iterator[str]:
        """Yield the names of the tensors of a TensorInfo: of one, of a sparse one, or of the components of another."""
        if depth > 8:
            raise WireError("a signature has too many components")
        for number, kind, begin, end in self._source.iterate(info):
            if number == _TENSOR_NAME and kind == BYTES:
                yield self._source.get_text((begin, end))
            elif number == _SPARSE and kind == BYTES:
                yield from (self._source.find_text(((begin, end),), part) for part in _SPARSE_NAMES)
            elif number == _COMPOSITE and kind == BYTES:
                for span in self._source.iterate_messages(((begin, end),), _COMPONENTS):
                    yield from self._list_names((span,), depth + 1)

    def _read_objects(self, graph: Spans) -> None:
        objects = [_SavedObject(self._source, span) for span in self._source.iterate_messages(graph, _OBJECTS)]
        if len(objects) > _OBJECTS_MAX:
            raise WireError("it has too many objects")
        by_number = dict(enumerate(objects))
        for one in objects:
            self.call_functions.update(one.functions)
            self.metadata += one.metadata
        for one in objects:
            for name, number in one.children:
                if (child := by_number.get(number)) is not None and (when := _find_time(name, one.kind)) is not None:
                    self._add_load_functions(child, when)
            for number in one.restorers:
                if (restorer := by_number.get(number)) is not None:
                    self._add_load_functions(restorer, ON_LOAD)
                    self.restorers.update(restorer.functions)
        for span in self._source.iterate_messages(graph, _CONCRETE_FUNCTIONS):
            name, spans = read_map_entry(self._source, span)
            numbers = [*_read_integers(self._source, spans, _BOUND_INPUTS)]
            self.captures[name] = tuple(by_number[one].capture if one in by_number else Capture("") for one in numbers)

    def _add_load_functions(self, one: _SavedObject, when: str) -> None:
        for name in one.functions:
            if self.load_functions.get(name) != ON_LOAD:
                self.load_functions[name] = when


class _SavedObject:
    """One object of the object graph."""

    __slots__ = ("children", "functions", "kind", "metadata", "node", "restorers")

    def __init__(self, source: MessageSource, span: Span) -> None:
        self.kind, self.node = "", ""
        self.children, self.functions, self.restorers = list[tuple[str, int]](), list[str](), list[int]()
        self.metadata = list[Span]()
        for number, kind, begin, end in source.iterate((span,)):
            value: Spans = ((begin, end),)
            if kind != BYTES:
                continue
            self.kind = _KINDS.get(number, self.kind)
            if number == _CHILDREN:
                self.children.append((source.find_text(value, _CHILD_NAME), _read_integer(source, value, _CHILD_ID)))
            elif _KINDS.get(number) == "function":  # both kinds have the names in their field 1
                self.functions += [source.get_text(name) for name in source.iterate_messages(value, 1)]
            elif number == _SAVEABLE:
                self.restorers.append(_read_integer(source, read_map_entry(source, (begin, end))[1], _RESTORE_FUNCTION))
            elif _KINDS.get(number) == "constant":
                self.node = source.find_text(value, _CONSTANT_NODE)
            elif _KINDS.get(number) == "user":
                self.metadata += source.iterate_messages(value, _USER_METADATA)

    @property
    def capture(self) -> Capture:
        """This object as a value that a function captured."""
        if self.kind == "constant":
            return Capture(self.kind, self.node)
        return Capture(self.kind if self.kind in ("asset", "variable", "resource") else "")


def get_node(name: str) -> str:
    """Return the name of the node of an input or a tensor, such as ``node:0`` or ``^node``."""
    return name.removeprefix("^").partition(":")[0]


def normalize(tensor: str) -> str:
    """Return the name of a tensor of the main graph with the number of the output, which may be left out if it is 0."""
    return tensor if ":" in tensor else f"{tensor}:0"


def _find_time(child: str, kind: str) -> str | None:
    """Return when a function runs by its name as a child of an object; None if not when the model is loaded.

    TensorFlow sets each child as an attribute of the object. A name that begins with ``_`` may replace a method that it calls
    itself while it restores a checkpoint, such as ``_checkpoint_adapter``.
    """
    if child in _RESOURCE_FUNCTIONS:
        return ON_LOAD
    is_private = child.startswith("_") and not child.startswith("__") and child not in _CALLED_BY_USER
    return UNKNOWN if is_private else None


def _read_integer(source: MessageSource, spans: Spans, field: int) -> int:
    return ([0, *_read_integers(source, spans, field)])[-1]


def _read_integers(source: MessageSource, spans: Spans, field: int) -> Iterator[int]:
    """Yield the values of a field of integers, packed or not."""
    for number, kind, begin, end in source.iterate(spans):
        if number != field:
            continue
        if kind == VARINT:
            yield source.read_number(kind, begin, end)
        elif kind == BYTES:
            data, position = source.read((begin, end)), 0
            while position < len(data):
                value, position = wire.read_varint(data, position)
                yield value
