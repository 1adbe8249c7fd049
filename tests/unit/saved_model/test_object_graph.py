"""Tests of ``saved_model.object_graph``; tests/tensorflow/inspection compares it with TensorFlow."""

from __future__ import annotations

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_meta_graph, make_object, make_saved_model, make_shape, make_variable
from tfimm_resolver.saved_model import object_graph
from tfimm_resolver.saved_model.messages import MessageSource
from tfimm_resolver.saved_model.object_graph import ObjectGraph, needs_variables, read_object_graph
from tfimm_resolver.saved_model.wire import WireError


def read(*objects: bytes) -> ObjectGraph:
    """Return the summary of objects in memory."""
    source = MessageSource(None, encode_message((1, each) for each in objects))
    return read_object_graph(source, source.all)


def make_slot(number: int) -> bytes:
    """Encode an object with a slot of an optimizer."""
    return encode_message([(3, encode_message([(1, 1), (2, b"m"), (3, number)]))])


def test_variables_are_counted_without_the_slots_of_an_optimizer() -> None:
    found = read(
        make_object() + make_slot(3), make_variable((2, 3)), make_variable((4,), is_trainable=False), make_variable((9,))
    )
    assert (found.count, found.variables, found.trainable_variables) == (4, 2, 1)
    assert (found.parameters, found.trainable_parameters) == (10, 6)


def test_a_variable_without_a_fixed_shape_counts_nothing() -> None:
    assert read(make_variable((-1, 3))).parameters == 0


def test_the_last_kind_of_an_object_counts() -> None:
    assert read(make_variable((2,)) + make_object()).variables == 0
    assert read(make_object() + make_variable((2,))).variables == 1
    shaped = encode_message([(4, encode_message([(1, b"x"), (2, make_shape((7,)))]))])
    assert read(shaped + make_variable((2,))).parameters == 2
    merged = make_variable((2,)) + encode_message([(7, encode_message([(3, 0)]))])
    assert (read(merged).parameters, read(merged).trainable_parameters) == (2, 0)


@pytest.mark.parametrize(
    ("objects", "name"),
    [
        ([make_object({"weight": 1}), make_variable()], "TensorFlow 2"),
        ([make_object({"layer": 1}), make_object(identifier="_tf_keras_layer")], "Keras 2"),
        ([make_object({"_misc_assets": 1, "_all_variables": 1, "_tracked": 1}), make_object()], "Keras 3 export"),
        ([make_object({"_layers": 1}), make_object()], "Keras 3"),
        ([], "TensorFlow 2"),
    ],
    ids=["object", "keras 2", "export", "keras 3", "empty"],
)
def test_the_api_that_wrote_the_model_is_recognized(objects: list[bytes], name: str) -> None:
    assert read(*objects).format == name


def test_only_a_variable_needs_a_checkpoint() -> None:
    for objects, expected in (([make_object()], False), ([make_object(), make_variable()], True), ([], False)):
        source = MessageSource(None, make_saved_model(make_meta_graph(objects=objects)))
        assert needs_variables(source) is expected


def test_the_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_graph, "_ROOT_CHILDREN_MAX", 2)
    assert read(make_object({"a": 1, "b": 1}), make_object()).count == 2
    with pytest.raises(WireError, match="too many children"):
        read(make_object({"a": 1, "b": 1, "c": 1}), make_object())
    monkeypatch.setattr(object_graph, "_SLOTS_MAX", 1)
    with pytest.raises(WireError, match="too many objects"):
        read(make_slot(1) + make_slot(2))
