"""Tests of ``transfer.sinks``: a stream becomes the files of an archive, or one file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.foreign_files import ZIPS, make_zip
from tfimm_resolver.archives.unpacking import ArchiveLayout
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.transfer.sinks import make_file_sink, make_unpack_sink

DATA = b"weights " * 1000


def test_the_unpack_sink_writes_the_members_and_lists_them(tmp_path: Path) -> None:
    archive = tar_gz()
    (into := tmp_path / "into").mkdir()
    entries = make_unpack_sink(ArchiveLayout())(io.BytesIO(archive), into, len(archive))
    assert files_in(into) == MODEL
    assert {entry.path: entry.sha256 for entry in entries} == {
        name: hashlib.sha256(data).hexdigest() for name, data in MODEL.items()
    }


@pytest.mark.parametrize("size_bytes", [len(DATA), None])
def test_the_file_sink_writes_the_stream_under_the_given_name(size_bytes: int | None, tmp_path: Path) -> None:
    (into := tmp_path / "into").mkdir()
    entries = make_file_sink("w.h5")(io.BytesIO(DATA), into, size_bytes)
    assert files_in(into) == {"w.h5": DATA}
    assert entries == [FileEntry("w.h5", len(DATA), hashlib.sha256(DATA).hexdigest())]


def test_both_sinks_stop_at_the_byte_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_BYTES", "100")
    for number, (sink, body) in enumerate(((make_file_sink("w"), DATA), (make_unpack_sink(ArchiveLayout()), tar_gz()))):
        (into := tmp_path / str(number)).mkdir()
        with pytest.raises(ArchiveError, match="TFIMM_RESOLVER_MAX_BYTES"):
            sink(io.BytesIO(body), into, None)


def test_a_repository_may_have_the_files_of_any_format(tmp_path: Path) -> None:
    names = [f"repository/{name}" for members, _ in ZIPS.values() for name in members]
    (into := tmp_path / "into").mkdir()
    entries = make_unpack_sink(ArchiveLayout(strip_top_level=True))(
        io.BytesIO(make_zip(tuple(dict.fromkeys(names)))), into, None
    )
    assert {f"repository/{entry.path}" for entry in entries} == {*names}
