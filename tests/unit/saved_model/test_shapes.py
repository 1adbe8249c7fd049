"""Tests of ``saved_model.shapes``; the names of types are compared with TensorFlow's in tests/tensorflow."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.fakes.graphs import make_shape
from tfimm_resolver.saved_model.messages import MessageSource
from tfimm_resolver.saved_model.shapes import get_dtype_name, read_shape
from tfimm_resolver.saved_model.wire import WireError


@pytest.mark.parametrize(
    ("sizes", "expected"), [((), ()), ((-1, 3), (None, 3)), ((0, 2**40), (0, 2**40)), (None, None)], ids=str
)
def test_a_shape_is_read(sizes: Iterable[int] | None, expected: object) -> None:
    source = MessageSource(None, make_shape(sizes))
    assert read_shape(source, source.all) == expected


def test_a_shape_has_a_limit() -> None:
    source = MessageSource(None, make_shape([1] * 255))
    with pytest.raises(WireError, match="over 254 dimensions"):
        read_shape(source, source.all)


@pytest.mark.parametrize(
    ("number", "name"), [(1, "float32"), (101, "float32_ref"), (0, "unknown type 0"), (999, "unknown type 999")], ids=str
)
def test_a_type_has_a_name(number: int, name: str) -> None:
    assert get_dtype_name(number) == name
