"""The assets that a graph names, read from graphs made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.saved_model import assets
from tfimm_resolver.saved_model.assets import list_asset_names


def number(value: int) -> bytes:
    """Encode a varint."""
    data = b""
    while value > 0x7F:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def field(key: int, data: bytes) -> bytes:
    """Encode a field of bytes."""
    return number(key << 3 | 2) + number(len(data)) + data


def graph(*names: str) -> bytes:
    """Return a SavedModel with one graph that has these assets, and fields of every other kind around them."""
    other = b"\x08\x01" + number(9 << 3 | 1) + bytes(8) + number(10 << 3 | 5) + bytes(4)
    files = b"".join(field(6, field(1, b"tensor") + field(2, name.encode())) for name in names)
    return b"\x08\x01" + field(2, other + field(2, bytes(3000)) + files + field(7, b"objects"))


def put(folder: Path, data: bytes) -> str:
    """Write a graph, and return its directory."""
    (folder / "saved_model.pb").write_bytes(data)
    return str(folder)


@pytest.mark.parametrize("names", [(), ("vocab.txt",), ("a/b.txt", "wörter.txt")], ids=["none", "one", "two"])
def test_lists_the_assets(names: tuple[str, ...], tmp_path: Path) -> None:
    assert list_asset_names(put(tmp_path, graph(*names))) == list(names)


def test_lists_the_assets_of_every_graph(tmp_path: Path) -> None:
    assert list_asset_names(put(tmp_path, graph("a") + graph("b"))) == ["a", "b"]


@pytest.mark.parametrize(
    "data",
    [
        b"a graph",
        graph("vocab.txt")[:-3],
        b"\xff" * 40,
        field(2, field(6, field(2, b"\xff\xfe"))),
        field(2, b"\x0b"),
        field(2, field(6, field(2, b"x" * 5000))),
        field(2, number(6 << 3 | 2) + number(4)) + field(2, b"\x08\x08"),
    ],
    ids=["text", "cut", "endless number", "not utf-8", "unknown kind", "long name", "a field beyond its message"],
)
def test_what_is_not_a_graph_has_no_list(data: bytes, tmp_path: Path) -> None:
    assert list_asset_names(put(tmp_path, data)) is None


def test_a_missing_graph_has_no_list(tmp_path: Path) -> None:
    assert list_asset_names(str(tmp_path)) is None
    os.mkfifo(tmp_path / "saved_model.pb")
    assert list_asset_names(str(tmp_path)) is None


def test_the_work_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_ASSETS_MAX", 2)
    assert list_asset_names(put(tmp_path, graph("a", "b"))) == ["a", "b"]
    assert list_asset_names(put(tmp_path, graph("a", "b", "c"))) is None
