"""Interrupted downloads, resumed by another call or another process."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.faults import COMPLETE, NOTHING, PARTS, RANGE_BYTES, RANGES, archive, files, list_kinds
from tests.fakes.faults.origin import (
    Gate,
    Host,
    after_request,
    answer_with,
    hold_at,
    on_request,
    reset_connection,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import start, wait_until
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, IntegrityError
from tfimm_resolver.http.response import Response
from tfimm_resolver.transfer.parallel_ranges import RangedDownload

SIZE = len(archive())
BIG = 4_000_000
# The bytes of a connection that have not reached the disk when its process dies.
LAST_CHUNK_BYTES = 1 << 15
CONNECTIONS = 8
RESOLVE = f"""
    import sys
    from tfimm_resolver.transfer import download
    from tfimm_resolver import resolve
    download.RANGE_BYTES = {1 << 18}  # only the size of a range: sixteen of them in 4 MB
    print(resolve(sys.argv[1]))
"""

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def interrupt_download(host: Host, cache_dir: Path, part: float, **environment: str) -> tuple[str, int]:
    """Kill a process that has received that part of the archive; return the handle, and how many bytes are on disk."""
    gate = Gate(int(len(archive(BIG)) * part))
    handle = host.put("/m.tar.gz", archive(BIG), hold_at(gate))
    kill(start(RESOLVE, handle, **environment), gate, cache_dir)
    gate.end()
    return handle, count_stored_bytes(cache_dir)


def wait_until_stored(gate: Gate, cache_dir: Path) -> None:
    """Wait until all bytes that the gate let pass are on disk, except for the last chunks of the connections."""
    assert gate.reached.wait(30)
    wait_until(lambda: count_stored_bytes(cache_dir) >= gate.size_bytes - CONNECTIONS * LAST_CHUNK_BYTES, 30)


def kill(job: subprocess.Popen[str], gate: Gate, cache_dir: Path) -> None:
    """Kill a process once it has written all bytes that the gate let pass."""
    with job:
        assert gate.reached.wait(30), job.communicate(timeout=1)
        wait_until_stored(gate, cache_dir)
        stored_bytes = -1
        while stored_bytes != (stored_bytes := count_stored_bytes(cache_dir)):
            time.sleep(0.2)
        job.send_signal(signal.SIGKILL)
        job.communicate()


def count_stored_bytes(cache_dir: Path) -> int:
    """Count the bytes in parts."""
    return sum(path.stat().st_size for path in cache_dir.glob("*.parts/*") if path.name.isdigit())


@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_killed_download_is_resumed_and_only_the_last_chunks_are_sent_twice(
    part: float, host: Host, cache_dir: Path
) -> None:
    handle, stored_bytes = interrupt_download(host, cache_dir, part)
    before = len(host.requests)
    assert stored_bytes >= len(archive(BIG)) * part - CONNECTIONS * LAST_CHUNK_BYTES
    host.put("/m.tar.gz", archive(BIG))
    with start(RESOLVE, handle) as job:
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert files_in(out.strip()) == files(BIG) and list_kinds(cache_dir) == COMPLETE
    assert host.count_resent_bytes() <= CONNECTIONS * LAST_CHUNK_BYTES
    again = sum(request.sent for request in host.requests[before:])
    assert again <= len(archive(BIG)) - stored_bytes + LAST_CHUNK_BYTES
    assert {request.headers.get("if-range") for request in host.requests[before:]} == {'"one"'}


def change_etag(host: Host) -> bytes:
    """Serve another archive under another ETag."""
    body = tar_gz({**files(BIG), "saved_model.pb": b"another graph"})
    host.put("/m.tar.gz", body, etag='"two"')
    return body


def change_length(host: Host) -> bytes:
    """Serve a longer archive under the same ETag."""
    body = tar_gz({**files(BIG), "one": b"more"})
    host.put("/m.tar.gz", body)
    return body


def change_and_ignore_if_range(host: Host) -> bytes:
    """Serve another archive, and ranges of it in spite of If-Range."""
    body = tar_gz({**files(BIG), "saved_model.pb": b"another graph"})

    host.put("/m.tar.gz", body, etag='"two"', honors_if_range=False)
    return body


def disable_ranges(host: Host) -> bytes:
    """Serve the same archive without ranges."""
    host.put("/m.tar.gz", archive(BIG), ranges=False)
    return archive(BIG)


def shrink(host: Host) -> bytes:
    """Serve a much smaller archive."""
    body = tar_gz({"saved_model.pb": b"small"})

    host.put("/m.tar.gz", body, etag='"two"', honors_if_range=False)  # a range behind the end gets a 416
    return body


def respond_416_once(host: Host) -> bytes:
    """Respond 416 to the first range."""
    host.put("/m.tar.gz", archive(BIG), on_request(1, answer_with(416, Content_Range="bytes */1000")))
    return archive(BIG)


@pytest.mark.parametrize(
    "change", [change_etag, change_length, change_and_ignore_if_range, disable_ranges, shrink, respond_416_once]
)
def test_an_archive_that_has_changed_since_the_kill_is_downloaded_from_the_start(
    change: Callable[[Host], bytes], host: Host, cache_dir: Path
) -> None:
    handle, _ = interrupt_download(host, cache_dir, 0.3)
    body = change(host)
    actual = files_in(resolve(handle))
    (cache_dir.parent / "expected.tar.gz").write_bytes(body)
    assert actual == files_in(resolve(cache_dir.parent / "expected.tar.gz"))
    assert list(cache_dir.glob("*.parts")) == []


def test_parts_of_another_handle_are_not_used(host: Host, cache_dir: Path) -> None:
    interrupt_download(host, cache_dir, 0.5)
    before = len(host.requests)
    other = host.put("/other.tar.gz", archive(BIG))  # the same validator and length, as on hosts whose ETags are counters
    assert files_in(resolve(other)) == files(BIG)
    assert sum(request.sent for request in host.requests[before:]) == len(archive(BIG))


def move_parts(cache_dir: Path, handle: str) -> None:
    """Give the parts to another handle."""
    from tfimm_resolver.cache.cache import entry_name_for_key

    (parts,) = cache_dir.glob("*.parts")
    parts.rename(cache_dir / f"{entry_name_for_key(handle)}.parts")


def test_parts_of_another_url_are_not_used(host: Host, cache_dir: Path) -> None:
    interrupt_download(host, cache_dir, 0.5)
    before = len(host.requests)
    other = host.put("/other.tar.gz", archive(BIG))
    move_parts(cache_dir, other)
    assert files_in(resolve(other)) == files(BIG)
    assert sum(request.sent for request in host.requests[before:]) == len(archive(BIG))


def test_damaged_parts_never_make_a_wrong_model(host: Host, cache_dir: Path) -> None:
    handle, _ = interrupt_download(host, cache_dir, 0.5)
    part = next(path for path in cache_dir.glob("*.parts/*") if path.name.isdigit() and path.stat().st_size > 1000)
    body = bytearray(part.read_bytes())
    body[500] ^= 1
    part.write_bytes(body)
    host.put("/m.tar.gz", archive(BIG))
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == NOTHING
    assert files_in(resolve(handle)) == files(BIG)


DAMAGED = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "no UTF-8": b"\xff\xfe",
    "nothing in it": b"{}",
    "ranges of nothing": {"range_bytes": 0},
    "ranges below nothing": {"range_bytes": -5},
    "a length below nothing": {"size_bytes": -5},
    "a length that is text": {"size_bytes": "4000000"},
    "another length": {"size_bytes": 4_000_001},
    "other ranges": {"range_bytes": 1000},
    "no validator": {"validator": None},
    "another validator": {"validator": '"two"'},
    "another URL": {"place": "http://127.0.0.1/m.tar.gz"},
    "before a reboot": {"boot": "another"},
    "more": {"more": 1},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_parts_with_damaged_metadata_are_not_used(name: str, host: Host, cache_dir: Path) -> None:
    handle, of = fail_download(host, cache_dir)
    damage = DAMAGED[name]
    of.write_bytes(damage if isinstance(damage, bytes) else json.dumps(json.loads(of.read_text()) | damage).encode())
    if name == "other ranges":  # nothing but the checksum of the archive has to detect it
        with contextlib.suppress(FetchError):
            resolve(handle)
        assert list_kinds(cache_dir) in (COMPLETE, NOTHING)
    before = host.count_sent_bytes()
    assert files_in(resolve(handle, refresh=name == "other ranges")) == files() and list_kinds(cache_dir) == COMPLETE
    # Where the first call succeeded, the refresh finds that nothing has changed.
    assert host.count_sent_bytes() - before >= (0 if name == "other ranges" else SIZE)


def fail_download(host: Host, cache_dir: Path) -> tuple[str, Path]:
    """Let a download fail in the middle; return the handle, which works again, and the metadata file of its parts."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put("/m.tar.gz", archive(), after_request(8, reset_connection)))
    (of,) = cache_dir.glob("*.parts/of.json")
    return host.put("/m.tar.gz", archive()), of


