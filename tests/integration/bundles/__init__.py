"""Helpers that take bundles apart and change them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.fakes.archives import member
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX

NEWER = {"saved_model.pb": b"a newer graph"}
SHARD = "data-00000-of-00001"
HASH_OF_A_GRAPH = hashlib.sha256(b"a graph").hexdigest().encode()
Members = list[tuple[tarfile.TarInfo, bytes]]


def read_members(path: Path) -> Members:
    """Read the members of a bundle."""
    with tarfile.open(path) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]


def read_record(path: str) -> dict[str, object]:
    """Read the JSON of a cached model's record."""
    facts: dict[str, object] = json.loads(
        (Path(path).parent / (Path(path).name[:40] + DESCRIPTOR_SUFFIX)).read_text().partition("\n\n")[2]
    )
    return facts


def change_member(end: str, /, **fields: object) -> Callable[[Members], Members]:
    """Return a function that changes fields of the member whose name has this end."""

    def change(members: Members) -> Members:
        found = next(info for info, _ in members if info.name.endswith(end))
        for field, value in fields.items():
            setattr(found, field, value)
        return members

    return change


def change_data(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """Return a function that edits the bytes of the members whose name has this end."""

    def change(members: Members) -> Members:
        changed_members = []
        for info, data in members:
            changed_members.append((info, edit(data) if info.name.endswith(name) else data))
            info.size = len(changed_members[-1][1])
        return changed_members

    return change


def add_member(members: Members, path: str) -> Members:
    """Add a member to the model's directory."""
    return [*members, member(f"{members[0][0].name[:40]}/{path}", b"evil")]


def corrupt(cache_dir: Path, name: str) -> None:
    """Change a byte in a file of a cached model."""
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"A graph")
