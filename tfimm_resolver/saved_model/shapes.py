"""Reads types and shapes of tensors (tensorflow/core/framework/{types,tensor_shape}.proto)."""

from __future__ import annotations

from tfimm_resolver.saved_model import wire
from tfimm_resolver.saved_model.messages import MessageSource, Spans
from tfimm_resolver.saved_model.wire import BYTES, VARINT

Shape = tuple["int | None", ...]
"""The dimensions of a tensor; None for one that is not known."""

DTYPE_NAMES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
}
_REFERENCE = 100
_DIMENSION, _SIZE, _IS_RANK_UNKNOWN = 2, 1, 3
_DIMENSIONS_MAX = 254  # tensorflow/core/framework/tensor_shape.h


def get_dtype_name(number: int) -> str:
    """Return the name that TensorFlow gives a type; that of a reference to a variable of TensorFlow 1 ends in ``_ref``."""
    name = DTYPE_NAMES.get(number % _REFERENCE if number > _REFERENCE else number, "")
    return f"unknown type {number}" if not name else f"{name}_ref" if number > _REFERENCE else name


def read_shape(source: MessageSource, spans: Spans) -> Shape | None:
    """Return the shape that a TensorShapeProto stands for; None if not even the number of dimensions is known.

    Raises:
        WireError: if it is not one, or has too many dimensions.
    """
    sizes: list[int | None] = []
    is_unknown = False
    for number, kind, begin, end in source.iterate(spans):
        if number == _DIMENSION and kind == BYTES:
            size = _read_size(source, begin, end)
            sizes.append(None if size < 0 else size)
            if len(sizes) > _DIMENSIONS_MAX:
                raise wire.WireError(f"a tensor has over {_DIMENSIONS_MAX} dimensions")
        elif number == _IS_RANK_UNKNOWN and kind == VARINT:
            is_unknown = source.read_number(kind, begin, end) != 0
    return None if is_unknown else tuple(sizes)


def _read_size(source: MessageSource, start: int, stop: int) -> int:
    size = 0
    for number, kind, begin, end in source.iterate(((start, stop),)):
        if number == _SIZE and kind == VARINT:
            size = wire.to_signed(source.read_number(kind, begin, end))
    return size
