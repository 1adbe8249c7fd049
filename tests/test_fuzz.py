"""The fuzz target: it keeps to its time and its seed, reaches every reader, sees what is broken, and finds nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fuzz
from tests.hostile import header
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError

SECONDS = 8


def test_the_unpacker_keeps_its_promises_whatever_comes() -> None:
    report = fuzz.run(0, seconds=SECONDS)
    assert report.broken == []
    assert report.cases > 100 and min(report.outcomes["unpacked"], report.outcomes["refused"]) > report.cases / 50


def test_a_seed_makes_the_same_archive_again() -> None:
    assert [fuzz.archive(seed) for seed in range(50)] == [fuzz.archive(seed) for seed in range(50)]
    assert len({fuzz.archive(seed) for seed in range(50)}) > 40


def test_every_reader_is_reached_beyond_its_first_check(tmp_path: Path) -> None:
    """Damage that a checksum or a CRC would find is not all: fields are changed with their checksum."""
    taken, told = set(), set()
    for seed in range(400):
        data = fuzz.archive(seed)
        (into := tmp_path / str(seed)).mkdir()
        try:
            unpack(io.BytesIO(data), into, fuzz.LIMITS)
        except ArchiveError as error:
            told.add(error.text)
        else:
            taken.add(data[:2] if data[:2] in (b"PK", b"\x1f\x8b") else b"")
    assert taken == {b"PK", b"\x1f\x8b", b""}
    for words in ("hard link", "stay inside", "over 60 members", "octal", "cut short", "follows", "size", "encrypted"):
        assert any(words in text for text in told), words


HARMS: dict[str, Callable[[Path], object]] = {
    "lies outside": lambda place: (place / "x").write_bytes(b""),
    "another file": lambda place: (place / "victim").write_bytes(b"harm"),
    "neither a file": lambda place: (place / "into/x").symlink_to("/etc/passwd"),
    "nor a directory": lambda place: os.mkfifo(place / "into/x"),
    "was unpacked": lambda place: (place / "into/x").touch(mode=0o4755) or (place / "into/x").chmod(0o4755),
    "the limit being": lambda place: [(place / f"into/{number}").touch() for number in range(300)],
    "more was written": lambda place: (place / "into/x").write_bytes(bytes(1 << 20)),
    "temporary file": lambda place: (place / "into/tmp1234").touch(),
}


@pytest.mark.parametrize("told", HARMS)
def test_a_broken_promise_is_seen(told: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    for folder in ("into", "beside"):
        (place / folder).mkdir(parents=True)
    (place / "victim").write_bytes(b"untouched")
    assert list(fuzz.broken(place)) == []
    HARMS[told](place)
    assert any(told in one for one in fuzz.broken(place))


def test_the_command_line_says_its_seed_and_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seed", "11", "--cases", "3"]) == 0
    assert capsys.readouterr().out.startswith("seed 11, 3 cases: {")


def test_a_checksum_that_is_set_anew_is_right() -> None:
    assert fuzz.with_checksum(header(b"a")) == header(b"a")
