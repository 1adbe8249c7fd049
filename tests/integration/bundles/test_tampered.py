"""Bundles that were tampered with or truncated, and files that are not bundles, are rejected, and nothing is imported."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import member, tar_gz, tar_of
from tests.fakes.faults import COMPLETE, NOTHING, list_kinds
from tests.fakes.origin import Origin
from tests.integration.bundles import HASH_OF_A_GRAPH, SHARD, Members, add_member, change_data, change_member, read_members
from tfimm_resolver import errors
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX

TAMPERED: dict[str, tuple[Callable[[Members], Members], type[errors.FetchError], str]] = {
    "one byte": (change_data(SHARD, lambda data: b"W" + data[1:]), errors.IntegrityError, "does not match its recorded"),
    "one byte of the first": (
        change_data("saved_model.pb", lambda data: b"A" + data[1:]),
        errors.IntegrityError,
        "does not match its recorded",
    ),
    "a byte more": (change_data(SHARD, lambda data: data + b"w"), errors.ArchiveError, "801 bytes"),
    "a byte less": (change_data(SHARD, lambda data: data[1:]), errors.ArchiveError, "799 bytes"),
    "a hash": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(HASH_OF_A_GRAPH, b"0" * 64)),
        errors.IntegrityError,
        "does not match its recorded",
    ),
    "another handle": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"/1", b"/2")),
        errors.IntegrityError,
        "another model's name",
    ),
    "no handle": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"http://", b"\\u0000//")),
        errors.IntegrityError,
        "another model",
    ),
    "a path as handle": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"http://", b"/")),
        errors.IntegrityError,
        "another model",
    ),
    "another tree": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'"tree": "', b'"tree": "0')),
        errors.ArchiveError,
        "not a record",
    ),
    "no time": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'_at": "2', b'_at": "x')),
        errors.ArchiveError,
        "not a record",
    ),
    "another version": (
        change_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'"version": 1', b'"version": 2')),
        errors.ArchiveError,
        "not a record",
    ),
    "no JSON": (change_data(DESCRIPTOR_SUFFIX, lambda data: data[:-9]), errors.ArchiveError, "not a record"),
    "another order": (lambda members: [members[0], *members[:0:-1]], errors.ArchiveError, "expected"),
    "a file missing": (lambda members: members[:-1], errors.ArchiveError, "found the end"),
    "a file more": (
        lambda members: add_member(members, "more"),
        errors.ArchiveError,
        "expected the record of a model, found .*/more'",
    ),
    "a file twice": (lambda members: [*members, members[-1]], errors.ArchiveError, "expected the record"),
    "not a record": (lambda members: members[1:], errors.HandleError, "expected the record"),
    "the record last": (lambda members: [*members[1:], members[0]], errors.HandleError, "expected the record"),
    "the model twice": (lambda members: members * 2, errors.ArchiveError, "ascending order"),
    "nothing": (lambda members: [], errors.HandleError, "contains no models"),
    "a name that climbs": (lambda members: add_member(members, "../../evil"), errors.ArchiveError, "expected the record"),
    "a name of the root": (change_member("saved_model.pb", name="/tmp/evil"), errors.ArchiveError, "expected .*, found"),
    "a link": (
        change_member(SHARD, type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
        errors.ArchiveError,
        "a symbolic link",
    ),
    "a hard link to another file of its own": (
        change_member(SHARD, type=tarfile.LNKTYPE, linkname="saved_model.pb"),
        errors.ArchiveError,
        "a hard link",
    ),
    "a directory": (change_member(SHARD, type=tarfile.DIRTYPE, size=0), errors.ArchiveError, "a directory, not a file"),
    "a record that is a link": (
        change_member(DESCRIPTOR_SUFFIX, type=tarfile.SYMTYPE, linkname="x", size=0),
        errors.ArchiveError,
        "expected the record",
    ),
    "a device": (change_member(SHARD, type=tarfile.CHRTYPE, size=0), errors.ArchiveError, "a character device"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_bundle_that_was_tampered_with_is_rejected_and_nothing_is_imported(case: str, bundle: Path, far: Path) -> None:
    change, kind, word = TAMPERED[case]
    bundle.write_bytes(tar_of(*change(read_members(bundle))))
    with pytest.raises(kind, match=word) as caught:
        reader.read(bundle)
    assert type(caught.value) is kind and str(bundle) in str(caught.value) and "Nothing was imported" in str(caught.value)
    assert list_kinds(far) == NOTHING and not (far.parent / "evil").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/evil",
        "a/../../evil",
        "variables",
        "a:/b",
        "a\\b",
        "x" * 256,
        "\u202ex",
        "a//evil",
        "./evil",
        "a/./evil",
        "a/",
    ],
)
def test_a_record_with_an_invalid_path_is_rejected(path: str, bundle: Path, far: Path) -> None:
    def add(data: bytes) -> bytes:
        head, _, body = data.decode().partition("\n\n")
        facts = json.loads(body)
        facts["files"].append({"path": path, "size_bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()})
        return f"{head}\n\n{json.dumps(facts)}".encode()

    bundle.write_bytes(tar_of(*add_member(change_data(DESCRIPTOR_SUFFIX, add)(read_members(bundle)), path)))
    with pytest.raises(errors.ArchiveError, match=r"Nothing was imported"):
        reader.read(bundle)
    assert list_kinds(far) == NOTHING and not (far.parent / "evil").exists() and not Path("/evil").exists()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1536, 2048, 4000, -513, -512, -1])
def test_a_truncated_bundle_is_rejected(length: int, bundle: Path, far: Path) -> None:
    bundle.write_bytes(bundle.read_bytes()[:length])
    kinds = (errors.ArchiveError, errors.HandleError)
    with pytest.raises(kinds, match=r"truncated|unexpected data follows its end|contains no models|is not a bundle"):
        reader.read(bundle)
    assert list_kinds(far) == NOTHING


@pytest.mark.parametrize(
    "junk", [b"x", b"<!doctype html>" * 100, tar_gz(), bytes(512) + b"x" * 512], ids=["x", "html", "gz", "zeros"]
)
def test_a_file_that_is_not_a_bundle_is_rejected(junk: bytes, bundle: Path, far: Path) -> None:
    for data, kind in ((junk, errors.HandleError), (bundle.read_bytes() + junk, errors.ArchiveError)):
        bundle.write_bytes(data)
        with pytest.raises(kind):
            reader.read(bundle)
    assert list_kinds(far) == NOTHING


def test_one_bad_model_prevents_the_import_of_the_others(
    handle: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(3)]
    writer.write([handle, *others], tmp_path / "b.tar")
    members = read_members(tmp_path / "b.tar")
    members[-1] = member(members[-1][0].name, b"x" * members[-1][0].size)
    (tmp_path / "b.tar").write_bytes(tar_of(*members))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    with pytest.raises(errors.IntegrityError, match="does not match its recorded"):
        reader.read(tmp_path / "b.tar")
    assert list_kinds(tmp_path / "far") == NOTHING


def test_the_pin_of_a_bundle_is_compared_before_anything_is_imported(handle: str, bundle: Path, far: Path) -> None:
    with pytest.raises(errors.IntegrityError, match=f"pinned   {'0' * 64}"):
        reader.read(bundle, sha256="0" * 64)
    with pytest.raises(errors.HandleError, match="64 hexadecimal digits"):
        reader.read(bundle, sha256="0")
    assert list_kinds(far) == NOTHING
    reader.read(bundle, sha256=hashlib.sha256(bundle.read_bytes()).hexdigest().upper())
    assert list_kinds(far) == COMPLETE
