"""Downloads with range requests, and ranges that do not fit together."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, member, tar_gz, tar_of
from tests.fakes.faults import COMPLETE, NOTHING, RANGE_BYTES, RANGES, Row, archive, check, files, list_kinds, rows
from tests.fakes.faults.origin import (
    Fault,
    Gate,
    Host,
    Response,
    after_request,
    answer_with,
    change_page,
    hold_at,
    on_range_from,
    on_request,
    pace_body,
    set_framing,
    set_header,
    shift_range,
    wait_for_requests,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run, wait_until
from tfimm_resolver import resolve
from tfimm_resolver.errors import ArchiveError, FetchError
from tfimm_resolver.http.retry import RetryPolicy
from tfimm_resolver.transfer import download
from tfimm_resolver.transfer.partial_store import PartStore

SIZE = len(archive())
CONNECTIONS = 8

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def test_a_large_archive_is_downloaded_over_eight_connections_and_every_byte_once(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), wait_for_requests(CONNECTIONS))
    assert files_in(resolve(handle)) == files()
    first, *others = host.requests
    assert first.headers["range"] == f"bytes=0-{RANGE_BYTES - 1}" and "if-range" not in first.headers
    assert {request.headers["if-range"] for request in others} == {'"one"'}
    assert {request.status for request in host.requests} == {206} and len(host.requests) == RANGES
    assert len({request.connection for request in host.requests}) == CONNECTIONS
    assert (host.count_sent_bytes(), host.count_resent_bytes()) == (SIZE, 0)


@pytest.mark.parametrize("connections", ["1", "3"])
def test_the_number_of_connections_is_limited_by_the_setting(
    connections: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECTIONS", connections)
    assert (
        files_in(resolve(host.put("/m.tar.gz", archive(), wait_for_requests(int(connections)), pace_body(1 << 14, 0.01))))
        == files()
    )
    assert len({request.connection for request in host.requests}) == int(connections) and host.count_resent_bytes() == 0


@pytest.mark.parametrize(("range_bytes", "count"), [(SIZE - 1, 2), (SIZE, 1), (SIZE + 1, 1), (SIZE // 2 + 1, 2)])
def test_an_archive_about_as_long_as_its_ranges_is_complete(
    range_bytes: int, count: int, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", range_bytes)
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert len(host.requests) == count and host.count_sent_bytes() == SIZE and list_kinds(cache_dir) == COMPLETE


def test_a_range_has_eight_mebibytes(host: Host) -> None:
    body = archive(9_000_000)
    path = run("import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))", host.put("/m.tar.gz", body))
    assert files_in(path) == files(9_000_000)
    assert sorted(request.sent for request in host.requests) == [len(body) - (8 << 20), 8 << 20]


def change_etag(response: Response) -> None:
    """Change the ETag in every response, and ignore If-Range."""
    response.rebuild(etag=f'"{response.number}"', honors_if_range=False)


def offset_total(by: int) -> Fault:
    """State another total size, the same in each response."""
    return lambda response: response.put(
        "Content-Range", response.headers["Content-Range"].replace(f"/{SIZE}", f"/{SIZE + by}")
    )


def extend_body(response: Response) -> None:
    """Send more than the requested, and declared, range."""
    if response.status == 206:
        response.body = memoryview(response.page.body)[response.first : response.first + len(response.body) + 1000]


def ignore_range(response: Response) -> None:
    """Send the complete page."""
    response.rebuild(ranges=False)


LATER = RANGE_BYTES * 4
# All ranges, one useless request per connection, and all ranges again.
RESTART = RANGES * 2 + CONNECTIONS
# Twice the first range and then one of another version on each connection; then one stream.
MAX_REQUESTS = 2 * (2 + CONNECTIONS) + 1


@rows(
    Row(
        "ETag changes once, 200",
        (after_request(4, change_page(etag='"two"')),),
        requests=(5, RESTART),
        resent_bytes=SIZE * 9,
    ),
    Row(
        "ETag changes once, 206",
        (after_request(4, change_page(etag='"two"', honors_if_range=False)),),
        requests=(5, RESTART),
        resent_bytes=SIZE * 2,
    ),
    Row(
        "ETag differs in every answer",
        (change_etag,),
        requests=(3, MAX_REQUESTS),
        resent_bytes=SIZE * 3,
        environment={"TFIMM_RESOLVER_RETRIES": "0"},
    ),
    Row("range ignore_range at first", (ignore_range,), requests=(1, 1)),
    Row(
        "range ignore_range later",
        (on_range_from(LATER, ignore_range),),
        requests=(5, 5 + 2 * CONNECTIONS),
        resent_bytes=SIZE * 9,
    ),
    Row("range ignore_range once", (on_request(5, ignore_range),), requests=(5, RESTART), resent_bytes=SIZE * 9),
    Row("wrong range at first", (shift_range(10),), requests=(2, 2), resent_bytes=SIZE),
    Row(
        "wrong range later",
        (on_range_from(LATER, shift_range(10)),),
        requests=(5, 5 + 2 * CONNECTIONS),
        resent_bytes=SIZE * 2,
    ),
    Row("206 without a validator", (), page={"etag": None, "modified": None}, requests=(2, 2), resent_bytes=SIZE),
    Row("Last-Modified alone", (), page={"etag": None}, requests=(RANGES, RANGES)),
    Row("weak ETag, and Last-Modified", (), page={"etag": 'W/"one"'}, requests=(2, 2), resent_bytes=SIZE),
    Row("weak ETag alone", (), page={"etag": 'W/"one"', "modified": None}, requests=(2, 2), resent_bytes=SIZE),
    Row("416 at first", (on_request(1, answer_with(416)),), requests=(2, RANGES + 1)),
    Row(
        "416 to every range",
        (lambda response: response.respond(416) if "range" in response.request.headers else None,),
        requests=(2, 2),
    ),
    Row(
        "416 later, once",
        (on_request(5, answer_with(416, Content_Range="bytes */1")),),
        requests=(6, RESTART),
        resent_bytes=SIZE * 2,
    ),
    Row("total too big", (on_range_from(0, offset_total(1000)),), requests=(RANGES, RANGES + 2), resent_bytes=SIZE),
    Row(
        "total too small",
        (on_range_from(0, offset_total(-1000)),),
        error=ArchiveError,
        left=NOTHING,
        requests=(RANGES - 1, RANGES),
    ),
    Row("more than the range", (extend_body,), requests=(RANGES, RANGES), resent_bytes=SIZE),
    Row("more than the range, chunked", (extend_body, set_framing("chunked")), requests=(RANGES, RANGES), resent_bytes=SIZE),
    Row("no Accept-Ranges", (set_header("Accept-Ranges", None),), requests=(RANGES, RANGES)),
    Row("206 without Content-Range", (set_header("Content-Range", None),), requests=(2, 2), resent_bytes=SIZE),
    *(
        Row(
            f"Content-Range {value!r}",
            (set_header("Content-Range", None), set_header("Content-Range", value)),
            requests=(2, 2),
            resent_bytes=SIZE,
        )
        for value in ("bytes 0-", f"bytes 0-9/{SIZE}", "bytes 0-131071/*", "bytes 5-1/2", "lines 0-9/10")
    ),
)
def test_ranges_that_do_not_fit_never_make_a_wrong_model(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("honors_if_range", [True, False])
def test_a_page_that_changes_between_ranges_is_downloaded_in_its_new_version(
    honors_if_range: bool, host: Host, cache_dir: Path
) -> None:
    new = {**files(), "saved_model.pb": b"a graph, changed"}
    handle = host.put(
        "/m.tar.gz", archive(), after_request(4, change_page(body=tar_gz(new), etag='"two"', honors_if_range=honors_if_range))
    )
    assert files_in(resolve(handle)) == new and list_kinds(cache_dir) == COMPLETE


def test_a_page_that_changes_under_an_old_date_and_length_is_not_mixed(host: Host, cache_dir: Path) -> None:
    """The validator lies; only the checksum of the archive is left to detect it."""
    other = bytearray(archive())
    other[SIZE // 2] ^= 1
    handle = host.put("/m.tar.gz", archive(), after_request(4, change_page(body=bytes(other), etag=None)), etag=None)
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == NOTHING


def test_a_closed_download_writes_nothing_more(host: Host, tmp_path: Path) -> None:
    """As after an interrupt before the first read: the next call resumes the same parts."""
    gate, before = Gate(SIZE // 2), {*threading.enumerate()}
    url = host.put("/m.tar.gz", archive(), hold_at(gate))
    untouched = download.open_download("m", url, PartStore(tmp_path / "untouched"), RetryPolicy())
    untouched.close()
    body = download.open_download("m", url, PartStore(tmp_path / "parts"), RetryPolicy())
    assert body.read(1)
    body.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*/*")}
    gate.go.set()

    def list_started() -> list[str]:  # an earlier test may still wait for a store that does not answer
        names = [thread.name for thread in {*threading.enumerate()} - before]
        return [name for name in names if name.startswith("tfimm_resolver")]

    wait_until(lambda: not list_started())
    assert {path.name: path.stat().st_size for path in tmp_path.glob("*/*")} == sizes


@pytest.mark.parametrize(("age_s", "requests"), [(0, 2), (40, 2), (70, RANGES)])
def test_a_date_is_a_validator_only_if_it_is_a_minute_older_than_the_response(age_s: int, requests: int, host: Host) -> None:
    modified = formatdate(time.time() - age_s, usegmt=True)
    assert files_in(resolve(host.put("/m.tar.gz", archive(), etag=None, modified=modified))) == files()
    assert len(host.requests) == requests


def test_a_range_that_was_not_requested_is_refused(host: Host, cache_dir: Path) -> None:
    """A tar without its first member is a valid tar."""
    half = tar_of(member("saved_model.pb", b"graph"), member("second", b"x"))
    part = answer_with(206, half[1024:], Content_Range=f"bytes 1024-{len(half) - 1}/{len(half)}")
    with pytest.raises(FetchError, match="206"):
        resolve(host.put("/m.tar", half, part, etag=None, modified=None))
    assert list_kinds(cache_dir) == NOTHING
