"""Bundles, taken apart and put together again."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.archives import member
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX

NEWER = {"saved_model.pb": b"a newer graph"}
SHARD = "data-00000-of-00001"
HASH_OF_A_GRAPH = hashlib.sha256(b"a graph").hexdigest().encode()
Members = list[tuple[tarfile.TarInfo, bytes]]


def members_of(path: Path) -> Members:
    """What a bundle holds."""
    with tarfile.open(path) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]


def record_of(path: str) -> dict[str, object]:
    """The JSON of a cached model's record."""
    facts: dict[str, object] = json.loads(
        (Path(path).parent / (Path(path).name[:40] + DESCRIPTOR_SUFFIX)).read_text().partition("\n\n")[2]
    )
    return facts


def changed(end: str, /, **fields: object) -> Callable[[Members], Members]:
    """A member with other fields, found by the end of its name."""

    def change(members: Members) -> Members:
        found = next(info for info, _ in members if info.name.endswith(end))
        for field, value in fields.items():
            setattr(found, field, value)
        return members

    return change


def with_data(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """A member with other bytes."""

    def change(members: Members) -> Members:
        made = []
        for info, data in members:
            made.append((info, edit(data) if info.name.endswith(name) else data))
            info.size = len(made[-1][1])
        return made

    return change


def inner(members: Members, path: str) -> Members:
    """One more member in the model's directory."""
    return [*members, member(f"{members[0][0].name[:40]}/{path}", b"evil")]


def spoilt(cache_dir: Path, name: str) -> None:
    """Other bytes, as many, in a cached model."""
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"A graph")
