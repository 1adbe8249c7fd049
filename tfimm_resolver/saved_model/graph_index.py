"""An index of a graph and its functions: which nodes are looked at, which function calls which, and nodes by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tfimm_resolver.saved_model.entry_points import get_node
from tfimm_resolver.saved_model.graph import Graph, Node
from tfimm_resolver.saved_model.operation_rules import PLAIN_OPERATIONS, find_rules
from tfimm_resolver.saved_model.wire import WireError

_NODES_MAX = 5_000_000
_LISTED_MAX = 200_000

_FIRST_ARGUMENT = {
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall", "BatchFunction"), 0),
    **dict.fromkeys(("While", "StatelessWhile", "SymbolicGradient"), 0),
    **dict.fromkeys(("If", "StatelessIf", "Case", "StatelessCase", "RemoteCall"), 1),
}
"""The input of a node which is the first argument of the functions that it calls; of other nodes this is not known."""

_FIRST_RETURN = {"PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall", "While", "StatelessWhile"} | {
    *("If", "StatelessIf", "Case", "StatelessCase")
}
"""Operations whose output has the same number as the return value of their functions."""


class Call(NamedTuple):
    """A node that calls functions.

    Attributes:
        caller: the graph that the node is in.
        node: the node.
        op: its operation.
        functions: the names of the functions.
    """

    caller: IndexedGraph
    node: Node
    op: str
    functions: tuple[str, ...]

    def list_inputs(self, argument: int) -> list[str]:
        """Return the inputs that may be an argument of the functions: one if that is known, else all."""
        inputs = [name for name in self.node.inputs if not name.startswith("^")]
        first = 0 if self.op in self.functions else _FIRST_ARGUMENT.get(self.op)
        return inputs if first is None else inputs[first + argument : first + argument + 1]

    @property
    def is_loop(self) -> bool:
        """Whether the functions receive their own results."""
        return self.op in ("While", "StatelessWhile")

    @property
    def has_same_outputs(self) -> bool:
        """Whether its outputs are the return values of the functions, in the same order."""
        return self.op in self.functions or self.op in _FIRST_RETURN


class IndexedGraph:
    """A main graph or a function.

    Attributes:
        graph: where its nodes are read.
        name: of the function; empty for a main graph.
        listed: the nodes that a rule is for, with their operations.
        calls: the nodes that call functions, by their names.
    """

    def __init__(self, graph: Graph, names: frozenset[str]) -> None:
        self.graph, self.name = graph, graph.name
        self.listed, self.calls = list[tuple[Node, str]](), dict[str, Call]()
        self.count = 0
        self._nodes: dict[str, Node] | None = None
        self._arguments: dict[str, int] | None = None
        self._returns: dict[str, str] | None = None
        for node in graph.iterate_nodes():
            self.count += 1
            op = node.op
            if op in PLAIN_OPERATIONS and op not in names:
                if op in ("RestoreV2", "SaveV2"):
                    self.listed.append((node, op))
                continue
            if find_rules(op):
                self.listed.append((node, op))
            functions = {function for attribute in node.attributes.values() for function in attribute.iterate_functions()}
            called = tuple(sorted((functions | {op}) & names))
            if called:
                self.calls[node.name] = Call(self, node, op, called)

    @property
    def nodes(self) -> dict[str, Node]:
        """Its nodes by name; made when a path has to be followed."""
        if self._nodes is None:
            self._nodes = {node.name: node for node in self.graph.iterate_nodes()}
        return self._nodes

    @property
    def arguments(self) -> dict[str, int]:
        """The number of each argument of a function by its name."""
        if self._arguments is None:
            names = self.graph.list_arguments() if self.name else []
            self._arguments = {name: number for number, name in enumerate(names)}
        return self._arguments

    def list_returns(self, output: str) -> list[str]:
        """Return what an output of a function is, by its number or its name; what all of them are if it is not known."""
        if self._returns is None:
            self._returns = self.graph.map_returns()
        if output in self._returns:
            return [self._returns[output]]
        names = self.graph.list_outputs()
        if output.isdecimal() and len(names) == len(self._returns) > int(output):
            return [self._returns[name] for name in (names[int(output)],) if name in self._returns]
        return [*self._returns.values()]


class GraphIndex:
    """A graph with its functions, as one MetaGraph or a text has it.

    Attributes:
        main: the main graph.
        functions: the functions by name.
        callers: the calls of each function.
        count: how many nodes they have together.
    """

    def __init__(self, graphs: Iterable[Graph]) -> None:
        graphs = [*graphs]
        names = frozenset(graph.name for graph in graphs[1:])
        self.functions = dict[str, IndexedGraph]()
        self.callers = dict[str, list[Call]]()
        self.count = listed = 0
        for graph in graphs:
            indexed = IndexedGraph(graph, names)
            self.count += indexed.count
            listed += len(indexed.listed) + len(indexed.calls)
            if self.count > _NODES_MAX or listed > _LISTED_MAX:
                raise WireError("it has too many nodes")
            if graph.name in self.functions:  # TensorFlow refuses it, too
                raise WireError("it has two functions of one name")
            if graph.is_function:
                self.functions[graph.name] = indexed
            else:
                self.main = indexed
        for indexed in self:
            for call in indexed.calls.values():
                for name in call.functions:
                    self.callers.setdefault(name, []).append(call)

    def __iter__(self) -> Iterator[IndexedGraph]:
        yield self.main
        yield from self.functions.values()

    def find_called(self, names: Iterable[str]) -> set[str]:
        """Return these functions and all that they call."""
        found, waiting = set[str](), [*names]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.functions:
                found.add(name)
                waiting += [other for call in self.functions[name].calls.values() for other in call.functions]
        return found

    def find_ancestors(self, names: Iterable[str]) -> set[str]:
        """Return these nodes of the main graph and all that they depend on, also by control inputs."""
        found, waiting = set[str](), [*names]
        while waiting:
            name = waiting.pop()
            if name not in found and (node := self.main.nodes.get(name)) is not None:
                found.add(name)
                waiting += map(get_node, node.inputs)
        return found
