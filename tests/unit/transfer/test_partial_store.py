"""The store of partial downloads: only parts that are known to fit are resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfimm_resolver.errors import CacheError
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore, get_boot_id

INFO = PartialDownloadInfo("https://h/m.tar.gz", '"v1"', 25, 10, get_boot_id())
FACTS = json.loads(INFO.to_json())


@pytest.fixture
def parts(tmp_path: Path) -> PartStore:
    """A store whose directory does not exist yet."""
    return PartStore(tmp_path / "parts")


def append(parts: PartStore, start: int, data: bytes) -> None:
    """Append to the part that starts at an offset."""
    with parts.append_to(start) as append:
        append(data)


def test_nothing_is_created_before_the_first_bytes_arrive(parts: PartStore, tmp_path: Path) -> None:
    assert parts.load() is None
    parts.clear()
    assert "parts" not in os.listdir(tmp_path)


def test_the_format_of_the_metadata_file_does_not_change() -> None:
    assert {"place": INFO.url, "validator": '"v1"', "size_bytes": 25, "range_bytes": 10, "boot": INFO.boot_id} == FACTS


def test_a_store_knows_what_its_parts_belong_to_and_what_is_missing(parts: PartStore) -> None:
    parts.reset(INFO)
    append(parts, 0, b"0123456789")
    append(parts, 20, b"20")
    append(parts, 20, b"2")
    assert parts.load() == INFO
    assert list(parts.find_missing(INFO)) == [(10, 20), (23, 25)]
    with parts.open_part(20) as file:
        assert file.read() == b"202"


def test_a_reset_for_another_body_removes_the_parts(parts: PartStore) -> None:
    parts.reset(INFO)
    append(parts, 0, b"old")
    parts.reset(INFO._replace(validator='"v2"'))
    assert next(parts.find_missing(INFO)) == (0, 10)


def test_parts_that_were_written_before_a_reboot_are_not_used(parts: PartStore) -> None:
    assert get_boot_id()
    parts.reset(INFO._replace(boot_id="the one before the crash"))
    assert parts.load() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '"text"', json.dumps({"place": "x"}), json.dumps(FACTS | {"range_bytes": 0})]
)
def test_malformed_metadata_is_ignored(parts: PartStore, tmp_path: Path, text: str) -> None:
    parts.reset(INFO)
    (tmp_path / "parts" / "of.json").write_text(text)
    assert parts.load() is None


def test_parts_without_metadata_are_ignored(parts: PartStore, tmp_path: Path) -> None:
    """A process that is killed between the two steps leaves such parts."""
    parts.reset(INFO)
    (tmp_path / "parts" / "of.json").unlink()
    assert parts.load() is None


def test_a_disk_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(CacheError, match=str(tmp_path)):
        PartStore(tmp_path / "file" / "parts").reset(INFO)


@pytest.mark.parametrize("facts", [{"size_bytes": 10**30}, {"size_bytes": 10**17, "range_bytes": 1}, {"validator": "a\nb"}])
def test_impossible_metadata_is_ignored_and_costs_no_time(parts: PartStore, tmp_path: Path, facts: dict[str, Any]) -> None:
    parts.reset(INFO)
    (tmp_path / "parts" / "of.json").write_text(json.dumps(FACTS | facts))
    assert parts.load() is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["", "of.json", "0"])
@pytest.mark.parametrize("create", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "link"])
def test_links_and_pipes_are_not_read(name: str, create: Callable[[Path], None], parts: PartStore, tmp_path: Path) -> None:
    if name:
        parts.reset(INFO)
        (tmp_path / "parts" / name).unlink(missing_ok=True)
    create(tmp_path / "parts" / name if name else tmp_path / "parts")
    if name == "0":
        with pytest.raises(CacheError), parts.append_to(0):
            pass
    else:
        assert parts.load() is None
    parts.reset(INFO)
    append(parts, 0, b"01")
    assert parts.load() == INFO and parts.get_stored_bytes(0) == 2


def test_a_part_that_is_a_link_is_not_written_through(parts: PartStore, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"untouched")
    parts.reset(INFO)
    os.symlink(tmp_path / "victim", tmp_path / "parts" / "0")
    with pytest.raises(CacheError):
        append(parts, 0, b"01")
    assert (tmp_path / "victim").read_bytes() == b"untouched"
