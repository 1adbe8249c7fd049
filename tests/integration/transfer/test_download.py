"""Faults of connections and servers: short bodies, flipped bits, resets, errors, stalls; in ranges and as one stream."""

from __future__ import annotations

import contextlib
import re
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults import NOTHING, PARTS, RANGE_BYTES, RANGES, Row, archive, check, check_outcome, files, rows
from tests.fakes.faults.origin import (
    Fault,
    Host,
    Response,
    after_request,
    answer_with,
    cut,
    flip_bits,
    limit_connections,
    never_answer,
    offset_length,
    on_range_from,
    on_request,
    pace_body,
    reset_connection,
    set_framing,
    stall_after,
    wait_for_requests,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, NotFoundError, TransferTimeoutError

STREAM = {"ranges": False}
ONE_RETRY = {"TFIMM_RESOLVER_RETRIES": "1"}
IMPATIENT = {"TFIMM_RESOLVER_READ_TIMEOUT_S": "0.5", "TFIMM_RESOLVER_RETRIES": "2"}
SIZE = len(archive())
# What a connection that breaks may lose: the unread bytes in its buffers.
CHUNK_BYTES = RANGE_BYTES

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def in_ranges(name: str, *faults: object, **expected: object) -> Row:
    """Return a row for a download in ranges; by default at most one request more than there are ranges."""
    return Row(f"{name}, in ranges", faults, **{"requests": (RANGES, RANGES + 1), **expected})  # type: ignore[arg-type]


def as_stream(name: str, *faults: object, **expected: object) -> Row:
    """Return a row for a download from a server without ranges."""
    return Row(f"{name}, as a stream", faults, page=STREAM, **{"requests": (2, 2), "resent_bytes": SIZE, **expected})  # type: ignore[arg-type]


def make_short_rows(how: str) -> list[Row]:
    """Return rows for a body that ends early: once and always, in the first range, in a later one, and in a stream."""
    fault = (set_framing(how), cut(0.5))
    rows = [
        in_ranges(f"short body, {how}, once at first", on_request(1, *fault), requests=(RANGES + 1, RANGES + 1)),
        in_ranges(f"short body, {how}, once later", on_request(5, *fault), requests=(RANGES + 1, RANGES + 1)),
        in_ranges(
            f"short body, {how}, always after 70 kB", set_framing(how), cut(70_000), requests=(RANGES * 2 - 1, RANGES * 2)
        ),
        in_ranges(
            f"short body, {how}, always at nothing",
            after_request(5, set_framing(how), cut(0)),
            error=FetchError,
            words=("/m.tar.gz", "connection broke"),
            left=PARTS,
            requests=(7, RANGES * 2),
            environment=ONE_RETRY,
        ),
    ]
    if how == "close":  # Nothing tells that it is short; only the archive does.
        return [
            *rows,
            as_stream("short body, close, once", on_request(1, *fault), error=ArchiveError, left=NOTHING, requests=(1, 1)),
        ]
    return [
        *rows,
        as_stream(f"short body, {how}, once", on_request(1, *fault), resent_bytes=SIZE // 2),
        as_stream(
            f"short body, {how}, always",
            *fault,
            error=FetchError,
            words=("/m.tar.gz", "connection broke"),
            left=NOTHING,
            environment=ONE_RETRY,
        ),
    ]


@rows(*make_short_rows("length"), *make_short_rows("chunked"), *make_short_rows("close"))
def test_a_short_body_is_detected_and_resumed(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(row, host, cache_dir, monkeypatch)


def test_a_connection_that_breaks_repeatedly_is_retried_as_long_as_bytes_arrive(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", 1 << 18)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "1")
    assert files_in(resolve(host.put("/m.tar.gz", archive(), cut(70_000)))) == files()
    assert len(host.requests) > 3 * (SIZE >> 18)


OFFSETS = {"body": SIZE // 2, "magic number": 0, "method": 2, "flags": 3, "crc": -8, "length": -1}


@rows(
    *(
        make(
            f"flipped bit in the {field}",
            flip_bits(offset),
            error=ArchiveError,
            left=NOTHING,
            requests=counts,
            # Without its magic number a gzip is not known to have a checksum, so it is downloaded again in one stream.
            resent_bytes=4 * RANGE_BYTES if field == "magic number" else 0,
        )
        for field, offset in OFFSETS.items()
        for make, counts in ((in_ranges, (1, RANGES)), (as_stream, (1, 1)))
    )
)
def test_a_flipped_bit_is_detected_and_nothing_is_kept_or_retried(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(row, host, cache_dir, monkeypatch).startswith(f"{host.url}/m.tar.gz")


@rows(
    in_ranges("dropped once at first", on_request(1, cut(0.5, reset=True)), resent_bytes=CHUNK_BYTES),
    in_ranges("dropped once later", on_request(5, cut(0.5, reset=True)), resent_bytes=CHUNK_BYTES),
    in_ranges("dropped once before the answer", on_request(1, reset_connection), requests=(RANGES + 1, RANGES + 1)),
    in_ranges("dropped once before a later answer", on_request(5, reset_connection), requests=(RANGES + 1, RANGES + 1)),
    in_ranges(
        "dropped always after some",
        after_request(5, reset_connection),
        error=FetchError,
        left=PARTS,
        requests=(7, RANGES * 2),
        environment=ONE_RETRY,
    ),
    in_ranges("dropped always", reset_connection, error=FetchError, left=NOTHING, requests=(2, 2), environment=ONE_RETRY),
    as_stream("dropped once", on_request(1, cut(0.5, reset=True))),
    as_stream("dropped once before the answer", on_request(1, reset_connection), resent_bytes=0),
    as_stream("dropped always", cut(0.5, reset=True), error=FetchError, left=NOTHING, environment=ONE_RETRY),
)
def test_a_dropped_connection_is_made_again(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = check(row, host, cache_dir, monkeypatch)
    assert not text or "/m.tar.gz" in text


RETRIED = (408, 425, 429, 500, 502, 503, 504)
REFUSED = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}


@rows(
    *(
        in_ranges(f"{status} once", on_request(1, answer_with(status)), requests=(RANGES + 1, RANGES + 1))
        for status in RETRIED
    ),
    *(
        in_ranges(f"{status} once later", on_request(5, answer_with(status)), requests=(RANGES + 1, RANGES + 1))
        for status in (500, 503)
    ),
    *(as_stream(f"{status} once", on_request(1, answer_with(status)), resent_bytes=0) for status in (500, 503)),
    *(
        make(
            f"{status} always",
            answer_with(status, b"so be it"),
            error=FetchError,
            words=(f" {status} ", "so be it", "/m.tar.gz"),
            left=NOTHING,
            requests=(2, 2),
            environment=ONE_RETRY,
        )
        for status in (429, 500, 503)
        for make in (in_ranges, as_stream)
    ),
    in_ranges(
        "404 whose page breaks off",
        answer_with(404, b"no such page" * 9),
        cut(0.5),
        error=NotFoundError,
        words=(" 404 ",),
        left=NOTHING,
        requests=(1, 1),
    ),
    in_ranges(
        "404 whose page stalls",
        answer_with(404, b"no such page" * 9),
        stall_after(0.5),
        error=NotFoundError,
        words=(" 404 ",),
        left=NOTHING,
        requests=(1, 1),
        environment=IMPATIENT,
    ),
    in_ranges(
        "500 always, after some",
        after_request(5, answer_with(500)),
        error=FetchError,
        words=(" 500 ",),
        left=PARTS,
        requests=(7, RANGES * 2),
        environment=ONE_RETRY,
    ),
    *(
        in_ranges(f"{status} always", answer_with(status), error=kind, words=(f" {status} ",), left=NOTHING, requests=(1, 1))
        for status, kind in REFUSED.items()
    ),
    *(
        in_ranges(
            f"{status} after some",
            after_request(5, answer_with(status)),
            error=kind,
            words=(f" {status} ",),
            left=PARTS,
            requests=(6, 5 + 8),
            environment={"TFIMM_RESOLVER_RETRIES": "5"},
        )
        for status, kind in REFUSED.items()
    ),
)
def test_a_server_error_is_retried_and_a_refusal_is_not(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("seconds", 429),
        ("date", 503),
        pytest.param("seconds", 503, marks=pytest.mark.long),
        pytest.param("date", 429, marks=pytest.mark.long),
    ],
)
def test_retry_after_is_obeyed(status: int, form: str, host: Host) -> None:
    def answer(response: Response) -> None:
        # A date has whole seconds: one that is 3 s ahead of the answer is more than 1 s away.
        value = "1" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
        answer_with(status, Retry_After=value)(response)

    handle = host.put("/m.tar.gz", archive(), on_request(1, answer))
    assert files_in(resolve(handle)) == files()
    first, second, *_ = host.requests
    assert 0.9 < second.at_s - first.at_s < 40


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_of_an_hour_is_an_error_without_a_wait(form: str, host: Host, cache_dir: Path) -> None:
    value = "3600" if form == "seconds" else formatdate(time.time() + 3600, usegmt=True)
    handle = host.put("/m.tar.gz", archive(), answer_with(429, Retry_After=value))
    row = Row("", (), error=FetchError, words=(" 429 ", "/m.tar.gz"), left=NOTHING)
    match = re.search(r"asked to retry after (\d+) s", check_outcome(handle, row, cache_dir))
    assert match and 3500 < int(match[1]) <= 3600
    assert len(host.requests) == 1


@pytest.mark.parametrize("value", ["-5", "soon", "1e3", "", "Sat, 01 Nov 2025 10:00:00 GMT", "99999999999999999999999"])
def test_a_malformed_retry_after_is_ignored(value: str, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", archive(), on_request(1, answer_with(503, Retry_After=value)))
    if value.startswith("999"):
        with pytest.raises(FetchError):
            resolve(handle)
    else:
        assert files_in(resolve(handle)) == files()


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_allows_two_connections_gets_two(status: int, host: Host) -> None:
    faults = limit_connections(2, answer_with(status)), wait_for_requests(3), pace_body(1 << 14, 0.01)
    handle = host.put("/m.tar.gz", archive(), *faults)
    assert files_in(resolve(handle)) == files()
    refusals = [request for request in host.requests if request.status == status]
    assert 1 <= len(refusals) <= 8 and host.count_resent_bytes() == 0
    assert len({request.connection for request in host.requests if request.status == 206}) == 2


@pytest.mark.parametrize("page", [{}, STREAM], ids=["in ranges", "as a stream"])
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (stall_after(0.25), "stall at 25 %"),
        (never_answer, "stall before the headers"),
        (pace_body(1, 1.0), "trickle of a byte a second"),
        pytest.param(pace_body(1, 0.1), "trickle of ten bytes a second", marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_stalls_or_trickles_is_timed_out(
    fault: Fault, name: str, page: dict[str, object], host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(
        name,
        (fault,),
        error=TransferTimeoutError,
        words=("/m.tar.gz", "TFIMM_RESOLVER_READ_TIMEOUT_S"),
        left=PARTS if not page and fault is not never_answer else NOTHING,
        requests=(1, 2 * 8),
        resent_bytes=2 * SIZE,
        page=page,
        environment=IMPATIENT,
    )
    started_s = time.monotonic()
    check(row, host, cache_dir, monkeypatch)
    assert time.monotonic() - started_s < 45


@rows(
    in_ranges("stall once", on_request(1, stall_after(0.5)), environment=IMPATIENT),
    in_ranges("stall once later", on_request(5, stall_after(0.5)), environment=IMPATIENT),
    in_ranges("stall once before later headers", on_request(5, never_answer), environment=IMPATIENT),
    as_stream("stall once", on_request(1, stall_after(0.5)), environment=IMPATIENT),
)
def test_a_transient_stall_is_resumed(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(row, host, cache_dir, monkeypatch)


def test_an_error_is_raised_although_other_connections_still_wait(host: Host, cache_dir: Path) -> None:
    def fail_ninth(response: Response) -> None:
        if response.number > 2:
            (answer_with(404) if response.number == 9 else never_answer)(response)

    handle = host.put("/m.tar.gz", archive(), fail_ninth)
    started_s = time.monotonic()
    check_outcome(handle, Row("", (), error=NotFoundError, words=(" 404 ",), left=PARTS), cache_dir)
    # Each of the others may wait 30 s for its response; none of them is waited for.
    assert time.monotonic() - started_s < 25


def test_a_slow_connection_that_keeps_sending_is_not_timed_out(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 1.5 s in all, and pauses for a tenth of the timeout, which a busy machine may lengthen, but not each time."""
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "1")
    small = tar_gz()

    def count_requests(number: int) -> int:
        handle, before = host.put(f"/{number}.tar.gz", small, pace_body(len(small) // 15, 0.1)), len(host.requests)
        with contextlib.suppress(TransferTimeoutError):
            assert files_in(resolve(handle)) == MODEL
            return len(host.requests) - before
        return 0

    assert any(count_requests(number) == 1 for number in range(5))


@rows(
    in_ranges(
        "length too big once", on_request(1, offset_length(100)), requests=(RANGES, RANGES + 2), resent_bytes=RANGE_BYTES
    ),
    in_ranges(
        "length too small once",
        on_request(1, offset_length(-100)),
        requests=(RANGES, RANGES + 2),
        resent_bytes=RANGE_BYTES,
    ),
    in_ranges(
        "length too big later", on_request(5, offset_length(100)), requests=(RANGES, RANGES + 2), resent_bytes=RANGE_BYTES
    ),
    in_ranges(
        "length too small later",
        on_request(5, offset_length(-100)),
        requests=(RANGES, RANGES + 2),
        resent_bytes=RANGE_BYTES,
    ),
    as_stream("length too big once", on_request(1, offset_length(100))),
    as_stream(
        "length too big always",
        offset_length(100),
        error=FetchError,
        words=("connection broke",),
        left=NOTHING,
        environment=ONE_RETRY,
    ),
    as_stream("length too small", offset_length(-100), error=ArchiveError, left=NOTHING, requests=(1, 1)),
)
def test_a_wrong_content_length_never_makes_a_wrong_model(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("at", ["at first", "later"])
def test_a_page_of_html_with_status_200_is_quoted_and_not_kept(
    at: str, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = answer_with(200, b"<!doctype html><p>Please log in", Content_Type="text/html")
    fault, counts = (html, (1, 1)) if at == "at first" else (after_request(3, html), (4, 20))
    row = Row(
        "",
        (fault,),
        error=ArchiveError,
        words=("HTML page: 'Please log in'",),
        left=NOTHING,
        requests=counts,
        resent_bytes=SIZE,
    )
    check(row, host, cache_dir, monkeypatch)


def test_the_last_range_is_waited_for_as_long_as_any(host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = on_range_from(SIZE - SIZE % RANGE_BYTES, stall_after(0.5))
    counts = (RANGES + 1, RANGES + 1)
    row = Row("", (last,), error=TransferTimeoutError, left=PARTS, requests=counts, environment=IMPATIENT)
    check(row, host, cache_dir, monkeypatch)
