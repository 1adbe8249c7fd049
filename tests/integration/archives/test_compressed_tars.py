"""Tars in every compression, by URL and as local files, and tars without an end-of-archive marker."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, member, tar_of
from tests.fakes.compression import COMPRESSORS, compress_lzma
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES

MEMBERS = [member(name, data) for name, data in MODEL.items()]
TAR = tar_of(*MEMBERS)
WITHOUT_END = TAR.rstrip(b"\0") + bytes(-len(TAR.rstrip(b"\0")) % 512)
SUFFIXES: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    **dict.fromkeys((".tar.gz", ".tgz"), COMPRESSORS["gzip"]),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz", ".tb2"), COMPRESSORS["bzip2"]),
    **dict.fromkeys((".tar.xz", ".txz"), COMPRESSORS["xz"]),
    **dict.fromkeys((".tar.lzma", ".tlz"), compress_lzma),
    **dict.fromkeys((".tar.zst", ".tzst"), COMPRESSORS["zstd"]),
}
FORMS = {**COMPRESSORS, "lzma": compress_lzma, "tar": bytes}


def test_each_suffix_is_tested() -> None:
    assert {*SUFFIXES, ".zip"} == {*ARCHIVE_SUFFIXES}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_local_file_is_unpacked(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_bytes(SUFFIXES[suffix](TAR))
    assert files_in(resolve(tmp_path / f"m{suffix}")) == MODEL


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_url_is_unpacked(suffix: str, origin: Origin) -> None:
    assert files_in(resolve(origin.put(f"/m{suffix}", SUFFIXES[suffix](TAR)))) == MODEL


@pytest.mark.parametrize("form", FORMS)
def test_a_url_without_a_suffix_is_unpacked(form: str, origin: Origin) -> None:
    assert files_in(resolve(origin.put_model("/google/m/1", FORMS[form](TAR)))) == MODEL


@pytest.mark.parametrize("form", FORMS)
def test_the_suffix_may_be_that_of_another_format(form: str, origin: Origin) -> None:
    assert files_in(resolve(origin.put("/m.tar.gz", FORMS[form](TAR)))) == MODEL


def put_local(data: bytes, folder: Path) -> str:
    """Write an archive and return its handle."""
    (folder / "m.tar.gz").write_bytes(data)
    return str(folder / "m.tar.gz")


@pytest.mark.parametrize("form", FORMS)
def test_without_an_end_marker_only_a_pin_confirms_a_local_file(form: str, tmp_path: Path) -> None:
    data = FORMS[form](WITHOUT_END)
    handle = put_local(data, tmp_path)
    with pytest.raises(ArchiveError, match="end-of-archive marker missing") as caught:
        resolve(handle)
    assert "#sha256=" in caught.value.fix
    assert files_in(resolve(handle, sha256=hashlib.sha256(data).hexdigest())) == MODEL


@pytest.mark.parametrize("form", FORMS)
def test_without_an_end_marker_a_pin_or_a_digest_confirms_a_download(form: str, origin: Origin) -> None:
    data = FORMS[form](WITHOUT_END)
    digest = hashlib.sha256(data)
    with pytest.raises(ArchiveError, match="end-of-archive marker missing"):
        resolve(origin.put("/m.tar.gz", data))
    assert files_in(resolve(origin.put("/n.tar.gz", data), sha256=digest.hexdigest())) == MODEL
    headers = {"Repr-Digest": f"sha-256=:{b64encode(digest.digest()).decode()}:"}
    assert files_in(resolve(origin.put("/o.tar.gz", data, headers=headers))) == MODEL


def test_without_an_end_marker_a_tar_of_one_block_less_is_refused_even_with_a_pin(tmp_path: Path) -> None:
    data = WITHOUT_END[:-512]
    with pytest.raises(ArchiveError, match="truncated"):
        resolve(put_local(data, tmp_path), sha256=hashlib.sha256(data).hexdigest())


LITTER = ("._m", ".DS_Store", "__MACOSX/._m", "__MACOSX/m/._saved_model.pb")


@pytest.mark.parametrize("litter", [LITTER, *((one,) for one in LITTER)], ids="+".join)
def test_what_macos_adds_does_not_hide_the_one_folder(litter: tuple[str, ...], tmp_path: Path) -> None:
    members = [
        *(member(name, b"litter") for name in litter),
        *(member(f"m/{name}", data) for name, data in MODEL.items()),
        member("m/.DS_Store", b"inside"),
    ]
    path = Path(resolve(put_local(COMPRESSORS["gzip"](tar_of(*members)), tmp_path)))
    assert files_in(path) == {**MODEL, ".DS_Store": b"inside"}


def test_another_file_beside_the_folder_is_not_removed(tmp_path: Path) -> None:
    files = {"m/saved_model.pb": b"x", "._m": b"litter", "README": b"y"}
    unpack(io.BytesIO(tar_of(*(member(name, data) for name, data in files.items()))), tmp_path)
    assert files_in(tmp_path) == files
