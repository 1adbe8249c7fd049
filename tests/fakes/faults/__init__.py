"""Tests under faults of the network and the disk, and with killed processes; here: table rows for faults of the network."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults.origin import Fault, Host
from tfimm_resolver import resolve
from tfimm_resolver.errors import ResolverError

RANGE_BYTES = 1 << 17
COMPLETE, PARTS, NOTHING = {"model", "record"}, {"parts"}, set[str]()


@functools.cache
def files(size_bytes: int = 1 << 21) -> dict[str, bytes]:
    """Return a model whose weights hardly compress, as real ones do."""
    return {**MODEL, "variables/variables.data-00000-of-00001": random.Random(7).randbytes(size_bytes)}


@functools.cache
def archive(size_bytes: int = 1 << 21) -> bytes:
    """Return the archive of that model: 17 ranges of RANGE_BYTES by default."""
    return tar_gz(files(size_bytes))


RANGES = -(-len(archive()) // RANGE_BYTES)


@dataclass(frozen=True)
class Row:
    """One case: the faults, what the user sees, and what it costs.

    Attributes:
        name: the id of the test.
        faults: the faults of the page at the origin.
        error: the class of the error; None if the download succeeds.
        words: words in the message.
        left: the kinds of entries in the cache root afterwards.
        requests: the minimum and maximum number of requests.
        resent_bytes: the maximum number of bytes that the origin sent more than once.
        page: fields of the page.
        environment: variables to set.
    """

    name: str
    faults: tuple[Fault, ...]
    error: type[ResolverError] | None = None
    words: tuple[str, ...] = ()
    left: set[str] = field(default_factory=lambda: COMPLETE)
    requests: tuple[int, int] = (1, 1)
    resent_bytes: int = 0
    page: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def rows(*table: Row) -> pytest.MarkDecorator:
    """Parametrize a test with rows."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in table])


def check(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Download with the faults of a row, compare the outcome, and check that the next download without faults succeeds.

    With a short read timeout, a moment in which this machine is busy costs requests, too: then all is done again, up to twice.

    Returns:
        The message of the error.
    """
    for variable, value in row.environment.items():
        monkeypatch.setenv(variable, value)
    for _ in range(2 if "TFIMM_RESOLVER_READ_TIMEOUT_S" in row.environment else 0):
        with contextlib.suppress(AssertionError, ResolverError):
            return _check_once(row, host, cache_dir)
        host.requests.clear()
        shutil.rmtree(cache_dir, ignore_errors=True)
    return _check_once(row, host, cache_dir)


def _check_once(row: Row, host: Host, cache_dir: Path) -> str:
    handle = host.put("/m.tar.gz", archive(), *row.faults, **row.page)
    text = check_outcome(handle, row, cache_dir)
    low, high = row.requests
    sent = [(request.status, request.headers.get("range"), request.sent) for request in host.requests]
    assert low <= len(host.requests) <= high, (len(sent), sent)
    assert host.count_resent_bytes() <= row.resent_bytes, (host.count_resent_bytes(), sent)
    host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert list_kinds(cache_dir) == COMPLETE
    return text


def check_outcome(handle: str, row: Row, cache_dir: Path) -> str:
    """Resolve a handle, compare the error and what is left in the cache, and return the message."""
    text = ""
    if row.error is None:
        assert files_in(resolve(handle)) == files()
    else:
        with pytest.raises(row.error) as caught:
            resolve(handle)
        text = str(caught.value)
        assert type(caught.value) is row.error, text
        assert [word for word in row.words if word not in text] == [], text
    assert list_kinds(cache_dir) == row.left, text
    return text


def list_kinds(cache_dir: Path) -> set[str]:
    """Return the kinds of entries in a cache root; a name of no known kind is returned as it is."""
    kinds = {".descriptor.txt": "record", ".parts": "parts", "": "model"}
    names = os.listdir(cache_dir) if cache_dir.exists() else []
    return {kinds.get(name[40:], name) for name in names}
