"""The marker lists what is ours in a directory; what is not listed is another's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fakes.serving import make_model, take_snapshot
from tfimm_resolver.integrations.serving.marker import FILE_NAME, Marker, find_foreign, parse_marker, read_marker, write_marker

MARKER = Marker("https://host.example/m", "ab" * 32, {"saved_model.pb": 7, "variables/variables.index": 8}, is_complete=False)


def test_a_marker_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_marker(MARKER, str(tmp_path), str(tmp_path))
    assert read_marker(str(tmp_path)) == MARKER


def change(**facts: object) -> bytes:
    return json.dumps({**json.loads(MARKER.to_text()), **facts}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not JSON",
        b"[]",
        b"\xff",
        change(version=2),
        change(files=None),
        change(files={"../outside": 1}),
        change(files={"/etc/passwd": 1}),
        change(files={"a//b": 1}),
        change(files={"a": -1}),
        b"{" * 10_000,
    ],
    ids=["empty", "text", "list", "bytes", "later version", "no files", "dots", "absolute", "not canonical", "size", "nested"],
)
def test_what_is_not_a_marker_of_this_version_is_none(text: bytes) -> None:
    assert parse_marker(text) is None


def test_no_marker_is_read_through_a_link_or_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(MARKER.to_text())
    (tmp_path / FILE_NAME).symlink_to("elsewhere")
    with pytest.raises(OSError):
        read_marker(str(tmp_path))
    (tmp_path / FILE_NAME).unlink()
    os.mkfifo(tmp_path / FILE_NAME)
    assert read_marker(str(tmp_path)) is None


@pytest.mark.parametrize("added", ["notes.txt", "variables/notes.txt", "empty/", "variables/empty/", "assets/deep/vocabulary"])
def test_anything_that_is_not_listed_is_foreign(added: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    marker = model.make_marker()
    assert find_foreign(model.path, marker.files) is None
    path = tmp_path / "m" / added
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if added.endswith("/") else path.touch()
    found = find_foreign(model.path, marker.files)
    assert found is not None and f"{added}/".startswith(f"{found}/")


def test_a_link_in_the_stead_of_a_directory_is_foreign_and_not_followed(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    (tmp_path / "m" / "variables").rename(tmp_path / "variables")
    (tmp_path / "m" / "variables").symlink_to(tmp_path / "variables")
    assert find_foreign(model.path, model.make_marker().files) == "variables"


def test_names_that_do_not_count_do_so_at_the_top_only(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    for folder in ("lost+found", "variables/lost+found"):
        (tmp_path / "m" / folder).mkdir()
    assert find_foreign(model.path, model.make_marker().files, ["lost+found"]) == "variables/lost+found"


@pytest.mark.parametrize("damage", ["missing", "shorter", "link", "incomplete"])
def test_a_damaged_directory_is_not_intact(damage: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    marker, path = model.make_marker(), tmp_path / "m" / "saved_model.pb"
    before = take_snapshot(tmp_path / "m")
    assert marker.is_intact(model.path)
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(b"")
    elif damage == "link":
        path.rename(tmp_path / "abcd")
        path.symlink_to("../abcd")  # as many characters as the graph has bytes
    else:
        marker = Marker(marker.handle, marker.content, marker.files, is_complete=False)
        assert take_snapshot(tmp_path / "m") == before
    assert not marker.is_intact(model.path)
