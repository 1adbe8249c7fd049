"""Downloads in ranges, and ranges that do not fit together."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.archives import files_in, member, tar_gz, tar_of
from tests.faults import NOTHING, RANGE_BYTES, RANGES, WHOLE, Row, archive, check, files, left_in, rows
from tests.faults.origin import (
    Fault,
    Gate,
    Host,
    Reply,
    after,
    framed,
    gated,
    on,
    on_range_at,
    paced,
    page,
    says,
    shifted,
    together,
    with_header,
)
from tests.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import ArchiveError, FetchError
from tfimm_resolver.http.retry import RetryPolicy
from tfimm_resolver.transfer import download
from tfimm_resolver.transfer.partial_store import PartStore

SIZE = len(archive())
CONNECTIONS = 8

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


def test_a_large_archive_comes_in_ranges_over_eight_connections_and_every_byte_once(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), together(CONNECTIONS))
    assert files_in(resolve(handle)) == files()
    first, *others = host.asked
    assert first.headers["range"] == f"bytes=0-{RANGE_BYTES - 1}" and "if-range" not in first.headers
    assert {asked.headers["if-range"] for asked in others} == {'"one"'}
    assert {asked.status for asked in host.asked} == {206} and len(host.asked) == RANGES
    assert len({asked.connection for asked in host.asked}) == CONNECTIONS
    assert (host.sent_bytes(), host.twice_bytes()) == (SIZE, 0)


@pytest.mark.parametrize("connections", ["1", "3"])
def test_no_more_connections_are_made_than_are_set(connections: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECTIONS", connections)
    assert files_in(resolve(host.put("/m.tar.gz", archive(), together(int(connections)), paced(1 << 14, 0.01)))) == files()
    assert len({asked.connection for asked in host.asked}) == int(connections) and host.twice_bytes() == 0


@pytest.mark.parametrize(("range_bytes", "asked"), [(SIZE - 1, 2), (SIZE, 1), (SIZE + 1, 1), (SIZE // 2 + 1, 2)])
def test_an_archive_about_as_long_as_its_ranges_comes_whole(
    range_bytes: int, asked: int, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", range_bytes)
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert len(host.asked) == asked and host.sent_bytes() == SIZE and left_in(cache_dir) == WHOLE


def test_a_range_has_eight_mebibytes(host: Host) -> None:
    body = archive(9_000_000)
    path = run("import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))", host.put("/m.tar.gz", body))
    assert files_in(path) == files(9_000_000)
    assert sorted(asked.sent for asked in host.asked) == [len(body) - (8 << 20), 8 << 20]


def retagged(reply: Reply) -> None:
    """The page changes all the time, and the server does not look at If-Range."""
    reply.answer(etag=f'"{reply.number}"', heeds_if_range=False)


def total_off(by: int) -> Fault:
    """The whole is said to be of another length, in each answer the same."""
    return lambda reply: reply.put("Content-Range", reply.headers["Content-Range"].replace(f"/{SIZE}", f"/{SIZE + by}"))


def longer(reply: Reply) -> None:
    """More than the range that was asked for, and than what is said to come."""
    if reply.status == 206:
        reply.body = memoryview(reply.page.body)[reply.first : reply.first + len(reply.body) + 1000]


def ignored(reply: Reply) -> None:
    reply.answer(ranges=False)


LATER = RANGE_BYTES * 4
# All ranges, those that eight connections asked for in vain, and all ranges again.
ANEW = RANGES * 2 + CONNECTIONS
# Two times the first range and then one of another version on each connection, and one stream.
MOST_ASKED = 2 * (2 + CONNECTIONS) + 1


@rows(
    Row("ETag changes once, 200", (after(4, page(etag='"two"')),), asked=(5, ANEW), twice_bytes=SIZE * 9),
    Row(
        "ETag changes once, 206", (after(4, page(etag='"two"', heeds_if_range=False)),), asked=(5, ANEW), twice_bytes=SIZE * 2
    ),
    Row(
        "ETag differs in every answer", (retagged,), asked=(3, MOST_ASKED), twice_bytes=SIZE * 3,
        environment={"TFIMM_RESOLVER_RETRIES": "0"},
    ),
    Row("range ignored at first", (ignored,), asked=(1, 1)),
    Row("range ignored later", (on_range_at(LATER, ignored),), asked=(5, 5 + 2 * CONNECTIONS), twice_bytes=SIZE * 9),
    Row("range ignored once", (on(5, ignored),), asked=(5, ANEW), twice_bytes=SIZE * 9),
    Row("wrong range at first", (shifted(10),), asked=(2, 2), twice_bytes=SIZE),
    Row("wrong range later", (on_range_at(LATER, shifted(10)),), asked=(5, 5 + 2 * CONNECTIONS), twice_bytes=SIZE * 2),
    Row("206 without a validator", (), page={"etag": None, "modified": None}, asked=(2, 2), twice_bytes=SIZE),
    Row("Last-Modified alone", (), page={"etag": None}, asked=(RANGES, RANGES)),
    Row("weak ETag, and Last-Modified", (), page={"etag": 'W/"one"'}, asked=(2, 2), twice_bytes=SIZE),
    Row("weak ETag alone", (), page={"etag": 'W/"one"', "modified": None}, asked=(2, 2), twice_bytes=SIZE),
    Row("416 at first", (on(1, says(416)),), asked=(2, RANGES + 1)),
    Row("416 to every range", (lambda reply: reply.say(416) if "range" in reply.asked.headers else None,), asked=(2, 2)),
    Row("416 later, once", (on(5, says(416, Content_Range="bytes */1")),), asked=(6, ANEW), twice_bytes=SIZE * 2),
    Row("total too big", (on_range_at(0, total_off(1000)),), asked=(RANGES, RANGES + 2), twice_bytes=SIZE),
    Row("total too small", (on_range_at(0, total_off(-1000)),), error=ArchiveError, left=NOTHING, asked=(RANGES - 1, RANGES)),
    Row("more than the range", (longer,), asked=(RANGES, RANGES), twice_bytes=SIZE),
    Row("more than the range, chunked", (longer, framed("chunked")), asked=(RANGES, RANGES), twice_bytes=SIZE),
    Row("no Accept-Ranges", (with_header("Accept-Ranges", None),), asked=(RANGES, RANGES)),
    Row("206 without Content-Range", (with_header("Content-Range", None),), asked=(2, 2), twice_bytes=SIZE),
    *(
        Row(
            f"Content-Range {value!r}", (with_header("Content-Range", None), with_header("Content-Range", value)),
            asked=(2, 2), twice_bytes=SIZE,
        )
        for value in ("bytes 0-", f"bytes 0-9/{SIZE}", "bytes 0-131071/*", "bytes 5-1/2", "lines 0-9/10")
    ),
)  # fmt: skip
def test_ranges_that_do_not_fit_never_make_a_wrong_model(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_page_that_changes_between_ranges_comes_as_the_new_one(heeds_if_range: bool, host: Host, cache_dir: Path) -> None:
    new = {**files(), "saved_model.pb": b"a graph, changed"}
    handle = host.put("/m.tar.gz", archive(), after(4, page(body=tar_gz(new), etag='"two"', heeds_if_range=heeds_if_range)))
    assert files_in(resolve(handle)) == new and left_in(cache_dir) == WHOLE


def test_a_page_that_changes_under_an_old_date_and_length_is_not_mixed(host: Host, cache_dir: Path) -> None:
    """The server breaks its promise; the archive's own checks are what is left."""
    other = bytearray(archive())
    other[SIZE // 2] ^= 1
    handle = host.put("/m.tar.gz", archive(), after(4, page(body=bytes(other), etag=None)), etag=None)
    with pytest.raises(FetchError):
        resolve(handle)
    assert left_in(cache_dir) == NOTHING


def test_a_download_that_is_let_go_writes_nothing_more(host: Host, tmp_path: Path) -> None:
    """As after an interrupt before anybody reads: the next call goes on with the same parts."""
    gate = Gate(SIZE // 2)
    url = host.put("/m.tar.gz", archive(), gated(gate))
    untouched = download.open_download("m", url, PartStore(tmp_path / "untouched"), RetryPolicy())
    untouched.close()
    body = download.open_download("m", url, PartStore(tmp_path / "parts"), RetryPolicy())
    assert body.read(1)
    body.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*/*")}
    gate.go.set()
    time.sleep(0.5)
    assert {path.name: path.stat().st_size for path in tmp_path.glob("*/*")} == sizes
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tfimm_resolver")]


@pytest.mark.parametrize(("age_s", "requests"), [(0, 2), (50, 2), (70, RANGES)])
def test_a_date_counts_only_when_it_is_older_than_the_answer_by_a_minute(age_s: int, requests: int, host: Host) -> None:
    modified = formatdate(time.time() - age_s, usegmt=True)
    assert files_in(resolve(host.put("/m.tar.gz", archive(), etag=None, modified=modified))) == files()
    assert len(host.asked) == requests


def test_a_part_that_nobody_asked_for_is_refused(host: Host, cache_dir: Path) -> None:
    """A tar from its second member on is a tar."""
    half = tar_of(member("saved_model.pb", b"graph"), member("second", b"x"))
    part = says(206, half[1024:], Content_Range=f"bytes 1024-{len(half) - 1}/{len(half)}")
    with pytest.raises(FetchError, match="206"):
        resolve(host.put("/m.tar", half, part, etag=None, modified=None))
    assert left_in(cache_dir) == NOTHING
