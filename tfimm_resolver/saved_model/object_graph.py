"""Reads the objects of a SavedModel of TensorFlow 2 without TensorFlow: which API wrote it, and its variables.

The messages are those of tensorflow/core/protobuf/{saved_object_graph,trackable_object_graph}.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tfimm_resolver.saved_model.messages import MessageSource, Span, Spans
from tfimm_resolver.saved_model.shapes import read_shape
from tfimm_resolver.saved_model.wire import BYTES, VARINT, WireError

META_GRAPHS, OBJECTS = 2, 7
"""Fields of SavedModel and MetaGraphDef."""

_NODES = 1
_CHILDREN, _SLOTS = 1, 3
_KINDS = {
    4: "object",
    5: "asset",
    6: "function",
    7: "variable",
    8: "function",
    9: "constant",
    10: "resource",
    12: "captured tensor",
}
_OBJECT, _VARIABLE = 4, 7
_IDENTIFIER = 1
_CHILD_NAME, _SLOT_VARIABLE = 2, 3
_VARIABLE_SHAPE, _IS_TRAINABLE = 2, 3
_KERAS_2 = "_tf_keras_"
_KERAS_3_EXPORT = {"_all_variables", "_misc_assets"}
_KERAS_3 = {"_operations", "_layers", "_tracked"}
_ROOT_CHILDREN_MAX, _SLOTS_MAX = 100_000, 10_000_000


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """The objects of TensorFlow 2 in a SavedModel.

    Attributes:
        format: ``Keras 2``, ``Keras 3 export``, ``Keras 3``, or ``TensorFlow 2``: what wrote the model.
        count: how many objects there are.
        variables: how many of them are variables, without the slots of an optimizer.
        trainable_variables: how many of these can be trained.
        parameters: the numbers in the variables.
        trainable_parameters: the numbers in variables that can be trained.
    """

    format: str
    count: int
    variables: int
    trainable_variables: int
    parameters: int
    trainable_parameters: int


@dataclass(slots=True)
class _Object:
    kind: str = ""
    identifier: str = ""
    size: int = 0
    is_trainable: bool = False


def read_object_graph(source: MessageSource, spans: Spans) -> ObjectGraph:
    """Return a summary of the objects.

    Raises:
        WireError: if it is not a graph of objects.
    """
    variables: dict[int, _Object] = {}
    slots = set[int]()
    root_children, is_keras_2, count = set[str](), False, 0
    for count, span in enumerate(source.iterate_messages(spans, _NODES), 1):
        found = _read_object(source, span, slots)
        if found.kind == "variable":
            variables[count - 1] = found
        is_keras_2 = is_keras_2 or found.identifier.startswith(_KERAS_2)
        if count == 1:
            root_children = _read_child_names(source, span)
    own = [variable for number, variable in variables.items() if number not in slots]
    trained = [variable for variable in own if variable.is_trainable]
    return ObjectGraph(
        format=_choose_format(root_children, is_keras_2),
        count=count,
        variables=len(own),
        trainable_variables=len(trained),
        parameters=sum(variable.size for variable in own),
        trainable_parameters=sum(variable.size for variable in trained),
    )


def needs_variables(source: MessageSource) -> bool:
    """Whether an object of a SavedModel is a variable, whose value is in the checkpoint. Raises WireError."""
    for span in source.iterate_messages(source.all, META_GRAPHS, OBJECTS, _NODES):
        if _read_object(source, span, set()).kind == "variable":
            return True
    return False


def _choose_format(children: set[str], is_keras_2: bool) -> str:
    if is_keras_2:
        return "Keras 2"
    if children >= _KERAS_3_EXPORT:
        return "Keras 3 export"
    return "Keras 3" if children & _KERAS_3 else "TensorFlow 2"


def _read_object(source: MessageSource, span: Span, slots: set[int]) -> _Object:
    """Return what is needed of an object, and add the numbers of its slots to ``slots``."""
    field, content = 0, list[Span]()
    base, fields = source.open_message(*span)
    for number, kind, begin, end in fields:
        if number == _CHILDREN or kind != BYTES:
            continue
        if number == _SLOTS:
            slots.add(_read_last_number(source, ((begin + base, end + base),), _SLOT_VARIABLE))
            if len(slots) > _SLOTS_MAX:
                raise WireError("it has too many objects")
        elif number in _KINDS:
            if number != field:  # one of several kinds, of which the last counts
                field = number
                content.clear()
            content.append((begin + base, end + base))
    found = _Object(_KINDS.get(field, ""))
    if field == _OBJECT:
        for part in content:
            found.identifier = source.get_text(source.find_last(*part, _IDENTIFIER)) or found.identifier
    elif field == _VARIABLE:
        shape = read_shape(source, tuple(source.iterate_messages(tuple(content), _VARIABLE_SHAPE)))
        found.size = 0 if shape is None else prod(size or 0 for size in shape)
        found.is_trainable = _read_last_number(source, tuple(content), _IS_TRAINABLE) != 0
    return found


def _read_child_names(source: MessageSource, span: Span) -> set[str]:
    names = set[str]()
    for child in source.iterate_messages((span,), _CHILDREN):
        names.add(source.find_text((child,), _CHILD_NAME))
        if len(names) > _ROOT_CHILDREN_MAX:
            raise WireError("an object has too many children")
    return names


def _read_last_number(source: MessageSource, spans: Spans, field: int) -> int:
    value = 0
    for number, kind, begin, end in source.iterate(spans):
        if number == field and kind == VARINT:
            value = source.read_number(kind, begin, end)
    return value
