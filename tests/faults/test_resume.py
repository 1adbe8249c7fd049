"""Downloads that broke off, and that another call or another process goes on with."""

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
import requests

from tests.archives import files_in, tar_gz
from tests.faults import NOTHING, PARTS, RANGE_BYTES, RANGES, WHOLE, archive, files, left_in
from tests.faults.origin import (
    Gate,
    Host,
    after,
    gated,
    gone,
    on,
    says,
)
from tests.processes import start
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, IntegrityError
from tfimm_resolver.transfer.parallel_ranges import RangedDownload

SIZE = len(archive())
BIG = 4_000_000
# What a connection holds that has not reached the disk when its process dies.
LAST_PIECE_BYTES = 1 << 15
CONNECTIONS = 8
RESOLVE = f"""
    import sys
    from tfimm_resolver.transfer import download
    from tfimm_resolver import resolve
    download.RANGE_BYTES = {1 << 18}  # only the size of a range: sixteen of them in 4 MB
    print(resolve(sys.argv[1]))
"""

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


def broken_off(host: Host, cache_dir: Path, part: float, **environment: str) -> tuple[str, int]:
    """A process that resolves, killed when that part of the archive has come; the handle, and how much is on disk."""
    gate = Gate(int(len(archive(BIG)) * part))
    handle = host.put("/m.tar.gz", archive(BIG), gated(gate))
    killed(start(RESOLVE, handle, **environment), gate, cache_dir)
    gate.end()
    return handle, on_disk(cache_dir)


def killed(job: subprocess.Popen[str], gate: Gate, cache_dir: Path) -> None:
    """Kill a process when it has got all that the gate let pass."""
    with job:
        assert gate.reached.wait(30), job.communicate(timeout=1)
        held = -1
        while held != (held := on_disk(cache_dir)):
            time.sleep(0.2)
        job.send_signal(signal.SIGKILL)
        job.communicate()


def on_disk(cache_dir: Path) -> int:
    """How many bytes lie in parts."""
    return sum(path.stat().st_size for path in cache_dir.glob("*.parts/*") if path.name.isdigit())


@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_killed_download_is_gone_on_with_and_nothing_but_the_last_pieces_comes_twice(
    part: float, host: Host, cache_dir: Path
) -> None:
    handle, held = broken_off(host, cache_dir, part)
    before = len(host.asked)
    assert held >= len(archive(BIG)) * part - CONNECTIONS * LAST_PIECE_BYTES
    host.put("/m.tar.gz", archive(BIG))
    with start(RESOLVE, handle) as job:
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert files_in(out.strip()) == files(BIG) and left_in(cache_dir) == WHOLE
    assert host.twice_bytes() <= CONNECTIONS * LAST_PIECE_BYTES
    again = sum(asked.sent for asked in host.asked[before:])
    assert again <= len(archive(BIG)) - held + LAST_PIECE_BYTES
    assert {asked.headers.get("if-range") for asked in host.asked[before:]} == {'"one"'}


def changed_tag(host: Host) -> bytes:
    body = tar_gz({**files(BIG), "saved_model.pb": b"another graph"})
    host.put("/m.tar.gz", body, etag='"two"')
    return body


def changed_length(host: Host) -> bytes:
    body = tar_gz({**files(BIG), "one": b"more"})
    host.put("/m.tar.gz", body)
    return body


def changed_and_if_range_ignored(host: Host) -> bytes:
    body = tar_gz({**files(BIG), "saved_model.pb": b"another graph"})

    host.put("/m.tar.gz", body, etag='"two"', heeds_if_range=False)
    return body


def no_ranges_any_more(host: Host) -> bytes:
    host.put("/m.tar.gz", archive(BIG), ranges=False)
    return archive(BIG)


def shrunk(host: Host) -> bytes:
    body = tar_gz({"saved_model.pb": b"small"})

    host.put("/m.tar.gz", body, etag='"two"', heeds_if_range=False)  # so that a range behind the end gets 416
    return body


