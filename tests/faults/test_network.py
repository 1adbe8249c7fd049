"""Faults of the line and of the server: short bodies, flipped bits, resets, errors, stalls; in ranges and as one stream."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.faults import NOTHING, PARTS, RANGE_BYTES, RANGES, Row, archive, check, files, outcome, rows
from tests.faults.origin import (
    Fault,
    Host,
    Reply,
    after,
    cut,
    flipped,
    framed,
    gone,
    length_off,
    on,
    on_range_at,
    paced,
    refused_beyond,
    says,
    silent,
    stalled,
)
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, NotFoundError, TransferTimeoutError

STREAM = {"ranges": False}
ONE_RETRY = {"TFIMM_RESOLVER_RETRIES": "1"}
IMPATIENT = {"TFIMM_RESOLVER_READ_TIMEOUT_S": "0.5", "TFIMM_RESOLVER_RETRIES": "2"}
SIZE = len(archive())
# What a connection may lose that breaks: what lay unread in its buffers.
PIECE_BYTES = RANGE_BYTES

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


def in_ranges(name: str, *faults: object, **expected: object) -> Row:
    """A row of the archive in ranges; unless it says otherwise, one request more than there are ranges."""
    return Row(f"{name}, in ranges", faults, **{"asked": (RANGES, RANGES + 1), **expected})  # type: ignore[arg-type]


def as_stream(name: str, *faults: object, **expected: object) -> Row:
    """A row of the archive from a server without ranges."""
    return Row(f"{name}, as a stream", faults, page=STREAM, **{"asked": (2, 2), "twice_bytes": SIZE, **expected})  # type: ignore[arg-type]


def short(how: str) -> list[Row]:
    """A body that ends early; once, and always, at the first range, at a later one, and at each stream."""
    fault = (framed(how), cut(0.5))
    rows = [
        in_ranges(f"short body, {how}, once at first", on(1, *fault), asked=(RANGES + 1, RANGES + 1)),
        in_ranges(f"short body, {how}, once later", on(5, *fault), asked=(RANGES + 1, RANGES + 1)),
        in_ranges(f"short body, {how}, always after 70 kB", framed(how), cut(70_000), asked=(RANGES * 2 - 1, RANGES * 2)),
        in_ranges(
            f"short body, {how}, always at nothing",
            after(5, framed(how), cut(0)),
            error=FetchError,
            words=("/m.tar.gz", "broke off"),
            left=PARTS,
            asked=(7, RANGES * 2),
            environment=ONE_RETRY,
        ),
    ]
    if how == "close":  # Nothing tells that it is short; only the archive does.
        return [*rows, as_stream("short body, close, once", on(1, *fault), error=ArchiveError, left=NOTHING, asked=(1, 1))]
    return [
        *rows,
        as_stream(f"short body, {how}, once", on(1, *fault), twice_bytes=SIZE // 2),
        as_stream(
            f"short body, {how}, always",
            *fault,
            error=FetchError,
            words=("/m.tar.gz", "broke off"),
            left=NOTHING,
            environment=ONE_RETRY,
        ),
    ]


@rows(*short("length"), *short("chunked"), *short("close"))
def test_a_short_body_is_noticed_and_gone_on_with(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


def test_a_connection_that_breaks_again_and_again_is_made_again_while_bytes_come(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", 1 << 18)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "1")
    assert files_in(resolve(host.put("/m.tar.gz", archive(), cut(70_000)))) == files()
    assert len(host.asked) > 3 * (SIZE >> 18)


PLACES = {"body": SIZE // 2, "magic number": 0, "method": 2, "flags": 3, "crc": -8, "length": -1}


@rows(
    *(
        make(
            f"flipped bit in the {place}", flipped(offset), error=ArchiveError, left=NOTHING, asked=asked,
            # Without its magic number nothing tells that a gzip has a checksum, so that it comes again in one stream.
            twice_bytes=4 * RANGE_BYTES if place == "magic number" else 0,
        )
        for place, offset in PLACES.items()
        for make, asked in ((in_ranges, (1, RANGES)), (as_stream, (1, 1)))
    )
)  # fmt: skip
def test_a_flipped_bit_is_noticed_and_nothing_is_kept_or_asked_again(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(row, host, cache_dir, monkeypatch).startswith(f"{host.url}/m.tar.gz")


@rows(
    in_ranges("dropped once at first", on(1, cut(0.5, reset=True)), twice_bytes=PIECE_BYTES),
    in_ranges("dropped once later", on(5, cut(0.5, reset=True)), twice_bytes=PIECE_BYTES),
    in_ranges("dropped once before the answer", on(1, gone), asked=(RANGES + 1, RANGES + 1)),
    in_ranges("dropped once before a later answer", on(5, gone), asked=(RANGES + 1, RANGES + 1)),
    in_ranges(
        "dropped always after some", after(5, gone), error=FetchError, left=PARTS, asked=(7, RANGES * 2), environment=ONE_RETRY
    ),
    in_ranges("dropped always", gone, error=FetchError, left=NOTHING, asked=(2, 2), environment=ONE_RETRY),
    as_stream("dropped once", on(1, cut(0.5, reset=True))),
    as_stream("dropped once before the answer", on(1, gone), twice_bytes=0),
    as_stream("dropped always", cut(0.5, reset=True), error=FetchError, left=NOTHING, environment=ONE_RETRY),
)
def test_a_dropped_connection_is_made_again(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = check(row, host, cache_dir, monkeypatch)
    assert not text or "/m.tar.gz" in text


RETRIED = (408, 425, 429, 500, 502, 503, 504)
REFUSED = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}


@rows(
    *(in_ranges(f"{status} once", on(1, says(status)), asked=(RANGES + 1, RANGES + 1)) for status in RETRIED),
    *(in_ranges(f"{status} once later", on(5, says(status)), asked=(RANGES + 1, RANGES + 1)) for status in (500, 503)),
    *(as_stream(f"{status} once", on(1, says(status)), twice_bytes=0) for status in (500, 503)),
    *(
        make(
            f"{status} always", says(status, b"so be it"), error=FetchError, words=(f" {status} ", "so be it", "/m.tar.gz"),
            left=NOTHING, asked=(2, 2), environment=ONE_RETRY,
        )
        for status in (429, 500, 503)
        for make in (in_ranges, as_stream)
    ),
    in_ranges(
        "404 whose page breaks off", says(404, b"no such page" * 9), cut(0.5), error=NotFoundError, words=(" 404 ",),
        left=NOTHING, asked=(1, 1),
    ),
    in_ranges(
        "404 whose page stalls", says(404, b"no such page" * 9), stalled(0.5), error=NotFoundError, words=(" 404 ",),
        left=NOTHING, asked=(1, 1), environment=IMPATIENT,
    ),
    in_ranges(
        "500 always, after some", after(5, says(500)), error=FetchError, words=(" 500 ",), left=PARTS,
        asked=(7, RANGES * 2), environment=ONE_RETRY,
    ),
    *(in_ranges(f"{status} always", says(status), error=kind, words=(f" {status} ",), left=NOTHING, asked=(1, 1))
      for status, kind in REFUSED.items()),
    *(in_ranges(f"{status} after some", after(5, says(status)), error=kind, words=(f" {status} ",), left=PARTS,
                asked=(6, 5 + 8), environment={"TFIMM_RESOLVER_RETRIES": "5"})
      for status, kind in REFUSED.items()),
)  # fmt: skip
def test_a_failing_server_is_asked_again_and_a_refusing_one_is_not(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(status: int, form: str, host: Host) -> None:
    # A date has whole seconds, and it is said a moment later: one that is 3 s ahead is over 1 s away.
    value = "1" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    handle = host.put("/m.tar.gz", archive(), on(1, says(status, Retry_After=value)))
    assert files_in(resolve(handle)) == files()
    first, second, *_ = host.asked
    assert 0.9 < second.at_s - first.at_s < 10


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_of_an_hour_is_told_and_not_waited_for(form: str, host: Host, cache_dir: Path) -> None:
    value = "3600" if form == "seconds" else formatdate(time.time() + 3600, usegmt=True)
    handle = host.put("/m.tar.gz", archive(), says(429, Retry_After=value))
    row = Row("", (), error=FetchError, words=(" 429 ", "/m.tar.gz"), left=NOTHING)
    told = re.search(r"to be left alone for (\d+) s", outcome(handle, row, cache_dir))
    assert told and 3500 < int(told[1]) <= 3600
    assert len(host.asked) == 1


@pytest.mark.parametrize("value", ["-5", "soon", "1e3", "", "Sat, 01 Nov 2025 10:00:00 GMT", "99999999999999999999999"])
def test_a_retry_after_that_says_nothing_is_no_obstacle(value: str, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", archive(), on(1, says(503, Retry_After=value)))
    if value.startswith("999"):
        with pytest.raises(FetchError):
            resolve(handle)
    else:
        assert files_in(resolve(handle)) == files()


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_bears_two_connections_is_asked_over_two(status: int, host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), refused_beyond(2, says(status)), paced(1 << 14, 0.01))
    assert files_in(resolve(handle)) == files()
    refusals = [asked for asked in host.asked if asked.status == status]
    assert 1 <= len(refusals) <= 8 and host.twice_bytes() == 0
    assert len({asked.connection for asked in host.asked if asked.status == 206}) == 2


@pytest.mark.parametrize("page", [{}, STREAM], ids=["in ranges", "as a stream"])
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (stalled(0.25), "stall at 25 %"),
        (silent, "stall before the headers"),
        (paced(1, 1.0), "trickle of a byte a second"),
        (paced(1, 0.1), "trickle of ten bytes a second"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_stalls_or_trickles_is_given_up(
    fault: Fault, name: str, page: dict[str, object], host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(
        name,
        (fault,),
        error=TransferTimeoutError,
        words=("/m.tar.gz", "TFIMM_RESOLVER_READ_TIMEOUT_S"),
        left=PARTS if not page and fault is not silent else NOTHING,
        asked=(1, 2 * 8),
        twice_bytes=2 * SIZE,
        page=page,
        environment=IMPATIENT,
    )
    started_s = time.monotonic()
    check(row, host, cache_dir, monkeypatch)
    assert time.monotonic() - started_s < 20


@rows(
    in_ranges("stall once", on(1, stalled(0.5)), environment=IMPATIENT),
    in_ranges("stall once later", on(5, stalled(0.5)), environment=IMPATIENT),
    in_ranges("stall once before later headers", on(5, silent), environment=IMPATIENT),
    as_stream("stall once", on(1, stalled(0.5)), environment=IMPATIENT),
)
def test_a_stall_that_passes_is_gone_on_with(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(row, host, cache_dir, monkeypatch)


def test_an_error_is_told_although_other_connections_still_wait(host: Host, cache_dir: Path) -> None:
    def refused_in_the_end(reply: Reply) -> None:
        if reply.number > 2:
            (says(404) if reply.number == 9 else silent)(reply)

    handle = host.put("/m.tar.gz", archive(), refused_in_the_end)
    started_s = time.monotonic()
    outcome(handle, Row("", (), error=NotFoundError, words=(" 404 ",), left=PARTS), cache_dir)
    # Each of the others may wait for its answer for 30 s; all of them are left behind together.
    assert time.monotonic() - started_s < 8


def test_a_slow_line_that_keeps_sending_is_not_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.5")
    small = tar_gz()
    handle = host.put("/m.tar.gz", small, paced(len(small) // 15, 0.1))
    assert files_in(resolve(handle)) == MODEL
    assert len(host.asked) == 1


@rows(
    in_ranges("length too big once", on(1, length_off(100)), asked=(RANGES, RANGES + 2), twice_bytes=RANGE_BYTES),
    in_ranges("length too small once", on(1, length_off(-100)), asked=(RANGES, RANGES + 2), twice_bytes=RANGE_BYTES),
    in_ranges("length too big later", on(5, length_off(100)), asked=(RANGES, RANGES + 2), twice_bytes=RANGE_BYTES),
    in_ranges("length too small later", on(5, length_off(-100)), asked=(RANGES, RANGES + 2), twice_bytes=RANGE_BYTES),
    as_stream("length too big once", on(1, length_off(100))),
    as_stream(
        "length too big always", length_off(100), error=FetchError, words=("broke off",), left=NOTHING, environment=ONE_RETRY
    ),
    as_stream("length too small", length_off(-100), error=ArchiveError, left=NOTHING, asked=(1, 1)),
)
def test_a_wrong_content_length_never_makes_a_wrong_model(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("at", ["at first", "later"])
def test_a_page_of_html_with_status_200_is_quoted_and_not_kept(
    at: str, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = says(200, b"<!doctype html><p>Please log in", Content_Type="text/html")
    fault, asked = (html, (1, 1)) if at == "at first" else (after(3, html), (4, 20))
    row = Row(
        "", (fault,), error=ArchiveError, words=("HTML page: 'Please log in'",), left=NOTHING, asked=asked, twice_bytes=SIZE
    )
    check(row, host, cache_dir, monkeypatch)


def test_the_last_range_is_waited_for_as_long_as_any(host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = on_range_at(SIZE - SIZE % RANGE_BYTES, stalled(0.5))
    asked = (RANGES + 1, RANGES + 1)
    row = Row("", (last,), error=TransferTimeoutError, left=PARTS, asked=asked, environment=IMPATIENT)
    check(row, host, cache_dir, monkeypatch)
