"""Reads the fingerprint of a SavedModel without TensorFlow (tensorflow/core/protobuf/fingerprint.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfimm_resolver.saved_model.messages import open_source
from tfimm_resolver.saved_model.wire import BYTES, VARINT

_NUMBERS = {
    1: "saved_model_checksum",
    2: "graph_def_program_hash",
    3: "signature_def_hash",
    4: "saved_object_graph_hash",
    5: "checkpoint_hash",
}
_UUID = 7


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hashes that TensorFlow gave a model when it was written, and a UUID; what is not there is 0 or empty."""

    saved_model_checksum: int = 0
    graph_def_program_hash: int = 0
    signature_def_hash: int = 0
    saved_object_graph_hash: int = 0
    checkpoint_hash: int = 0
    uuid: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints; numbers as text, since they are too large for many readers of JSON."""
        return {**{name: str(getattr(self, name)) for name in _NUMBERS.values()}, "uuid": self.uuid or None}


def read_fingerprint(path: str) -> Fingerprint | None:
    """Return the fingerprint of the SavedModel in a directory; None if it has none that can be read."""
    values: dict[str, Any] = {}
    try:
        with open_source(f"{path}/fingerprint.pb") as source:
            for number, kind, begin, end in source.iterate(source.all):
                if number in _NUMBERS and kind == VARINT:
                    values[_NUMBERS[number]] = source.read_number(kind, begin, end)
                elif number == _UUID and kind == BYTES:
                    values["uuid"] = source.get_text((begin, end))
    except (OSError, ValueError):
        return None
    return Fingerprint(**values)
