"""Reads which class of Keras 2 a SavedModel was, and the version of Keras, without TensorFlow."""

from __future__ import annotations

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.saved_model.messages import MessageSource, Spans, open_source

_METADATA_PATH, _GRAPH_PATH = (1,), (2, 7, 1)
"""Where the objects are in keras_metadata.pb and, before TensorFlow 2.5, in saved_model.pb."""

_METADATA, _GRAPH_METADATA = (5,), (4, 3)
"""Where the metadata of an object is in each of them (tensorflow/python/keras/protobuf/saved_metadata.proto)."""

_CHARACTERS_MAX = 100


def read_keras_metadata(path: str) -> tuple[str, str]:
    """Return the class of a Keras 2 model in a directory, and the version of Keras; empty if they are not known."""
    for name, objects, metadata in (
        ("keras_metadata.pb", _METADATA_PATH, _METADATA),
        ("saved_model.pb", _GRAPH_PATH, _GRAPH_METADATA),
    ):
        try:
            with open_source(f"{path}/{name}") as source:
                for root in source.iterate_messages(source.all, *objects):
                    return _parse(source, (root,), metadata)
        except (OSError, ValueError):  # missing; damaged, or too large
            continue
    return "", ""


def _parse(source: MessageSource, spans: Spans, metadata: tuple[int, ...]) -> tuple[str, str]:
    found = parse_json(source.find_text(spans, *metadata))
    if not isinstance(found, dict):
        return "", ""
    values = (found.get("class_name"), found.get("keras_version"))
    name, version = (value[:_CHARACTERS_MAX] if isinstance(value, str) else "" for value in values)
    return name, version
