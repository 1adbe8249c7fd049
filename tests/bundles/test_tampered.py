"""Bundles that were tampered with, cut, or never were any: refused, and nothing of them is kept."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import member, tar_gz, tar_of
from tests.bundles import HASH_OF_A_GRAPH, SHARD, Members, changed, inner, members_of, with_data
from tests.faults import NOTHING, WHOLE, left_in
from tests.origin import Origin
from tfimm_resolver import errors
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX

TAMPERED: dict[str, tuple[Callable[[Members], Members], type[errors.FetchError], str]] = {
    "one byte": (with_data(SHARD, lambda data: b"W" + data[1:]), errors.IntegrityError, "other bytes"),
    "one byte of the first": (with_data("saved_model.pb", lambda data: b"A" + data[1:]), errors.IntegrityError, "other bytes"),
    "a byte more": (with_data(SHARD, lambda data: data + b"w"), errors.ArchiveError, "801 bytes"),
    "a byte less": (with_data(SHARD, lambda data: data[1:]), errors.ArchiveError, "799 bytes"),
    "a hash": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(HASH_OF_A_GRAPH, b"0" * 64)),
        errors.IntegrityError,
        "other bytes",
    ),
    "another handle": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"/1", b"/2")),
        errors.IntegrityError,
        "another model's name",
    ),
    "no handle": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"http://", b"\\u0000//")),
        errors.IntegrityError,
        "another model",
    ),
    "a path as handle": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b"http://", b"/")),
        errors.IntegrityError,
        "another model",
    ),
    "another tree": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'"tree": "', b'"tree": "0')),
        errors.ArchiveError,
        "no record",
    ),
    "no time": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'_at": "2', b'_at": "x')),
        errors.ArchiveError,
        "no record",
    ),
    "another version": (
        with_data(DESCRIPTOR_SUFFIX, lambda data: data.replace(b'"version": 1', b'"version": 2')),
        errors.ArchiveError,
        "no record",
    ),
    "no JSON": (with_data(DESCRIPTOR_SUFFIX, lambda data: data[:-9]), errors.ArchiveError, "no record"),
    "another order": (lambda members: [members[0], *members[:0:-1]], errors.ArchiveError, "should"),
    "a file missing": (lambda members: members[:-1], errors.ArchiveError, "its end stands where"),
    "a file more": (lambda members: inner(members, "more"), errors.ArchiveError, "/more' stands where the record"),
    "a file twice": (lambda members: [*members, members[-1]], errors.ArchiveError, "stands where the record"),
    "no record": (lambda members: members[1:], errors.ArchiveError, "stands where the record"),
    "the record last": (lambda members: [*members[1:], members[0]], errors.ArchiveError, "stands where the record"),
    "the model twice": (lambda members: members * 2, errors.ArchiveError, "stands behind"),
    "nothing": (lambda members: [], errors.ArchiveError, "holds no models"),
    "a name that climbs": (lambda members: inner(members, "../../evil"), errors.ArchiveError, "stands where the record"),
    "a name of the root": (changed("saved_model.pb", name="/tmp/evil"), errors.ArchiveError, "stands where"),
    "a link": (changed(SHARD, type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), errors.ArchiveError, "a symbolic link"),
    "a device": (changed(SHARD, type=tarfile.CHRTYPE, size=0), errors.ArchiveError, "a character device"),
}


@pytest.mark.parametrize("deed", TAMPERED)
def test_a_bundle_that_was_tampered_with_is_refused_and_nothing_is_kept(deed: str, bundled: Path, far: Path) -> None:
    change, kind, word = TAMPERED[deed]
    bundled.write_bytes(tar_of(*change(members_of(bundled))))
    with pytest.raises(kind, match=word) as caught:
        reader.read(bundled)
    assert (
        type(caught.value) is kind and str(bundled) in str(caught.value) and "Nothing of it was imported" in str(caught.value)
    )
    assert left_in(far) == NOTHING and not (far.parent / "evil").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/evil",
        "a/../../evil",
        "variables",
        "SAVED_MODEL.pb",
        "con",
        "a:b",
        "a\\b",
        "x" * 256,
        "\u202ex",
        "a//evil",
        "./evil",
        "a/./evil",
        "a/",
    ],
)
def test_a_record_that_promises_a_name_that_no_model_may_hold_is_refused(path: str, bundled: Path, far: Path) -> None:
    def add(data: bytes) -> bytes:
        head, _, body = data.decode().partition("\n\n")
        facts = json.loads(body)
        facts["files"].append({"path": path, "size_bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()})
        return f"{head}\n\n{json.dumps(facts)}".encode()

    bundled.write_bytes(tar_of(*inner(with_data(DESCRIPTOR_SUFFIX, add)(members_of(bundled)), path)))
    with pytest.raises(errors.ArchiveError, match=r"Nothing of it was imported"):
        reader.read(bundled)
    assert left_in(far) == NOTHING and not (far.parent / "evil").exists() and not Path("/evil").exists()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1536, 2048, 4000, -513, -512, -1])
def test_a_bundle_that_is_cut_is_refused_wherever_it_is_cut(length: int, bundled: Path, far: Path) -> None:
    bundled.write_bytes(bundled.read_bytes()[:length])
    with pytest.raises(errors.ArchiveError, match=r"cut short|something follows its end|holds no models"):
        reader.read(bundled)
    assert left_in(far) == NOTHING


@pytest.mark.parametrize(
    "junk", [b"x", b"<!doctype html>" * 100, tar_gz(), bytes(512) + b"x" * 512], ids=["x", "html", "gz", "zeros"]
)
def test_what_is_no_bundle_is_refused(junk: bytes, bundled: Path, far: Path) -> None:
    for data in (junk, bundled.read_bytes() + junk):
        bundled.write_bytes(data)
        with pytest.raises(errors.ArchiveError):
            reader.read(bundled)
    assert left_in(far) == NOTHING


def test_one_bad_model_keeps_the_good_ones_out_too(
    handle: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(3)]
    writer.write([handle, *others], tmp_path / "b.tar")
    members = members_of(tmp_path / "b.tar")
    members[-1] = member(members[-1][0].name, b"x" * members[-1][0].size)
    (tmp_path / "b.tar").write_bytes(tar_of(*members))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    with pytest.raises(errors.IntegrityError, match="other bytes"):
        reader.read(tmp_path / "b.tar")
    assert left_in(tmp_path / "far") == NOTHING


def test_a_pinned_bundle_is_compared_before_anything_appears(handle: str, bundled: Path, far: Path) -> None:
    with pytest.raises(errors.IntegrityError, match=f"pinned {'0' * 64}"):
        reader.read(bundled, sha256="0" * 64)
    with pytest.raises(errors.HandleError, match="64 hexadecimal digits"):
        reader.read(bundled, sha256="0")
    assert left_in(far) == NOTHING
    reader.read(bundled, sha256=hashlib.sha256(bundled.read_bytes()).hexdigest().upper())
    assert left_in(far) == WHOLE