def unsatisfied(host: Host) -> bytes:
    host.put("/m.tar.gz", archive(BIG), on(1, says(416, Content_Range="bytes */1000")))
    return archive(BIG)


@pytest.mark.parametrize(
    "change", [changed_tag, changed_length, changed_and_if_range_ignored, no_ranges_any_more, shrunk, unsatisfied]
)
def test_what_has_changed_since_the_kill_comes_anew(change: Callable[[Host], bytes], host: Host, cache_dir: Path) -> None:
    handle, _ = broken_off(host, cache_dir, 0.3)
    body = change(host)
    came = files_in(resolve(handle))
    (cache_dir.parent / "expected.tar.gz").write_bytes(body)
    assert came == files_in(resolve(cache_dir.parent / "expected.tar.gz"))
    assert list(cache_dir.glob("*.parts")) == []


def test_parts_of_another_handle_are_not_used(host: Host, cache_dir: Path) -> None:
    broken_off(host, cache_dir, 0.5)
    before = len(host.asked)
    other = host.put("/other.tar.gz", archive(BIG))  # the same validator and length, as hosts have it that count
    assert files_in(resolve(other)) == files(BIG)
    assert sum(asked.sent for asked in host.asked[before:]) == len(archive(BIG))


def moved_parts(cache_dir: Path, handle: str) -> None:
    from tfimm_resolver.cache.cache import entry_name_for_key

    (parts,) = cache_dir.glob("*.parts")
    parts.rename(cache_dir / f"{entry_name_for_key(handle)}.parts")


def test_parts_that_say_they_are_of_another_place_are_not_used(host: Host, cache_dir: Path) -> None:
    broken_off(host, cache_dir, 0.5)
    before = len(host.asked)
    other = host.put("/other.tar.gz", archive(BIG))
    moved_parts(cache_dir, other)
    assert files_in(resolve(other)) == files(BIG)
    assert sum(asked.sent for asked in host.asked[before:]) == len(archive(BIG))


def test_damaged_parts_never_make_a_wrong_model(host: Host, cache_dir: Path) -> None:
    handle, _ = broken_off(host, cache_dir, 0.5)
    part = next(path for path in cache_dir.glob("*.parts/*") if path.name.isdigit() and path.stat().st_size > 1000)
    body = bytearray(part.read_bytes())
    body[500] ^= 1
    part.write_bytes(body)
    host.put("/m.tar.gz", archive(BIG))
    with pytest.raises(FetchError):
        resolve(handle)
    assert left_in(cache_dir) == NOTHING
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
    "another place": {"place": "http://127.0.0.1/m.tar.gz"},
    "before the machine started anew": {"boot": "another"},
    "more": {"more": 1},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_parts_that_say_something_else_are_no_obstacle(name: str, host: Host, cache_dir: Path) -> None:
    handle, of = parts_of_a_failure(host, cache_dir)
    damage = DAMAGED[name]
    of.write_bytes(damage if isinstance(damage, bytes) else json.dumps(json.loads(of.read_text()) | damage).encode())
    if name == "other ranges":  # nothing need tell that these are not the ranges, before the archive's own checks
        with contextlib.suppress(FetchError):
            resolve(handle)
        assert left_in(cache_dir) in (WHOLE, NOTHING)
    before = host.sent_bytes()
    assert files_in(resolve(handle, refresh=name == "other ranges")) == files() and left_in(cache_dir) == WHOLE
    assert host.sent_bytes() - before >= SIZE


