"""Faults, one by one: of the network, of the disk, and processes that are killed; here, those of the network as a table."""

from __future__ import annotations

import functools
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.faults.origin import Fault, Host
from tfimm_resolver import resolve
from tfimm_resolver.errors import ResolverError

RANGE_BYTES = 1 << 17
WHOLE, PARTS, NOTHING = {"model", "record"}, {"parts"}, set[str]()


@functools.cache
def files(size_bytes: int = 1 << 21) -> dict[str, bytes]:
    """A model whose weights hardly compress, as weights do."""
    return {**MODEL, "variables/variables.data-00000-of-00001": random.Random(7).randbytes(size_bytes)}


@functools.cache
def archive(size_bytes: int = 1 << 21) -> bytes:
    """That model's archive: 17 ranges of RANGE_BYTES if nothing is said."""
    return tar_gz(files(size_bytes))


RANGES = -(-len(archive()) // RANGE_BYTES)


@dataclass(frozen=True)
class Row:
    """One case: what is broken, what the user sees, and what it costs.

    Attributes:
        faults: what is wrong at the origin.
        error: its class, and ``words`` of its text; None if the fetch succeeds.
        left: what lies in the cache root afterwards.
        asked: how many requests there were at least and at most.
        twice_bytes: how many bytes the origin sent twice at most.
        page: what the page itself is like.
        environment: variables that the user has set.
    """

    name: str
    faults: tuple[Fault, ...]
    error: type[ResolverError] | None = None
    words: tuple[str, ...] = ()
    left: set[str] = field(default_factory=lambda: WHOLE)
    asked: tuple[int, int] = (1, 1)
    twice_bytes: int = 0
    page: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def rows(*table: Row) -> pytest.MarkDecorator:
    """The table as parameters of a test."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in table])


def check(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Fetch under the row's fault, compare all it says, and see that the next fetch without the fault succeeds.

    Returns:
        The error's text.
    """
    for variable, value in row.environment.items():
        monkeypatch.setenv(variable, value)
    handle = host.put("/m.tar.gz", archive(), *row.faults, **row.page)
    text = outcome(handle, row, cache_dir)
    low, high = row.asked
    asked = [(one.status, one.headers.get("range"), one.sent) for one in host.asked]
    assert low <= len(host.asked) <= high, (len(asked), asked)
    assert host.twice_bytes() <= row.twice_bytes, (host.twice_bytes(), asked)
    host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert left_in(cache_dir) == WHOLE
    return text


def outcome(handle: str, row: Row, cache_dir: Path) -> str:
    """The error's text; checks what the user sees and what is left."""
    text = ""
    if row.error is None:
        assert files_in(resolve(handle)) == files()
    else:
        with pytest.raises(row.error) as caught:
            resolve(handle)
        text = str(caught.value)
        assert type(caught.value) is row.error, text
        assert [word for word in row.words if word not in text] == [], text
    assert left_in(cache_dir) == row.left, text
    return text


def left_in(cache_dir: Path) -> set[str]:
    """What kinds of things lie in a cache root; a name that has no kind stands for itself."""
    kinds = {".descriptor.txt": "record", ".parts": "parts", "": "model"}
    names = os.listdir(cache_dir) if cache_dir.exists() else []
    return {kinds.get(name[40:], name) for name in names}
