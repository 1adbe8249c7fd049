"""PartStore of an unfinished download: only what is known to fit is gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tfimm_resolver.errors import CacheError
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore, boot

WHOLE = PartialDownloadInfo("https://h/m.tar.gz", '"v1"', 25, 10, boot())


@pytest.fixture
def parts(tmp_path: Path) -> PartStore:
    """A place for parts; not made yet."""
    return PartStore(tmp_path / "parts")


def put(parts: PartStore, start: int, data: bytes) -> None:
    """Add to a part."""
    with parts.appended(start) as add:
        add(data)


def test_nothing_is_made_before_something_comes(parts: PartStore, tmp_path: Path) -> None:
    assert parts.of() is None
    parts.clear()
    assert "parts" not in os.listdir(tmp_path)


def test_parts_say_what_they_are_parts_of_and_what_is_missing(parts: PartStore) -> None:
    parts.begin(WHOLE)
    put(parts, 0, b"0123456789")
    put(parts, 20, b"20")
    put(parts, 20, b"2")
    assert parts.of() == WHOLE
    assert list(parts.missing(WHOLE)) == [(10, 20), (23, 25)]
    with parts.opened(20) as file:
        assert file.read() == b"202"


def test_another_whole_begins_with_nothing(parts: PartStore) -> None:
    parts.begin(WHOLE)
    put(parts, 0, b"old")
    parts.begin(replace(WHOLE, validator='"v2"'))
    assert next(parts.missing(WHOLE)) == (0, 10)


def test_what_an_earlier_run_of_the_machine_left_is_not_believed(parts: PartStore) -> None:
    assert boot()
    parts.begin(replace(WHOLE, boot="the one before the crash"))
    assert parts.of() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", json.dumps({"place": "x"}), json.dumps(asdict(replace(WHOLE, range_bytes=0)))]
)
def test_what_cannot_be_read_is_of_no_use(parts: PartStore, tmp_path: Path, text: str) -> None:
    parts.begin(WHOLE)
    (tmp_path / "parts" / "of.json").write_text(text)
    assert parts.of() is None


def test_parts_of_something_else_are_never_begun_without_saying_so(parts: PartStore, tmp_path: Path) -> None:
    """A kill between the two leaves parts that nobody knows, and which are thrown away."""
    parts.begin(WHOLE)
    (tmp_path / "parts" / "of.json").unlink()
    assert parts.of() is None


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(CacheError, match=str(tmp_path)):
        PartStore(tmp_path / "file" / "parts").begin(WHOLE)


@pytest.mark.parametrize("facts", [{"size_bytes": 10**30}, {"size_bytes": 10**17, "range_bytes": 1}, {"validator": "a\nb"}])
def test_what_nobody_can_have_written_is_of_no_use_and_takes_no_time(
    parts: PartStore, tmp_path: Path, facts: dict[str, Any]
) -> None:
    parts.begin(WHOLE)
    (tmp_path / "parts" / "of.json").write_text(json.dumps(asdict(WHOLE) | facts))
    assert parts.of() is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["", "of.json", "0"])
@pytest.mark.parametrize("put_there", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "link"])
def test_links_and_pipes_are_no_trap(name: str, put_there: Callable[[Path], None], parts: PartStore, tmp_path: Path) -> None:
    if name:
        parts.begin(WHOLE)
        (tmp_path / "parts" / name).unlink(missing_ok=True)
    put_there(tmp_path / "parts" / name if name else tmp_path / "parts")
    if name == "0":
        with pytest.raises(CacheError), parts.appended(0):
            pass
    else:
        assert parts.of() is None
    parts.begin(WHOLE)
    put(parts, 0, b"01")
    assert parts.of() == WHOLE and parts.held_bytes(0) == 2


def test_a_part_that_is_a_link_is_not_written_through(parts: PartStore, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"untouched")
    parts.begin(WHOLE)
    os.symlink(tmp_path / "victim", tmp_path / "parts" / "0")
    with pytest.raises(CacheError):
        put(parts, 0, b"01")
    assert (tmp_path / "victim").read_bytes() == b"untouched"
