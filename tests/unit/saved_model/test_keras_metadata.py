"""Tests of ``saved_model.keras_metadata``: what is read of JSON that others wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_meta_graph, make_saved_model
from tfimm_resolver.saved_model.keras_metadata import read_keras_metadata

FACTS = json.dumps({"class_name": "Functional", "keras_version": "2.15.0", "config": {}})


def write_metadata(text: str, folder: Path) -> str:
    """Write the metadata beside the graph, as TensorFlow does since 2.5."""
    (folder / "keras_metadata.pb").write_bytes(encode_message([(1, encode_message([(2, 0), (5, text.encode())]))]))
    return str(folder)


def test_metadata_beside_the_graph_is_read(tmp_path: Path) -> None:
    assert read_keras_metadata(write_metadata(FACTS, tmp_path)) == ("Functional", "2.15.0")


def test_metadata_in_the_graph_is_read(tmp_path: Path) -> None:
    root = encode_message([(4, encode_message([(1, b"_tf_keras_network"), (3, FACTS.encode())]))])
    (tmp_path / "saved_model.pb").write_bytes(make_saved_model(make_meta_graph(objects=[root])))
    assert read_keras_metadata(str(tmp_path)) == ("Functional", "2.15.0")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"class_name": 1}', "[" * 100_000, '{"class_name": "' + "x" * (1 << 20) + '"}'],
    ids=["empty", "cut", "list", "number", "deep", "large"],
)  # fmt: skip
def test_what_is_not_known_is_empty(text: str, tmp_path: Path) -> None:
    assert read_keras_metadata(write_metadata(text, tmp_path)) == ("", "")


def test_names_are_cut(tmp_path: Path) -> None:
    name, _ = read_keras_metadata(write_metadata(json.dumps({"class_name": "x" * 1000}), tmp_path))
    assert len(name) == 100
