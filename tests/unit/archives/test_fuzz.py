"""The fuzzer: it respects its time and seed, reaches every reader, detects violations, and finds none in the unpacker."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import fuzz
from tests.fakes.compression import COMPRESSORS
from tests.fakes.hostile import header
from tests.fakes.zips import STUB
from tfimm_resolver.archives import formats
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError

CASES, SECONDS_LONG = 1000, 60


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"cases": CASES}, id="some cases"),
        pytest.param({"seconds": SECONDS_LONG}, id="as many as fit in a minute", marks=pytest.mark.long),
    ],
)
def test_the_unpacker_has_no_violation_for_any_archive(limits: dict[str, int]) -> None:
    report = fuzz.run(0, **limits)
    assert report.violations == []
    assert report.cases >= CASES and min(report.outcomes["unpacked"], report.outcomes["refused"]) > report.cases / 50


def test_a_seed_always_makes_the_same_archive() -> None:
    assert [fuzz.make_archive(seed) for seed in range(50)] == [fuzz.make_archive(seed) for seed in range(50)]
    assert len({fuzz.make_archive(seed) for seed in range(50)}) > 40


def test_every_reader_is_reached_beyond_its_first_check(tmp_path: Path) -> None:
    """Not only damage that a checksum or a CRC detects: fields are changed together with their checksum."""
    accepted, messages = set(), set()
    for seed in range(600):
        data = fuzz.make_archive(seed)
        (into := tmp_path / str(seed)).mkdir()
        try:
            unpack(io.BytesIO(data), into, fuzz.LIMITS)
        except ArchiveError as error:
            messages.add(error.text)
        else:
            accepted.add("stub" if data.startswith(STUB) else formats.identify(data))
    assert accepted == {formats.ZIP, *COMPRESSORS, "", "stub"}
    for words in (
        "hard link",
        "sparse file",
        "stay inside",
        "over 60 members",
        "octal",
        "truncated",
        "follows",
        "size",
        "encrypted",
        "cannot be unpacked",
        "symbolic link",
    ):
        assert any(words in text for text in messages), words


HARMS: dict[str, Callable[[Path], object]] = {
    "something outside": lambda folder: (folder / "x").write_bytes(b""),
    "another file": lambda folder: (folder / "victim").write_bytes(b"harm"),
    "neither a file": lambda folder: (folder / "into/x").symlink_to("/etc/passwd"),
    "nor a directory": lambda folder: os.mkfifo(folder / "into/x"),
    "was unpacked": lambda folder: (folder / "into/x").touch(mode=0o4755) or (folder / "into/x").chmod(0o4755),
    "the limit being": lambda folder: [(folder / f"into/{number}").touch() for number in range(300)],
    "more was written": lambda folder: (folder / "into/x").write_bytes(bytes(1 << 20)),
    "temporary file": lambda folder: (folder / "into/tmp1234").touch(),
}


@pytest.mark.parametrize("words", HARMS)
def test_a_violation_is_detected(words: str, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    for name in ("into", "beside"):
        (folder / name).mkdir(parents=True)
    (folder / "victim").write_bytes(b"untouched")
    assert list(fuzz.find_violations(folder)) == []
    HARMS[words](folder)
    assert any(words in one for one in fuzz.find_violations(folder))


def test_the_command_line_prints_its_seed_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seed", "11", "--cases", "3"]) == 0
    assert capsys.readouterr().out.startswith("seed 11, 3 cases: {")


def test_a_recomputed_checksum_is_correct() -> None:
    assert fuzz.set_checksum(header(b"a")) == header(b"a")