def test_a_last_range_of_a_longer_file_is_not_added(host: Host, cache_dir: Path) -> None:
    handle, of = fail_download(host, cache_dir)
    for first_byte in range(0, SIZE - RANGE_BYTES, RANGE_BYTES):
        (of.parent / str(first_byte)).write_bytes(archive()[first_byte : first_byte + RANGE_BYTES])
    longer = {**files(), "saved_model.pb": b"another graph", "one": b"more"}
    host.put("/m.tar.gz", tar_gz(longer))  # under the same ETag
    assert files_in(resolve(handle)) == longer and list_kinds(cache_dir) == COMPLETE


def test_a_download_that_only_has_to_be_unpacked_requests_at_most_a_byte(host: Host, cache_dir: Path) -> None:
    handle, of = fail_download(host, cache_dir)
    for first_byte in range(0, SIZE, RANGE_BYTES):
        (of.parent / str(first_byte)).write_bytes(archive()[first_byte : first_byte + RANGE_BYTES])
    before = host.count_sent_bytes()
    assert files_in(resolve(handle)) == files() and list_kinds(cache_dir) == COMPLETE
    assert host.count_sent_bytes() - before <= 1


@pytest.mark.parametrize("name", ["0", str(RANGE_BYTES * 2), str(RANGE_BYTES * (RANGES - 1)), "7", "stray"])
def test_a_part_that_is_longer_than_its_range_never_makes_a_wrong_model(name: str, host: Host, cache_dir: Path) -> None:
    handle, of = fail_download(host, cache_dir)
    with (of.parent / name).open("ab") as part:
        part.write(bytes(RANGE_BYTES + 1))
    with contextlib.suppress(FetchError):
        assert files_in(resolve(handle)) == files()
    assert list_kinds(cache_dir) in (COMPLETE, NOTHING)
    assert files_in(resolve(handle)) == files()


