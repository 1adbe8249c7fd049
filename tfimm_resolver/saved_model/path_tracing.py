"""Follows the input of a node back, through functions and their callers, to the constants and values that it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from tfimm_resolver.saved_model.entry_points import EntryPoints, get_node
from tfimm_resolver.saved_model.graph import Node
from tfimm_resolver.saved_model.graph_index import Call, GraphIndex, IndexedGraph
from tfimm_resolver.saved_model.messages import MessageSource
from tfimm_resolver.saved_model.operation_rules import TEXT_ATTRIBUTES
from tfimm_resolver.saved_model.origins import Origin, Text
from tfimm_resolver.saved_model.search_budget import SearchBudget
from tfimm_resolver.saved_model.wire import WireError

_TEXTS_MAX, _TEXT_BYTES_MAX = 10_000, 2048
_CONSTANTS = {"Const", "HostConst"}
_PLACEHOLDERS = {"Placeholder", "PlaceholderV2", "_Arg", "_DeviceArg"}
_VARIABLES = {"VarHandleOp", "_VarHandlesOp", "Variable", "VariableV2", "TemporaryVariable"}
_CONTENTS = {"ReadFile", "RestoreV2", "Restore", "RestoreSlice", "MatchingFiles", "LookupTableFind", "LookupTableFindV2"}
"""Operations whose result is what is in a file or a table, which neither the path nor the key says."""

_OBSCURING = {
    *("DecodeBase64", "EncodeBase64", "DecodeCompressed", "DecodeCSV", "DecodeJSONExample", "DecodeProtoV2", "ParseTensor"),
    *("ParseExample", "ParseExampleV2", "ParseSingleExample", "UnicodeEncode", "UnicodeTranscode", "Substr", "StringLower"),
    *("StringUpper", "StringStrip", "StringSplit", "StringSplitV2", "RegexReplace", "StaticRegexReplace", "ReduceJoin"),
    *("UnsortedSegmentJoin", "StringFormat", "SerializeTensor", "Bitcast", "ReverseV2"),
}
"""Operations that make another text; of constants alone, one that is not read."""

_JOIN = "StringJoin"
_PASSING = {
    *(
        "Identity",
        "IdentityN",
        "StopGradient",
        "Enter",
        "Exit",
        "Switch",
        "RefSwitch",
        "Merge",
        "Select",
        "SelectV2",
        "Reshape",
    ),
    *("ExpandDims", "Squeeze", "Pack", "Unpack", "ConcatV2", "Concat", "StridedSlice", "Slice", "GatherV2", "Gather", _JOIN),
    *("PlaceholderWithDefault", "TensorSliceDataset", "TensorDataset", "EnsureShape", "Fill", "Tile"),
}
"""Operations whose result has the texts of their inputs as they are."""

_SAME = {"Identity", "StopGradient", "EnsureShape", "Enter"}
_NESTED_MAX = 8


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in a graph: an output of a node, or an argument of a function; and whether it may begin the text in question."""

    graph: IndexedGraph
    name: str
    output: str = ""
    argument: int | None = None
    is_first: bool = True

    @property
    def key(self) -> tuple[str, str, str, int | None, bool]:
        return self.graph.name, self.name, self.output, self.argument, self.is_first


