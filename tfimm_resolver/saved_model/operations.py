"""Finds the operations of a SavedModel that touch files, the network or Python, or hide a graph, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tfimm_resolver.saved_model import keras_layers
from tfimm_resolver.saved_model.entry_points import ON_CALL, ON_LOAD, UNKNOWN, EntryPoints
from tfimm_resolver.saved_model.graph import GRAPH_DEF, META_GRAPHS, Node, read_graphs
from tfimm_resolver.saved_model.graph_index import GraphIndex, IndexedGraph
from tfimm_resolver.saved_model.messages import MessageSource, open_source
from tfimm_resolver.saved_model.operation_rules import (
    GRAPH_INPUTS,
    IN_MEMORY,
    NETWORK,
    READ,
    WRITE,
    Rule,
    find_rules,
    is_foreign,
    is_remote,
)
from tfimm_resolver.saved_model.origins import Origin
from tfimm_resolver.saved_model.path_tracing import PathTracer
from tfimm_resolver.saved_model.search_budget import INNER_NODES_MAX, STEPS_MAX, SearchBudget
from tfimm_resolver.saved_model.wire import WireError

GRAPH_FILE = "saved_model.pb"

_OTHER_GRAPHS = ("saved_model.pbtxt", "saved_model.cpb")
_PATH_CHARACTERS_MAX, _PATHS_MAX, _OPERATIONS_MAX, _DEPTH_MAX = 500, 20, 10_000, 8


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a model that touches something outside of it, or hides a graph.

    The texts are the model's own: not escaped.

    Attributes:
        kind: ``write`` or ``read`` files, ``network``, ``python``, or ``hidden-graph``.
        when: ``on load``, ``on call``, or ``unknown``.
        op: the name of the operation, or ``Lambda`` and the like for a layer of Keras.
        path: the path or address, if it is constant; None if it is made at run time, or there is none.
        node: the name of the node in its graph.
        function: the name of the function that contains the node; empty for the main graph.
        note: what else to know of it.
    """

    kind: str
    when: str
    op: str
    path: str | None = None
    node: str = ""
    function: str = ""
    note: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether it uses the network, as far as is known: by its kind, or by an address as its path."""
        return self.kind == NETWORK or is_remote(self.path or "")


def find_operations(path: str, *, is_warmed: bool = False) -> list[Operation]:
    """Return the operations of the SavedModel in a local directory that touch something outside of it, without repetitions.

    ``is_warmed`` says that the signatures are called when it is loaded, with requests that the model contains.
    It does not see what compiled code (StableHLO, TensorRT) and the operations of other packages do.

    Raises:
        ValueError: if the graph cannot be read completely: it is damaged, too large, or in another format than
            ``saved_model.pb``.
        OSError: if a file cannot be read.
    """
    if other := next((name for name in _OTHER_GRAPHS if os.path.lexists(f"{path}/{name}")), None):
        raise WireError(f"{other} is not searched")
    found: dict[Operation, None] = {}
    with open_source(f"{path}/{GRAPH_FILE}") as source:
        for one in _scan(source, is_warmed=is_warmed):
            found[one] = None
            if len(found) > _OPERATIONS_MAX:
                raise WireError(f"it has more than {_OPERATIONS_MAX} operations to report")
    found |= dict.fromkeys(Operation(*one) for one in keras_layers.find_in_file(path))
    return [*found]


def _scan(source: MessageSource, *, is_warmed: bool) -> Iterator[Operation]:
    budget, is_empty = SearchBudget(STEPS_MAX, INNER_NODES_MAX), True
    for span in source.iterate_messages(source.all, META_GRAPHS):
        is_empty = False
        entries = EntryPoints(source, (span,))
        if is_warmed:
            entries.load_nodes |= entries.call_nodes
        for name in entries.asset_names:
            if is_foreign(name):
                yield Operation(READ, ON_LOAD, "asset", name, note="an asset outside of the model")
        for metadata in entries.metadata:
            yield from (Operation(*one) for one in keras_layers.find_in_span(source, metadata))
        spans = tuple(source.iterate_messages((span,), GRAPH_DEF))
        index = GraphIndex(read_graphs(source, spans))
        yield from _Scan(source, index, entries, budget).run()
    if is_empty:
        raise WireError("it has no graph")


class _Scan:
    """The scan of one graph with its functions.

    Args:
        source: where it is read.
        index: the graph.
        entries: where its execution begins; None for a graph in a text, which runs when the node with that text does.
        budget: what the search of the model may still cost.
        when: when a graph in a text runs.
        within: the function with that node.
        depth: how many graphs are around it.
    """

    def __init__(
        self,
        source: MessageSource,
        index: GraphIndex,
        entries: EntryPoints | None,
        budget: SearchBudget,
        *,
        when: str = UNKNOWN,
        within: str = "",
        depth: int = 0,
    ) -> None:
        self._source, self._index, self._entries, self._budget = source, index, entries, budget
        self._when, self._within, self._depth = when, within, depth
        self._tracer = PathTracer(source, index, entries, budget)
        self._times: _Times | None = None

    def run(self) -> Iterator[Operation]:
        """Yield each operation that is to be reported."""
        for graph in self._index:
            for node, op in graph.listed:
                for rule in find_rules(op):
                    yield from self._apply(rule, graph, node, op)
                if op in GRAPH_INPUTS:
                    yield from self._search_text(graph, node, GRAPH_INPUTS[op])

    def _apply(self, rule: Rule, graph: IndexedGraph, node: Node, op: str) -> Iterator[Operation]:
        when = self._find_time(graph, node)
        by_input = [self._describe_input(rule, graph, node, op, number, when) for number in rule.inputs]
        paths = [path for found in by_input if found is not None for path in found]
        paths += self._list_attributes(rule, node)
        if not paths and not rule.is_always:
            return
        for path in paths or [None]:
            kind = rule.kind
            if kind == WRITE and path is not None and op.startswith(("Debug", "Copy")) and is_remote(path):
                kind = NETWORK
            function = "/".join(filter(None, (self._within, graph.name)))
            note = "in a graph that a constant contains" if self._depth else ""
            yield Operation(kind, when, op, path, node.name, function, note)

    def _describe_input(
        self, rule: Rule, graph: IndexedGraph, node: Node, op: str, number: int, when: str
    ) -> list[str | None] | None:
        """Return the paths that an input of a node is to be reported with; None if it is not to be reported."""
        origin = self._tracer.find_origin(graph, node, number)
        is_called = self._is_called(graph, node)
        is_supplied = origin.is_supplied(rule.kind, when, is_called=is_called)
        marked = self._tracer.read_texts([*origin.texts, *origin.list_unfed(rule.kind, when, is_called=is_called)])
        texts = [text for text, _ in marked]
        foreign = [text for text, is_first in marked if is_foreign(text, is_first=is_first)]
        if not foreign and not origin.is_obscure:
            is_empty = texts == [""] and not (origin.is_computed or origin.is_changed or origin.is_from_outside)
            if is_supplied or (is_empty and (rule.kind != WRITE or op in IN_MEMORY)):
                return None
        return _join_paths(origin, texts, foreign)

    def _list_attributes(self, rule: Rule, node: Node) -> list[str]:
        """Return the paths in the attributes of a node which are to be reported."""
        if not rule.attributes:
            return []
        attributes = node.attributes
        found = []
        for name in rule.attributes:
            for span in attributes[name].iterate_texts() if name in attributes else ():
                text = self._source.get_text(span)
                if name == "output_stream":
                    text = text.removeprefix("file://") if text.startswith("file://") else ""
                elif name == "descriptor_source" and text.startswith(("local://", "bytes://")):
                    text = ""
                elif name == "debug_ops_spec":
                    text = text.split(";")[1] if ";" in text else ""
                if text:
                    found.append(text[:_PATH_CHARACTERS_MAX])
        return found

    def _search_text(self, graph: IndexedGraph, node: Node, number: int) -> Iterator[Operation]:
        """Search the graphs in the constants that an input of a node is made of."""
        origin, when = self._tracer.find_origin(graph, node, number), self._find_time(graph, node)
        for span, _ in origin.texts:
            if span[0] == span[1] or not self._budget.claim(span, when):
                continue
            if self._depth == _DEPTH_MAX:
                raise WireError(f"it has graphs in graphs, more than {_DEPTH_MAX} deep")
            index = GraphIndex(read_graphs(self._source, (span,)))  # a text that is not one may be an unusual one
            self._budget.take_inner_nodes(index.count)
            within = "/".join(filter(None, (self._within, graph.name or "main graph", node.name)))
            yield from _Scan(self._source, index, None, self._budget, when=when, within=within, depth=self._depth + 1).run()

    def _find_time(self, graph: IndexedGraph, node: Node) -> str:
        if self._entries is None:
            return self._when
        times = self._get_times()
        return times.by_function.get(graph.name, UNKNOWN) if graph.name else times.by_node.get(node.name, UNKNOWN)

    def _is_called(self, graph: IndexedGraph, node: Node) -> bool:
        """Whether a node runs on a call, possibly also on load."""
        if self._entries is None:
            return self._when == ON_CALL
        times = self._get_times()
        return graph.name in times.called_functions if graph.name else node.name in times.called_nodes

    def _get_times(self) -> _Times:
        assert self._entries is not None
        if self._times is None:
            self._times = _find_times(self._index, self._entries)
        return self._times


class _Times(NamedTuple):
    """When each node of the main graph, and each function, runs; what never does is left out. On load comes before on call."""

    by_node: dict[str, str]
    by_function: dict[str, str]
    called_nodes: set[str]
    called_functions: set[str]


def _find_times(index: GraphIndex, entries: EntryPoints) -> _Times:
    call_nodes, load_nodes = index.find_ancestors(entries.call_nodes), index.find_ancestors(entries.load_nodes)
    by_node = {**dict.fromkeys(call_nodes, ON_CALL), **dict.fromkeys(load_nodes, ON_LOAD)}
    called = index.find_called(entries.call_functions | _list_called(index, call_nodes))
    by_function = dict.fromkeys(called, ON_CALL)
    maybe = [name for name, when in entries.load_functions.items() if when == UNKNOWN]
    by_function |= dict.fromkeys(index.find_called(maybe), UNKNOWN)
    surely = {name for name, when in entries.load_functions.items() if when == ON_LOAD}
    by_function |= dict.fromkeys(index.find_called(surely | _list_called(index, load_nodes)), ON_LOAD)
    return _Times(by_node, by_function, call_nodes, called)


def _list_called(index: GraphIndex, nodes: set[str]) -> set[str]:
    return {function for name, call in index.main.calls.items() if name in nodes for function in call.functions}


def _join_paths(origin: Origin, texts: list[str], foreign: list[str]) -> list[str | None]:
    is_known = not (origin.is_argument or origin.is_variable or origin.is_asset)
    if is_known and origin.is_joined and not (origin.is_computed or origin.is_changed):
        return ["".join(texts)[:_PATH_CHARACTERS_MAX]]
    if not (selected := foreign or ([] if origin.is_computed or origin.is_changed else texts)):
        return [None]
    return [*(text[:_PATH_CHARACTERS_MAX] for text in [*dict.fromkeys(filter(None, selected))][:_PATHS_MAX])] or [None]