def test_parts_are_removed_when_a_pin_differs(host: Host, cache_dir: Path) -> None:
    handle, _ = interrupt_download(host, cache_dir, 0.5)
    host.put("/m.tar.gz", archive(BIG))
    with pytest.raises(IntegrityError):
        resolve(handle, sha256="0" * 64)
    assert list_kinds(cache_dir) == NOTHING


def test_two_processes_on_one_cold_archive_make_one_download(host: Host, cache_dir: Path) -> None:
    gate = Gate(len(archive(BIG)) // 3)
    handle = host.put("/m.tar.gz", archive(BIG), hold_at(gate))
    jobs = [start(RESOLVE, handle) for _ in range(2)]
    assert gate.reached.wait(30)
    time.sleep(1.5)  # by now the other one is waiting
    gate.go.set()
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG)
    assert host.count_sent_bytes() == len(archive(BIG)) and list_kinds(cache_dir) == COMPLETE


def test_a_waiter_takes_over_the_parts_of_the_one_that_is_killed(host: Host, cache_dir: Path) -> None:
    gate = Gate(len(archive(BIG)) // 2)
    handle = host.put("/m.tar.gz", archive(BIG), hold_at(gate))
    first = start(RESOLVE, handle)
    assert gate.reached.wait(30)
    with start(RESOLVE, handle) as second:
        time.sleep(1.5)
        host.put("/m.tar.gz", archive(BIG))
        kill(first, gate, cache_dir)
        out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert files_in(out.strip()) == files(BIG) and list_kinds(cache_dir) == COMPLETE
    assert host.count_resent_bytes() <= CONNECTIONS * LAST_CHUNK_BYTES


def start_and_stop_server(cache_dir: Path, retries: int, *, ranges: bool = True) -> tuple[subprocess.Popen[str], int, str]:
    """Start a process, stop its server after half of the archive, and return the process, the port and the handle."""
    gate = Gate(len(archive(BIG)) // 2)
    with Host() as host:
        handle = host.put("/m.tar.gz", archive(BIG), hold_at(gate), ranges=ranges)
        job = start(RESOLVE, handle, TFIMM_RESOLVER_RETRIES=str(retries))
        assert gate.reached.wait(30)
        if ranges:
            wait_until_stored(gate, cache_dir)  # a reset discards what waits to be sent
    return job, host.port, handle


def test_a_download_is_resumed_after_a_restart_of_the_server(cache_dir: Path) -> None:
    job, port, _ = start_and_stop_server(cache_dir, retries=5)
    with job, Host(port=port) as again:
        again.put("/m.tar.gz", archive(BIG))
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG) and list_kinds(cache_dir) == COMPLETE
        assert again.count_sent_bytes() <= len(archive(BIG)) // 2 + CONNECTIONS * LAST_CHUNK_BYTES


def test_a_stream_starts_over_after_a_restart_of_the_server(cache_dir: Path) -> None:
    job, port, _ = start_and_stop_server(cache_dir, retries=5, ranges=False)
    time.sleep(1)  # by now it was refused once
    with job, Host(port=port) as again:
        again.put("/m.tar.gz", archive(BIG), ranges=False)
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG) and list_kinds(cache_dir) == COMPLETE


