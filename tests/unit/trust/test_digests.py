"""Files are compared with a statement: from a record without reading them, or read again for hashes of other kinds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signing import make_sharded_statement, make_statement
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust.digests import compare
from tfimm_resolver.trust.statement import Statement

FILES = {"saved_model.pb": b"a graph", "variables/variables.index": b"an index" * 3, "assets/words.txt": b"", "one": b"1"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def parse(statement: dict[str, Any]) -> Statement:
    return Statement.parse(json.dumps(statement).encode())


def test_hashes_of_a_record_are_compared_without_reading_a_file(tree: Path) -> None:
    compare(parse(make_statement(FILES)), hash_tree(str(tree)), "/no/such/directory")


@pytest.mark.parametrize("name", ["sha256 in parts", "blake2b", "blake3"])
def test_hashes_of_another_kind_are_computed_and_it_is_logged(tree: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    if name == "blake3":
        blake3 = pytest.importorskip("blake3")
        statement = make_statement(FILES)
        method, resources = statement["predicate"]["serialization"], statement["predicate"]["resources"]
        method["hash_type"] = "blake3"
        for resource in resources:
            resource |= {"algorithm": "blake3", "digest": blake3.blake3(FILES[resource["name"]]).hexdigest()}
        import hashlib

        root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
        statement["subject"][0]["digest"]["sha256"] = root
    else:
        statement = make_sharded_statement(FILES, 5) if "parts" in name else make_statement(FILES, hash_name=name)
    parsed = parse(statement)
    with caplog.at_level(logging.WARNING):
        compare(parsed, hash_tree(str(tree)), str(tree))
    assert "reading all files" in caplog.text and name.partition(" ")[0] in caplog.text
    (tree / "variables/variables.index").write_bytes(b"an index" * 2 + b"An index")
    with pytest.raises(SignatureError, match=r"changed: variables/variables\.index"):
        compare(parsed, hash_tree(str(tree)), str(tree))
    with pytest.raises(SignatureError, match="in a bucket"):
        compare(parsed, hash_tree(str(tree)), "gs://bucket/model")


@pytest.mark.parametrize("change", ["longer", "shorter", "extra", "missing"])
def test_parts_cover_each_file_to_its_end(tree: Path, change: str) -> None:
    parsed = parse(make_sharded_statement(FILES, 8))
    if change in ("longer", "shorter"):
        (tree / "saved_model.pb").write_bytes(FILES["saved_model.pb"] + b"12" if change == "longer" else b"a")
    elif change == "extra":
        (tree / "two").write_bytes(b"2")
    else:
        (tree / "one").unlink()
    with pytest.raises(SignatureError):
        compare(parsed, hash_tree(str(tree)), str(tree))


def test_parts_of_a_byte_do_not_take_the_time_of_a_large_file(tree: Path) -> None:
    parsed = parse(make_sharded_statement(FILES, 1))
    with pytest.raises(SignatureError, match="are not those of the model"):
        compare(parsed, [FileEntry("saved_model.pb", 1 << 50, "0" * 64)], str(tree))


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "saved_model.pb:0", "a:5:5", "a:7:5", "a:-1:5", "a:00:5", ":0:5", "../a:0:5"]
)
def test_a_part_that_is_none_is_refused(name: str) -> None:
    statement = make_sharded_statement({"a": b"12345"}, 5)
    statement["predicate"]["resources"][0]["name"] = name
    with pytest.raises(SignatureError):
        parse(statement)


@pytest.mark.parametrize("size", [0, -1, 1.5, "5", True, None, float(1 << 70)])
def test_a_size_of_parts_that_is_none_is_refused(size: object) -> None:
    statement = make_sharded_statement(FILES, 5)
    statement["predicate"]["serialization"]["shard_size"] = size
    with pytest.raises(SignatureError):
        parse(statement)


def test_many_differences_are_counted(tree: Path) -> None:
    for number in range(9):
        (tree / f"extra{number}").write_bytes(b"")
    with pytest.raises(SignatureError, match="not signed: extra0, extra1, extra2 and 6 more"):
        compare(parse(make_statement(FILES)), hash_tree(str(tree)), str(tree))


@pytest.mark.parametrize("shard_bytes", [0, 5], ids=["whole", "in parts"])
@pytest.mark.parametrize(
    ("signed", "files", "text"),
    [
        ({".": b"another"}, ["one"], "this file is not the one that was signed, or was changed since"),
        (FILES, ["one"], "a directory was signed, and this is one file"),
        ({".": b"1"}, ["one", "saved_model.pb"], "one file was signed, and this is a directory"),
    ],
    ids=["another file", "a directory", "one file"],
)
def test_one_file_is_not_called_by_a_dot(
    signed: dict[str, bytes], files: list[str], text: str, shard_bytes: int, tree: Path
) -> None:
    statement = parse(make_sharded_statement(signed, shard_bytes) if shard_bytes else make_statement(signed))
    entries, path = list(hash_tree(str(tree), files)), str(tree)
    if len(files) == 1:
        entries, path = [entries[0]._replace(path=".")], str(tree / files[0])
    with pytest.raises(SignatureError) as caught:
        compare(statement, entries, path)
    assert caught.value.text in (text, "the parts of files in the statement are not those of the model")
    assert shard_bytes or caught.value.text == text