def parts_of_a_failure(host: Host, cache_dir: Path) -> tuple[str, Path]:
    """A handle whose fetch failed in the middle, and what says what its parts are of; the server is well again."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put("/m.tar.gz", archive(), after(8, gone)))
    (of,) = cache_dir.glob("*.parts/of.json")
    return host.put("/m.tar.gz", archive()), of


def test_a_last_range_of_a_longer_file_is_not_added(host: Host, cache_dir: Path) -> None:
    handle, of = parts_of_a_failure(host, cache_dir)
    for first_byte in range(0, SIZE - RANGE_BYTES, RANGE_BYTES):
        (of.parent / str(first_byte)).write_bytes(archive()[first_byte : first_byte + RANGE_BYTES])
    longer = {**files(), "saved_model.pb": b"another graph", "one": b"more"}
    host.put("/m.tar.gz", tar_gz(longer))  # under the same ETag
    assert files_in(resolve(handle)) == longer and left_in(cache_dir) == WHOLE


def test_a_download_of_which_only_the_unpacking_is_missing_asks_for_no_more_than_a_byte(host: Host, cache_dir: Path) -> None:
    handle, of = parts_of_a_failure(host, cache_dir)
    for first_byte in range(0, SIZE, RANGE_BYTES):
        (of.parent / str(first_byte)).write_bytes(archive()[first_byte : first_byte + RANGE_BYTES])
    before = host.sent_bytes()
    assert files_in(resolve(handle)) == files() and left_in(cache_dir) == WHOLE
    assert host.sent_bytes() - before <= 1


@pytest.mark.parametrize("name", ["0", str(RANGE_BYTES * 2), str(RANGE_BYTES * (RANGES - 1)), "7", "stray"])
def test_a_part_that_is_longer_than_its_range_never_makes_a_wrong_model(name: str, host: Host, cache_dir: Path) -> None:
    handle, of = parts_of_a_failure(host, cache_dir)
    with (of.parent / name).open("ab") as part:
        part.write(bytes(RANGE_BYTES + 1))
    with contextlib.suppress(FetchError):
        assert files_in(resolve(handle)) == files()
    assert left_in(cache_dir) in (WHOLE, NOTHING)
    assert files_in(resolve(handle)) == files()


def test_parts_go_when_a_digest_or_a_pin_differs(host: Host, cache_dir: Path) -> None:
    handle, _ = broken_off(host, cache_dir, 0.5)
    host.put("/m.tar.gz", archive(BIG))
    with pytest.raises(IntegrityError):
        resolve(handle, sha256="0" * 64)
    assert left_in(cache_dir) == NOTHING


def test_two_processes_on_one_cold_archive_make_one_download(host: Host, cache_dir: Path) -> None:
    gate = Gate(len(archive(BIG)) // 3)
    handle = host.put("/m.tar.gz", archive(BIG), gated(gate))
    jobs = [start(RESOLVE, handle) for _ in range(2)]
    assert gate.reached.wait(30)
    time.sleep(1.5)  # the other one is waiting by now
    gate.go.set()
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG)
    assert host.sent_bytes() == len(archive(BIG)) and left_in(cache_dir) == WHOLE


def test_a_waiter_takes_over_the_parts_of_the_one_that_is_killed(host: Host, cache_dir: Path) -> None:
    gate = Gate(len(archive(BIG)) // 2)
    handle = host.put("/m.tar.gz", archive(BIG), gated(gate))
    first = start(RESOLVE, handle)
    assert gate.reached.wait(30)
    with start(RESOLVE, handle) as second:
        time.sleep(1.5)
        host.put("/m.tar.gz", archive(BIG))
        killed(first, gate, cache_dir)
        out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert files_in(out.strip()) == files(BIG) and left_in(cache_dir) == WHOLE
    assert host.twice_bytes() <= CONNECTIONS * LAST_PIECE_BYTES


def broken_by_a_server_that_ends(retries: int, *, ranges: bool = True) -> tuple[subprocess.Popen[str], int, str]:
    """A process that resolves, and the port and handle of its server, which goes away after half of the archive."""
    gate = Gate(len(archive(BIG)) // 2)
    with Host() as host:
        handle = host.put("/m.tar.gz", archive(BIG), gated(gate), ranges=ranges)
        job = start(RESOLVE, handle, TFIMM_RESOLVER_RETRIES=str(retries))
        assert gate.reached.wait(30)
    return job, host.port, handle


def test_a_server_that_starts_anew_is_gone_on_with(cache_dir: Path) -> None:
    job, port, _ = broken_by_a_server_that_ends(retries=5)
    with job, Host(port=port) as again:
        again.put("/m.tar.gz", archive(BIG))
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG) and left_in(cache_dir) == WHOLE
        assert again.sent_bytes() <= len(archive(BIG)) // 2 + CONNECTIONS * LAST_PIECE_BYTES


def test_a_server_that_starts_anew_is_asked_for_a_whole_stream_again(cache_dir: Path) -> None:
    job, port, _ = broken_by_a_server_that_ends(retries=5, ranges=False)
    time.sleep(1)  # by now it was refused once
    with job, Host(port=port) as again:
        again.put("/m.tar.gz", archive(BIG), ranges=False)
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert files_in(out.strip()) == files(BIG) and left_in(cache_dir) == WHOLE


def test_ctrl_c_says_nothing_of_the_connections_that_it_ends(host: Host, cache_dir: Path) -> None:
    code = f"""
        import signal, sys
        from tfimm_resolver.cli import app
        from tfimm_resolver.transfer import download
        download.RANGE_BYTES = {1 << 18}  # only the size of a range
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a background job of a shell does not inherit
        sys.exit(app.main(["resolve", sys.argv[1]]))
    """
    gate = Gate(len(archive(BIG)) // 2)
    with start(code, host.put("/m.tar.gz", archive(BIG), gated(gate))) as job:
        assert gate.reached.wait(30)
        time.sleep(0.5)
        job.send_signal(signal.SIGINT)
        out, err = job.communicate(timeout=30)
    assert job.returncode == 130 and out == "" and err.splitlines()[-1].startswith("interrupted; the next call goes on")
    assert "broke off" not in err and left_in(cache_dir) == PARTS


def test_a_server_that_stays_away_is_told_and_what_came_is_kept(cache_dir: Path) -> None:
    job, _, handle = broken_by_a_server_that_ends(retries=1)
    with job:
        _, err = job.communicate(timeout=60)
    last = err.rpartition("tfimm_resolver.errors.")[2]
    assert job.returncode == 1 and last.startswith(("OfflineError", "FetchError")) and handle in last
    assert left_in(cache_dir) == PARTS


def test_a_failed_download_is_gone_on_with_by_the_next_call(
    host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    handle = host.put("/m.tar.gz", archive(), after(8, gone))
    with pytest.raises(FetchError, match="broke off"):
        resolve(handle)
    held = on_disk(cache_dir)
    assert left_in(cache_dir) == PARTS and held >= RANGE_BYTES
    before = len(host.asked)
    host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert sum(asked.sent for asked in host.asked[before:]) == SIZE - held and left_in(cache_dir) == WHOLE


def test_the_first_answer_is_of_the_first_part_however_late_its_connection_begins(
    host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = gzip.decompress(archive())  # no CRC would tell parts that are in each other's place, only the pin does
    pin = hashlib.sha256(plain).hexdigest()
    with monkeypatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put("/m.tar", plain, after(8, gone)), sha256=pin)
    asked, work, were_late = len(host.asked), RangedDownload._work, []

    def late(self: RangedDownload, *args: object) -> None:
        if any(isinstance(arg, requests.Response) for arg in args):
            until_s = time.monotonic() + 10
            while len(host.asked) < asked + 3 and time.monotonic() < until_s:  # two others have asked for theirs
                time.sleep(0.01)
            were_late.append(len(host.asked) >= asked + 3)
        work(self, *args)

    monkeypatch.setattr(RangedDownload, "_work", late)
    assert files_in(resolve(host.put("/m.tar", plain), sha256=pin)) == files() and left_in(cache_dir) == WHOLE
    assert were_late == [True]