class PathTracer:
    """Follows values in one graph and its functions.

    Args:
        source: where they are read.
        index: the graph.
        entries: where its execution begins; None for a graph that is a text in another one.
        budget: what the search of the model may still cost.
    """

    def __init__(self, source: MessageSource, index: GraphIndex, entries: EntryPoints | None, budget: SearchBudget) -> None:
        self._source, self._index, self._entries = source, index, entries
        self._budget, self._depth = budget, 0

    def find_origin(self, graph: IndexedGraph, node: Node, number: int) -> Origin:
        """Return what an input of a node is made of; raises WireError if that takes too long."""
        inputs = _list_inputs(node)
        if number >= len(inputs):
            return Origin(is_computed=True)
        return self._trace(self._parse(graph, inputs[number]))

    def _trace(self, start: _Value) -> Origin:
        origin, waiting, seen = Origin(), [start], set[tuple[str, str, str, "int | None", bool]]()
        while waiting:
            value = waiting.pop()
            if value.key in seen:
                continue
            seen.add(value.key)
            self._budget.take_steps(1)
            waiting.extend(reversed(self._follow(value, origin)))
        return origin

    def _parse(self, graph: IndexedGraph, name: str, is_first: bool = True) -> _Value:
        node, _, output = name.partition(":")
        if not output and node in graph.arguments:
            return _Value(graph, node, argument=graph.arguments[node], is_first=is_first)
        if graph.name and ":" in output:  # in a function: the name of an output, then the number in it
            named, _, number = output.partition(":")
            call = graph.calls.get(node)
            output = named if call is not None and call.op in call.functions else number
        return _Value(graph, node, output or "0", is_first=is_first)

    def _follow(self, value: _Value, origin: Origin) -> list[_Value]:
        """Note in ``origin`` what a value is, and return the values that it is made of."""
        if value.argument is not None:
            return self._follow_argument(value, value.argument, origin)
        node = value.graph.nodes.get(value.name)
        if node is None:
            origin.is_computed = True
            return []
        call = value.graph.calls.get(value.name)
        if call is not None:
            return self._follow_call(call, value, origin)
        return self._follow_node(value, node, node.op, origin)

    def _follow_node(self, value: _Value, node: Node, op: str, origin: Origin) -> list[_Value]:
        if not value.graph.name and self._entries is not None:
            what = self._entries.fed.get(f"{value.name}:{value.output}")
            if what is not None:
                origin.fed.append((what, self._find_default(value, node, op)))
                return []
        if op in _CONSTANTS:
            self._add_constant(node, value.is_first, origin)
            return []
        if op in _PLACEHOLDERS:
            origin.is_argument = True
            return []
        if op in _VARIABLES:
            origin.is_variable = True
            return []
        inputs = _list_inputs(node)
        if op in _CONTENTS or not inputs:
            origin.is_computed = True
            return []
        origin.is_joined |= op == _JOIN
        origin.is_changed |= op not in _PASSING
        if op == _JOIN:
            return self._list_joined(value, inputs, origin)
        parts = [self._parse(value.graph, name, value.is_first) for name in inputs]
        if op in _OBSCURING:
            origin.is_obscure |= not any(self._trace_part(part).is_from_outside for part in parts)
            self._add_attributes(node, value.is_first, origin)
        return parts

    def _list_joined(self, value: _Value, inputs: list[str], origin: Origin) -> list[_Value]:
        """Return the inputs of a join: those after one that a caller passes do not begin the text."""
        found, is_first = list[_Value](), value.is_first
        for name in inputs:
            found.append(self._parse(value.graph, name, is_first))
            if is_first:
                part = self._trace_part(self._skip_same(found[-1]))
                origin.is_obscure |= not part.is_from_outside and (part.is_changed or part.is_computed)
                is_first = not part.is_supplied_alone
        return found

    def _skip_same(self, value: _Value) -> _Value:
        """Return the value that nodes such as Identity pass on."""
        while value.argument is None and (node := value.graph.nodes.get(value.name)) is not None and node.op in _SAME:
            self._budget.take_steps(1)
            if not (inputs := _list_inputs(node)):
                break
            value = self._parse(value.graph, inputs[0], value.is_first)
        return value

    def _trace_part(self, value: _Value) -> Origin:
        """Return what a part of a value is made of; in too deep a nest, that it is not known."""
        if self._depth >= _NESTED_MAX:
            return Origin(is_computed=True)
        self._depth += 1
        try:
            return self._trace(value)
        finally:
            self._depth -= 1

    def _find_default(self, value: _Value, node: Node, op: str) -> list[Text]:
        """Return the texts that a tensor has if nothing is fed to it."""
        if op in _CONSTANTS:
            default = Origin()
            self._add_constant(node, value.is_first, default)
            return default.texts
        parts = [self._parse(value.graph, name, value.is_first) for name in _list_inputs(node)]
        return [text for part in parts for text in self._trace_part(part).texts]

    def _follow_call(self, call: Call, value: _Value, origin: Origin) -> list[_Value]:
        """Return what the result of a call is made of; also all its inputs if it is not known how the functions use them."""
        output, first = value.output, value.is_first
        found = []
        for name in call.functions:
            function = self._index.functions[name]
            returns = function.list_returns(output if call.has_same_outputs else "")
            found += [self._parse(function, one, first) for one in returns]
        if not call.has_same_outputs or call.is_loop:
            inputs = _list_inputs(call.node)
            if call.is_loop and output.isdecimal():
                inputs = inputs[int(output) : int(output) + 1]
            origin.is_changed = True
            found += [self._parse(call.caller, name, first) for name in inputs]
        return found

    def _follow_argument(self, value: _Value, number: int, origin: Origin) -> list[_Value]:
        """Return what an argument of a function is at its callers; note what it captured, or that a caller passes it."""
        callers = self._index.callers.get(value.graph.name, [])
        found = [one for call in callers for one in self._list_passed(call, number, is_first=value.is_first)]
        is_exposed = self._is_exposed(value.graph, number, has_callers=bool(callers))
        origin.is_argument |= is_exposed
        if self._depth == 0 and len(found) + is_exposed > 1:  # each caller's own value counts, whatever others pass
            origin.passed += map(self._trace_part, found)
        return found + self._follow_capture(value, number, origin)

    def _list_passed(self, call: Call, argument: int, *, is_first: bool) -> list[_Value]:
        """Return what a call passes as an argument of a function: also the results of a loop's body, which receives them."""
        found = [self._parse(call.caller, name, is_first) for name in call.list_inputs(argument)]
        body = call.node.attributes.get("body") if call.is_loop else None
        for name in body.iterate_functions() if body is not None else ():
            if (function := self._index.functions.get(name)) is not None:
                found += [self._parse(function, one, is_first) for one in function.list_returns(str(argument))]
        return found

    def _is_exposed(self, graph: IndexedGraph, number: int, *, has_callers: bool) -> bool:
        """Whether a caller of the model, for all that is known, may pass an argument of a function."""
        entries = self._entries
        if entries is None or graph.name not in entries.captures:
            return not has_callers
        if number >= len(graph.arguments) - len(entries.captures[graph.name]) or graph.name in entries.restorers:
            return False
        return not has_callers or graph.name in entries.call_functions

    def _follow_capture(self, value: _Value, number: int, origin: Origin) -> list[_Value]:
        """Note what an argument of a function captured, or that the checkpoint has it; return the node of a constant."""
        graph, entries = value.graph, self._entries
        if entries is None or graph.name not in entries.captures:
            return []
        captures = entries.captures[graph.name]
        captured = number - (len(graph.arguments) - len(captures))
        if captured < 0:
            origin.is_variable |= graph.name in entries.restorers
            return []
        capture = captures[captured]
        origin.is_asset |= capture.kind == "asset"
        origin.is_variable |= capture.kind == "variable"
        origin.is_computed |= capture.kind in ("resource", "captured", "")
        if capture.kind == "constant":
            return [_Value(self._index.main, get_node(capture.node), "0", is_first=value.is_first)]
        return []

    def _add_constant(self, node: Node, is_first: bool, origin: Origin) -> None:
        attribute = node.attributes.get("value")
        spans = [*attribute.iterate_texts()] if attribute is not None else []
        origin.is_computed |= not spans  # a number, for one
        origin.is_obscure |= attribute is not None and attribute.kind == "placeholder"  # an attribute of the call
        self._add_texts([(span, is_first) for span in spans], origin)

    def _add_attributes(self, node: Node, is_first: bool, origin: Origin) -> None:
        for name, attribute in node.attributes.items():
            if name in TEXT_ATTRIBUTES:
                begins = is_first and name != "separator"
                self._add_texts([(span, begins) for span in attribute.iterate_texts() if span[0] < span[1]], origin)

    def _add_texts(self, texts: list[Text], origin: Origin) -> None:
        self._budget.take_steps(len(texts))
        origin.texts += texts
        if len(origin.texts) > _TEXTS_MAX:
            raise WireError("a path has too many constants")

    def read_texts(self, texts: list[Text]) -> list[tuple[str, bool]]:
        """Return constant texts, each cut after some 2,000 bytes, and whether each may begin the value."""
        cut = [((start, min(stop, start + _TEXT_BYTES_MAX)), is_first) for (start, stop), is_first in texts]
        return [(self._source.get_text(span), is_first) for span, is_first in cut]


def _list_inputs(node: Node) -> list[str]:
    return [name for name in node.inputs if not name.startswith("^")]
