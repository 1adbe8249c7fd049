"""Records: parsing and writing them, and comparing a tree with one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tfimm_resolver.cache.record import MAX_RECORD_BYTES, Record, find_tree_defect, hash_tree, verify_hashes
from tfimm_resolver.errors import CacheError
from tfimm_resolver.manifest import FileEntry, Origin

TREE = "0" * 40


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """A model directory."""
    return str(put_model(tmp_path / TREE, {**MODEL, "assets/vocab.txt": b"a b c"}))


@pytest.fixture
def known(tree: str) -> Record:
    """The record of ``tree``."""
    return Record(
        "https://h/m", TREE, "2026-01-01T00:00:00Z", Origin("https://h/m.tar.gz", '"tag"', 7, "ab" * 32), hash_tree(tree)
    )


def test_a_record_is_read_as_it_was_written(known: Record) -> None:
    assert Record.parse(known.to_text(), TREE) == known


def test_its_first_lines_are_tensorflow_hubs(known: Record) -> None:
    lines = known.to_text().splitlines()
    assert lines[0] == "Module: https://h/m"
    assert lines[1].startswith("Download Time: ") and lines[2].startswith("Downloader Hostname: ") and "(PID:" in lines[2]
    assert lines[3] == ""


def test_a_descriptor_by_plain_tensorflow_hub_has_the_handle_and_no_files() -> None:
    text = "Module: https://h/m\nDownload Time: 2020-01-01 00:00:00.0\nDownloader Hostname: box (PID:7)"
    read = Record.parse(text, TREE)
    assert (read.handle, read.tree, read.files) == ("https://h/m", TREE, None)


@pytest.mark.parametrize(
    "body", ["5", "null", '"x"', "[" * 100_000, '{"version": 1, "files": [5]}', '{"version": 1, "files": 5, "tree": 5}']
)
def test_any_text_can_be_parsed(body: str) -> None:
    assert Record.parse(f"Module: https://h/m\n\n{body}", TREE).files is None


@pytest.mark.parametrize("body", ["[" + "[]," * 300_000 + "0]", "[" + '{"":0},' * 300_000 + "0]", "[" + "0," * 600_000 + "0]"])
def test_a_record_of_very_many_values_is_not_parsed(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    assert Record.parse(f"Module: https://h/m\n\n{body}", TREE).files is None


def test_the_record_of_as_many_files_as_are_unpacked_is_read_again(known: Record) -> None:
    files = tuple(FileEntry(f"assets/{number:06}/vocabulary.txt", 1, "ab" * 32) for number in range(100_000))
    large = known._replace(files=files)
    assert Record.parse(large.to_text(), TREE) == large
    with pytest.raises(CacheError, match="too many files, or too long names, for a record"):
        known._replace(files=files * 2).to_text()
    with pytest.raises(CacheError, match="for a record"):
        known._replace(files=(FileEntry("a" * MAX_RECORD_BYTES, 1, ""),)).to_text()


def test_a_pipe_in_place_of_an_empty_file_is_a_defect(tmp_path: Path) -> None:
    tree = put_model(tmp_path / TREE, {**MODEL, "assets/empty": b""})
    record = Record("", TREE, files=hash_tree(str(tree)))
    assert find_tree_defect(str(tree), record) is None
    (tree / "assets/empty").unlink()
    os.mkfifo(tree / "assets/empty")
    assert find_tree_defect(str(tree), record) == "assets/empty is not a regular file"


def test_a_variables_file_in_place_of_the_directory_is_noticed(tmp_path: Path) -> None:
    tree = put_model(tmp_path / "m", {"saved_model.pb": b"g", "variables": b"v"})
    assert find_tree_defect(str(tree), Record("", "m")) is not None


@pytest.mark.parametrize("harm", ['"version": 1', '"files"', '"sha256"', '"size_bytes"', "{", "}"])
def test_a_damaged_or_newer_record_has_no_files(known: Record, harm: str) -> None:
    read = Record.parse(known.to_text().replace(harm, '"version": 2' if "version" in harm else "?", 1), TREE)
    assert read.files is None and read.handle == "https://h/m"


def test_a_missing_file_and_another_size_are_noticed(tree: str, known: Record) -> None:
    assert find_tree_defect(tree, known) is None
    Path(tree, "assets/vocab.txt").write_bytes(b"a b")
    assert find_tree_defect(tree, known) == "assets/vocab.txt has 3 bytes, should have 5"
    Path(tree, "assets/vocab.txt").unlink()
    assert find_tree_defect(tree, known) == "assets/vocab.txt is missing"


def test_a_flipped_byte_is_noticed_by_its_hash_only(tree: str, known: Record) -> None:
    Path(tree, "assets/vocab.txt").write_bytes(b"a b d")
    assert find_tree_defect(tree, known) is None
    assert known.files is not None
    assert list(verify_hashes(tree, known.files)) == ["assets/vocab.txt does not match its recorded sha256"]


@pytest.mark.parametrize("gone", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"])
def test_a_tree_without_a_record_counts_when_graph_index_and_shards_are_there(tree: str, known: Record, gone: str) -> None:
    unrecorded = known._replace(files=None)
    assert find_tree_defect(tree, unrecorded) is None
    Path(tree, gone).unlink()
    assert gone in (find_tree_defect(tree, unrecorded) or "")


def test_directories_without_files_are_not_a_model(tmp_path: Path) -> None:
    (tmp_path / TREE / "variables").mkdir(parents=True)
    assert find_tree_defect(str(tmp_path / TREE), Record("", TREE)) == "saved_model.pb is missing"


@pytest.mark.parametrize("graph", ["saved_model.pbtxt", "saved_model.cpb"])
def test_every_form_of_a_graph_counts(tmp_path: Path, graph: str) -> None:
    assert find_tree_defect(str(put_model(tmp_path / "m", {graph: b"g"})), Record("", "m")) is None


@pytest.mark.parametrize("size_bytes", [-1, 1 << 63, 10**400])
def test_a_record_with_an_impossible_file_size_has_no_files(size_bytes: int) -> None:
    text = Record("h", "t", files=(FileEntry("saved_model.pb", 7, "ab"),)).to_text()
    assert Record.parse(text, "t").files is not None
    assert Record.parse(text.replace('"size_bytes": 7', f'"size_bytes": {size_bytes}'), "t").files is None


@pytest.mark.parametrize("path", ["../other/saved_model.pb", "/etc/passwd", "a/../../b", "a//etc/passwd", "./a", "a/", None])
def test_a_record_with_no_files_or_files_outside_the_tree_has_no_files(path: str | None) -> None:
    text = Record("h", "t", files=(FileEntry(path, 1, "ab"),) if path else ()).to_text()
    assert Record.parse(text, "t").files is None
    assert Record.parse(Record("h", "t", files=(FileEntry("a/..b", 1, "ab"),)).to_text(), "t").files is not None


@pytest.mark.parametrize("count", [1, 5, 6, 12])
@pytest.mark.parametrize("defect", ["missing", "longer", "pipe", "folder", "no tree", "none"])
def test_a_defect_is_found_however_many_files_there_are(defect: str, count: int, tmp_path: Path) -> None:
    """Below some number the files are looked up by their paths, else below their open directory."""
    tree = tmp_path / "copies" / TREE
    put_model(tree, {f"variables/{number}": b"x" for number in range(count)})
    files = hash_tree(str(tree))
    assert find_tree_defect(str(tree), Record("h", TREE, files=files)) is None
    last = tree / files[-1].path
    expected = {"missing": "missing", "longer": "has 2 bytes", "pipe": "not a regular", "folder": "not a regular"}
    if defect == "no tree":
        tree = tmp_path / "other"
    elif defect == "longer":
        last.write_bytes(b"xx")
    elif defect != "none":
        last.unlink()
        if defect != "missing":
            (os.mkfifo if defect == "pipe" else os.mkdir)(last)
    found = find_tree_defect(str(tree), Record("h", TREE, files=files))
    assert found is None if defect == "none" else expected.get(defect, "is missing") in str(found)
