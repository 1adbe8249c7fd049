"""Resolving handles to paths, end to end in one process."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, REAL, files_in, tar_gz
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.errors import CacheError, FetchError, HandleError, IntegrityError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import local, registry
from tfimm_resolver.sources.plan import Fetch
from tfimm_resolver.transfer.downloader import Downloader


def test_a_tfhub_style_url_is_fetched_once_in_every_spelling(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put_model("/google/model/1", tar_gz())
    path = resolve(handle)
    assert path == f"{cache_dir}/{hashlib.sha1(handle.encode()).hexdigest()}" and files_in(path) == MODEL
    variants = (f"{handle}/", f"{handle}?tf-hub-format=compressed", handle.replace("http:", "HTTP:"))
    assert {resolve(variant) for variant in variants} == {path}
    assert origin.requests == ["/google/model/1?tf-hub-format=compressed"]


def test_the_url_of_an_archive_is_requested_unchanged(origin: Origin) -> None:
    assert files_in(resolve(origin.put("/m.tgz", tar_gz()))) == MODEL
    assert origin.requests == ["/m.tgz"]


def test_a_refresh_fetches_again(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    old = resolve(handle)
    origin.put("/m.tar.gz", tar_gz({"saved_model.pb": b"new"}))
    new = resolve(handle, refresh=True)
    assert files_in(old) == MODEL and files_in(new) == {"saved_model.pb": b"new"} and resolve(handle) == new


def test_a_directory_is_returned_absolute_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(tmp_path / "a b" / "модель")
    monkeypatch.chdir(tmp_path)
    assert resolve("a b/модель") == resolve(Path("a b/модель")) == f"{tmp_path}/a b/модель"
    assert resolve(f"file://{tmp_path}/a%20b/модель") == f"{tmp_path}/a b/модель"


def test_dots_are_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(tmp_path, {"saved_model.pbtxt": b""})
    monkeypatch.chdir(put_model(tmp_path / "m"))
    assert (resolve("."), resolve(Path(".."))) == (f"{tmp_path}/m", str(tmp_path))


@pytest.mark.parametrize("name", ["n" * 300, "\ud800", "\udcff"])
def test_a_name_that_is_not_a_valid_file_name_is_unknown(name: str) -> None:
    (Path.home() / ".cache/tfimm").mkdir(parents=True)
    with pytest.raises(UnknownHandleError):
        resolve(name)


def test_without_a_working_directory_a_relative_handle_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CacheError, match="working directory was removed"):
        resolve("a/b")


def test_an_archive_in_a_path_of_any_bytes_is_unpacked(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tar.gz")
    Path(path).write_bytes(tar_gz())
    assert files_in(resolve(path)) == MODEL == files_in(resolve(path))


def test_an_archive_that_changes_while_it_is_read_is_an_error(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "m.tar.gz"
    path.write_bytes(tar_gz())
    plan = local.plan(Handle.parse(path))
    assert isinstance(plan, Fetch)
    path.write_bytes(tar_gz({"saved_model.pb": b"other"}))
    (into := tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError, match="changed while it was read"):
        plan.fill(into, Downloader(Handle.parse(path)))


def test_a_pin_of_an_override_is_checked(origin: Origin) -> None:
    tfimm_resolver.set_model_cache("m", f"{origin.put('/m.tar.gz', tar_gz())}#sha256={'0' * 64}")
    with pytest.raises(IntegrityError):
        resolve("m")
    with pytest.raises(HandleError, match="another sha256"):
        resolve("m", sha256="1" * 64)


def test_the_record_names_the_archive_and_not_the_requested_name(cache_dir: Path) -> None:
    shutil.copy(REAL, Path.home() / "m.tgz")
    tfimm_resolver.set_model_cache("m", "~/m.tgz")
    for handle in ("m", "~/m.tgz"):
        resolve(handle, refresh=True)
        (text,) = (path.read_text() for path in cache_dir.glob("*.txt"))
        assert text.startswith(f"Module: {Path.home()}/m.tgz\n")


def test_a_private_root_stays_private_whatever_the_umask(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0)
    try:
        tree = Path(resolve(origin.put("/m.tar.gz", tar_gz())))
    finally:
        os.umask(before)
    everything = [tree.parent, *tree.parent.rglob("*")]
    assert len(everything) == 7 and not [path for path in everything if path.stat().st_mode & 0o022]


def test_a_home_relative_path_is_expanded() -> None:
    put_model(Path.home() / "model")
    assert resolve("~/model") == f"{Path.home()}/model"


def test_a_local_archive_is_unpacked_once_and_keyed_by_its_content(tmp_path: Path, cache_dir: Path) -> None:
    copy = tmp_path / "copy.tgz"
    shutil.copy(REAL, copy)
    path = resolve(REAL)
    assert resolve(copy) == path and "saved_model.pb" in os.listdir(path)
    copy.write_bytes(tar_gz())
    assert resolve(copy) != path and files_in(resolve(copy)) == MODEL
    assert len(list(cache_dir.glob("*.txt"))) == 2


def test_a_gs_directory_is_returned_unchanged(cache_dir: Path) -> None:
    assert resolve("gs://bucket/models/1/") == resolve("GS://bucket/models/1/") == "gs://bucket/models/1/"
    assert not cache_dir.exists()


def test_a_public_gs_archive_is_fetched(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", origin.url)
    origin.put("/bucket/models/a%20b.tar.gz", tar_gz())
    assert files_in(resolve("gs://bucket/models/a b.tar.gz")) == MODEL


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("tfhb://google/nnlm/2", "Did you mean https://tfhub.dev/google/nnlm/2 ?"),
        ("htps://host/m", "Did you mean https://host/m ?"),
        ("ftp://host/m", "known schemes: file, gs, s3, github, kaggle, http, https, hf"),
        ("/nowhere/at/all", "looked at: /nowhere/at/all"),
        ("no_such_model", "looked at: "),
    ],
)
def test_an_unknown_handle_lists_known_schemes_and_suggestions(handle: str, text: str) -> None:
    with pytest.raises(UnknownHandleError) as caught:
        resolve(handle)
    assert text in str(caught.value) and handle in str(caught.value)


@pytest.mark.parametrize("handle", ["", b"x", "a\0b", "http://[::1/x"])
def test_a_handle_that_cannot_be_parsed_is_an_error(handle: str) -> None:
    with pytest.raises(HandleError):
        resolve(handle)


def test_a_file_without_the_name_of_an_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"x")
    with pytest.raises(HandleError, match="does not end in"):
        resolve(tmp_path / "model.h5")


def test_a_directory_cannot_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(HandleError, match="only an archive can be pinned"):
        resolve(put_model(tmp_path / "m"), sha256="0" * 64)


def test_a_root_with_blanks_and_non_ascii_letters_works(origin: Origin, tmp_path: Path) -> None:
    tfimm_resolver.set_dir(tmp_path / "ein Ort für модели")
    assert files_in(resolve(origin.put("/m.tar.gz", tar_gz()))) == MODEL


def test_a_root_that_is_a_file_is_an_error(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        tfimm_resolver.set_dir(root)
        with pytest.raises(CacheError, match="Not a directory") as caught:
            resolve(origin.put("/m.tar.gz", tar_gz()))
        assert str(root) in str(caught.value) and "TFHUB_CACHE_DIR" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"mine" and origin.requests == []


def test_a_temporary_root_is_warned_about_once(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        for path in ("/a.tar.gz", "/b.tar.gz"):
            resolve(origin.put(path, tar_gz()))
    assert caplog.text.count("export TFHUB_CACHE_DIR") == 1
    assert stat.S_IMODE((tmp_path / "tfhub_modules").stat().st_mode) & 0o022 == 0


def test_a_private_temporary_root_is_created_for_its_user_only(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "tfhub_modules").mkdir()
    (tmp_path / "tfhub_modules").chmod(0o777)
    root = Path(resolve(origin.put("/m.tar.gz", tar_gz()))).parent
    assert root.name.startswith("tfhub_modules-") and stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_pin_holds_in_every_load_format(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    handle = origin.put_model("/m/1", tar_gz())
    assert resolve(handle) == "gs://bucket/m/1"
    assert files_in(resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest())) == MODEL


def test_a_local_archive_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"gone\.tgz cannot be read: No such file"):
        Downloader(Handle.parse("gone.tgz")).local_archive(str(tmp_path / "gone.tgz"), tmp_path)


def test_the_source_of_the_documentation_works(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "guides" / "write-a-source.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    assert "https://models.example.org/" in code
    (tmp_path / "zoo.py").write_text(code.replace("https://models.example.org", origin.url))
    monkeypatch.syspath_prepend(tmp_path)
    import zoo

    monkeypatch.setitem(registry._BY_SCHEME, "zoo", [zoo.plan])
    origin.put("/lion.tgz", tar_gz())
    assert files_in(resolve("zoo://lion")) == MODEL
