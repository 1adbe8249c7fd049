"""Finds layers of Keras with code in the metadata of a SavedModel, which only Keras's own loader runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.saved_model.messages import MessageSource, Span, open_source
from tfimm_resolver.saved_model.operation_rules import PYTHON, READ, WRITE, find_rules
from tfimm_resolver.saved_model.wire import WireError

METADATA_FILE = "keras_metadata.pb"

_NODES, _METADATA = 1, 5
"""Fields of SavedMetadata and SavedObject (tf_keras/protobuf/saved_metadata.proto)."""

_METADATA_BYTES_MAX, _VALUES_MAX = 64 << 20, 2_000_000
_MARK, _ESCAPE = b"ambda", b"\\u"
_SYMBOLS = {
    **dict.fromkeys(("io.write_file", "compat.v1.write_file", "io.write_graph", "compat.v1.io.write_file"), WRITE),
    **dict.fromkeys(("io.read_file", "io.matching_files", "compat.v1.read_file", "compat.v1.matching_files"), READ),
    **dict.fromkeys(("py_function", "numpy_function", "compat.v1.py_func", "compat.v1.py_function"), PYTHON),
}
"""Functions of TensorFlow that a layer of the class TFOpLambda may call."""
_NOTE = "runs when Keras loads the model; tf.saved_model.load ignores it"

Found = tuple[str, str, str, "str | None", str, str, str]
"""The fields of an ``Operation``."""


def find_in_file(path: str) -> Iterator[Found]:
    """Yield the layers with code in ``keras_metadata.pb``, if there is one.

    Raises:
        ValueError: if it cannot be read completely.
        OSError: if it cannot be read.
    """
    file = f"{path}/{METADATA_FILE}"
    if os.path.lexists(file):
        with open_source(file) as source:
            for span in source.iterate_messages(source.all, _NODES, _METADATA):
                yield from find_in_span(source, span)


def find_in_span(source: MessageSource, span: Span) -> Iterator[Found]:
    """Yield the layers with code in the metadata of one object, which is JSON; raises ValueError if it cannot be read."""
    data = source.read(span, _METADATA_BYTES_MAX)
    if _MARK not in data and _ESCAPE not in data:
        return
    try:
        value = parse_json(data.decode(), max_bytes=_METADATA_BYTES_MAX, max_values=_VALUES_MAX)
    except ValueError as error:
        raise WireError("the metadata of Keras cannot be read") from error
    waiting = [value]
    seen = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            if (found := _judge(one)) is not None and found not in seen:
                seen.add(found)
                yield found


def _judge(layer: dict[str, object]) -> Found | None:
    """Return what a layer does by its class and its configuration; None if it has no code."""
    kind, config = layer.get("class_name"), layer.get("config")
    if not isinstance(config, dict) or not isinstance(kind, str):
        return None
    name = str(config.get("name", ""))
    if kind.rpartition(">")[2] == "Lambda" or kind in ("function", "__lambda__"):
        return PYTHON, "unknown", "Lambda", None, name, METADATA_FILE, _NOTE
    if kind.rpartition(">")[2] != "TFOpLambda":
        return None
    symbol = str(config.get("function", ""))
    rules = find_rules(symbol.rpartition(".")[2]) if "raw_ops." in symbol else ()
    effect = rules[0].kind if rules else _SYMBOLS.get(symbol.removeprefix("tf."))
    return None if effect is None else (effect, "unknown", "TFOpLambda", None, name, METADATA_FILE, f"{symbol}; {_NOTE}")