def test_ctrl_c_prints_nothing_about_the_connections_that_it_ends(host: Host, cache_dir: Path) -> None:
    code = f"""
        import signal, sys
        from tfimm_resolver.cli import app
        from tfimm_resolver.transfer import download
        download.RANGE_BYTES = {1 << 18}  # only the size of a range
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not inherited by a background job of a shell
        sys.exit(app.main(["resolve", sys.argv[1]]))
    """
    gate = Gate(len(archive(BIG)) // 2)
    with start(code, host.put("/m.tar.gz", archive(BIG), hold_at(gate))) as job:
        wait_until_stored(gate, cache_dir)
        job.send_signal(signal.SIGINT)
        out, err = job.communicate(timeout=30)
    assert job.returncode == 130 and out == "" and err.splitlines()[-1].startswith("interrupted; the next run resumes")
    assert "connection broke" not in err and list_kinds(cache_dir) == PARTS


def test_a_server_that_stays_down_is_an_error_and_the_parts_are_kept(cache_dir: Path) -> None:
    job, _, handle = start_and_stop_server(cache_dir, retries=1)
    with job:
        _, err = job.communicate(timeout=60)
    last = err.rpartition("tfimm_resolver.errors.")[2]
    assert job.returncode == 1 and last.startswith(("OfflineError", "FetchError")) and handle in last
    assert list_kinds(cache_dir) == PARTS


def test_the_next_call_resumes_a_failed_download(host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    handle = host.put("/m.tar.gz", archive(), after_request(8, reset_connection))
    with pytest.raises(FetchError, match="connection broke"):
        resolve(handle)
    stored_bytes = count_stored_bytes(cache_dir)
    assert list_kinds(cache_dir) == PARTS and stored_bytes >= RANGE_BYTES
    before = len(host.requests)
    host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert sum(request.sent for request in host.requests[before:]) == SIZE - stored_bytes and list_kinds(cache_dir) == COMPLETE


def test_the_first_response_belongs_to_the_first_range_however_late_its_connection_starts(
    host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = gzip.decompress(archive())  # no CRC detects swapped parts, only the pin does
    pin = hashlib.sha256(plain).hexdigest()
    with monkeypatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put("/m.tar", plain, after_request(8, reset_connection)), sha256=pin)
    before, run, were_late = len(host.requests), RangedDownload._run, []

    def run_late(self: RangedDownload, *args: object) -> None:
        if any(isinstance(arg, Response) for arg in args):
            until_s = time.monotonic() + 45
            while len(host.requests) < before + 3 and time.monotonic() < until_s:  # two others have sent theirs
                time.sleep(0.01)
            were_late.append(len(host.requests) >= before + 3)
        run(self, *args)

    monkeypatch.setattr(RangedDownload, "_run", run_late)
    assert files_in(resolve(host.put("/m.tar", plain), sha256=pin)) == files() and list_kinds(cache_dir) == COMPLETE
    assert were_late == [True]
