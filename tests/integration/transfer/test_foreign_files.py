"""Files of other formats by URL and by path: the error says what to do, and nothing is cached as a model."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, member, tar_gz, tar_of, zip_of
from tests.fakes.foreign_files import GENERAL, POINTER, STARTS, ZIPS, make_zip
from tests.fakes.origin import Origin
from tfimm_resolver import hub
from tfimm_resolver.errors import ArchiveError, FetchError, HandleError

PAGES = ("page", "page after a comment", "page behind an XML declaration")
TEXTS = (*PAGES, "json", "xml", "xml without a declaration", "text")


def list_cached(cache_dir: Path) -> list[str]:
    """Return the names of the files below the cache."""
    return [str(path) for path in cache_dir.rglob("*")]


def fail(handle: str) -> ArchiveError:
    """Return the error of a handle whose download is not an archive of a model."""
    with pytest.raises(ArchiveError) as caught:
        tfimm_resolver.resolve(handle)
    return caught.value


@pytest.mark.parametrize("kind", STARTS)
def test_a_foreign_file_is_refused_by_url_and_path_with_what_to_do(
    kind: str, origin: Origin, cache_dir: Path, tmp_path: Path
) -> None:
    start, title = STARTS[kind]
    (tmp_path / "m.tar.gz").write_bytes(start)
    for handle in (origin.put("/m.tar.gz", start), origin.put_model("/m/1", start), str(tmp_path / "m.tar.gz")):
        error = fail(handle)
        assert error.fix and (kind in TEXTS or title in error.text), str(error)
        assert error.is_page == (kind in PAGES) == ("an HTML page: '" in error.text)
    assert list_cached(cache_dir) == []
    (tmp_path / "m.bin").write_bytes(start)
    with pytest.raises(HandleError, match=f"m.bin is a file, but .*: it is .*{title}") as caught:
        tfimm_resolver.resolve(str(tmp_path / "m.bin"))
    assert caught.value.fix


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_of_another_format_is_not_cached(kind: str, origin: Origin, cache_dir: Path) -> None:
    names, title = ZIPS[kind]
    error = fail(origin.put_model("/m.keras", make_zip(names)))
    assert title in error.text and error.fix and list_cached(cache_dir) == []
    path = tfimm_resolver.resolve(origin.put("/with.zip", make_zip((*names, "model/saved_model.pb"))))
    assert "model/saved_model.pb" in files_in(path) or "saved_model.pb" in files_in(path)


@pytest.mark.parametrize("kind", GENERAL)
def test_a_general_zip_stays_resolvable(kind: str, origin: Origin) -> None:
    path = tfimm_resolver.resolve(origin.put("/m.zip", make_zip(GENERAL[kind])) + "#subdirectory=.")
    assert len(files_in(path)) == len(GENERAL[kind])


def test_the_same_members_in_a_tar_stay_resolvable(origin: Origin) -> None:
    for number, (names, _) in enumerate(ZIPS.values()):
        path = tfimm_resolver.resolve(origin.put(f"/{number}.tar.gz", tar_gz(dict.fromkeys(names, b"x"))))
        assert set(files_in(path)) == set(names)


def test_an_archive_whose_first_name_looks_like_another_format_is_unpacked(origin: Origin, tmp_path: Path) -> None:
    for number, name in enumerate(("GGUF", "xxxxTFL3", "version https", "{")):
        tar = tar_of(member(name, b"x"), *(member(other, data) for other, data in MODEL.items()))
        for archive in (tar, gzip.compress(tar), zip_of({name: b"x", **MODEL})):
            path = tfimm_resolver.resolve(origin.put(f"/{number}-{len(archive)}.tar", archive))
            assert files_in(path) == {name: b"x", **MODEL}


@pytest.mark.parametrize("kind", ["h5", "tflite", "pickle", "pointer"])
def test_a_compressed_foreign_file_is_known(kind: str, origin: Origin) -> None:
    start, title = STARTS[kind]
    assert title in fail(origin.put("/m.h5.gz.tar.gz", gzip.compress(start * 3))).text


def test_the_name_decides_about_unknown_bytes(origin: Origin, tmp_path: Path) -> None:
    assert "an ONNX model" in fail(origin.put_model("/m.onnx", b"\xff\xfe\1\2" * 99)).text
    (tmp_path / "m.onnx").write_bytes(b"\xff\xfe\1\2" * 99)
    with pytest.raises(HandleError, match="an ONNX model"):
        tfimm_resolver.resolve(str(tmp_path / "m.onnx"))


def test_a_page_or_pointer_of_a_git_host_names_the_address_of_the_file(origin: Origin) -> None:
    error = fail(origin.put("/a/b/-/blob/main/m.tar.gz", STARTS["page"][0]))
    assert error.fix == f"Use the address of the file itself: {origin.url}/a/b/-/raw/main/m.tar.gz"
    error = fail(origin.put("/a/b/src/branch/main/m.tar.gz", POINTER))
    assert error.fix == f"Use the address of the file itself: {origin.url}/a/b/raw/branch/main/m.tar.gz"
    assert "git lfs pull" in fail(origin.put("/m.tar.gz", POINTER)).fix


def test_a_damaged_archive_is_not_taken_for_another_format(origin: Origin) -> None:
    for number, body in enumerate((tar_gz()[:-20], zip_of()[:-20], b"PK\x03\x04{}", b"\x1f\x8b{}")):
        with pytest.raises(FetchError) as caught:
            tfimm_resolver.resolve(origin.put_model(f"/{number}/m.h5", body))
        assert "not an archive of a model" not in str(caught.value)


@pytest.mark.parametrize("kind", ["page", "pointer"])
def test_a_page_or_pointer_is_not_cached_as_weights_but_downloaded_as_a_file(
    kind: str, origin: Origin, tmp_path: Path
) -> None:
    url = origin.put("/m.weights.h5", STARTS[kind][0])
    with pytest.raises(FetchError, match=r"it is not 'm\.weights\.h5', but a"):
        hub.load_state_dict_from_url(url, tmp_path / "weights", progress=False)
    assert [path for path in (tmp_path / "weights").rglob("*") if path.is_file()] == []
    hub.download_url_to_file(url, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == STARTS[kind][0]


def test_weights_on_a_page_of_a_known_host_are_refused_before_any_request() -> None:
    url = "https://github.com/ada/m/blob/main/m.weights.h5"
    for call in (hub.load_state_dict_from_url, hub.load_saved_model_from_url):
        with pytest.raises(HandleError, match=r"https://github.com/ada/m/raw/main/m\.weights\.h5"):
            call(url, progress=False)
