"""Names with pins: resolve returns the model that the models file pins, or an error that shows both hashes."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz, zip_of
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.pins import OTHER, PIN, SIZE_BYTES, WriteModels, make_pinned
from tests.fakes.pins import write_models as write_models  # noqa: PLC0414  # a fixture
from tfimm_resolver import cached_model_path, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.cache.tiers import Lookup
from tfimm_resolver.errors import (
    ArchiveError,
    HandleError,
    IntegrityError,
    ModelsFileError,
    NotFoundError,
    OfflineError,
    UnknownHandleError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.project import pins
from tfimm_resolver.resolution import explain


def test_a_name_and_its_aliases_resolve_as_their_handle(write_models: WriteModels, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put_model("/resnet18/1", tar_gz())
    write_models(resnet18=make_pinned(handle, aliases=["r18"]))
    assert resolve("resnet18") == resolve("r18") == resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    assert files_in(resolve("r18")) == MODEL and len(origin.requests) == 1


def test_a_name_needs_no_pin(write_models: WriteModels, origin: Origin, project: Path) -> None:
    write_models(far={"handle": origin.put("/m.tgz", tar_gz())}, near={"handle": "./here"}, bucket={"handle": "gs://b/m"})
    put_model(project / "here")
    assert files_in(resolve("far")) == MODEL
    assert (resolve("near"), resolve("bucket")) == (f"{project}/here", "gs://b/m")


def test_a_mismatch_shows_both_hashes_and_nothing_is_cached(
    write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    path = write_models(m=make_pinned(origin.put("/m.tgz", tar_gz(OTHER))))
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            resolve("m")
        received = hashlib.sha256(tar_gz(OTHER)).hexdigest()
        for text in (f"received {received}", f"pinned   {PIN}", f"m is pinned in {path}:1"):
            assert text in str(caught.value)
    assert list(cache_dir.iterdir()) == []


def test_a_cached_model_that_does_not_match_its_pin_is_not_fetched_again_silently(
    write_models: WriteModels, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    tree = resolve(handle)
    origin.put("/m.tgz", tar_gz())
    path = write_models(m=make_pinned(handle))
    with pytest.raises(IntegrityError) as caught:
        resolve("m")
    for text in (hashlib.sha256(tar_gz(OTHER)).hexdigest(), PIN, f"{path}:1", "refresh=True"):
        assert text in str(caught.value)
    assert len(origin.requests) == 1 and files_in(tree) == OTHER
    with caplog.at_level(logging.WARNING):
        assert cached_model_path("m") is None
    assert PIN in caplog.text
    assert files_in(resolve("m", refresh=True)) == MODEL and cached_model_path("m") == resolve("m")


def test_a_refresh_that_does_not_match_the_pin_fails_and_the_old_copy_stays(write_models: WriteModels, origin: Origin) -> None:
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz())))
    path = resolve("m")
    origin.put("/m.tgz", tar_gz(OTHER))
    with pytest.raises(IntegrityError, match="the cached copy is unchanged"):
        resolve("m", refresh=True)
    assert resolve("m") == path and files_in(path) == MODEL


def test_a_size_that_differs_from_the_archives_is_an_error(write_models: WriteModels, origin: Origin) -> None:
    path = write_models(m=make_pinned(origin.put("/m.tgz", tar_gz()), size_bytes=SIZE_BYTES + 1))
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            resolve("m")
        assert f"cached {SIZE_BYTES} bytes" in str(caught.value) and f"pinned {SIZE_BYTES + 1} bytes" in str(caught.value)
        assert f"{path}:1" in str(caught.value)


def test_a_requested_pin_must_not_contradict_the_models_file(write_models: WriteModels, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    path = write_models(m=make_pinned(handle), free={"handle": handle})
    with pytest.raises(HandleError) as caught:
        resolve("m", sha256="0" * 64)
    assert PIN in str(caught.value) and "0" * 64 in str(caught.value) and f"{path}:1" in str(caught.value)
    assert origin.requests == []
    assert resolve("m", sha256=PIN) == resolve(f"m#sha256={PIN}") == resolve("free", sha256=PIN)
    with pytest.raises(IntegrityError):
        resolve("free", sha256="0" * 64)


def test_a_directory_of_that_name_does_not_shadow_the_pin(write_models: WriteModels, origin: Origin, project: Path) -> None:
    put_model(project / "m")
    below = put_model(Path.home() / ".cache/tfimm/m")
    assert resolve("m") == cached_model_path("m") == str(below)
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz())))
    assert cached_model_path("m") is None, "it is not fetched yet"
    path = resolve("m")
    assert path not in (str(below), str(project / "m")) and cached_model_path("m") == path


def test_an_override_comes_before_the_models_file(write_models: WriteModels, origin: Origin, tmp_path: Path) -> None:
    mine = put_model(tmp_path / "mine")
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz()), aliases=["n"]))
    tfimm_resolver.set_model_cache("m", mine)
    assert resolve("m") == cached_model_path("m") == str(mine)
    assert resolve("n") != str(mine) and cached_model_path("n") == resolve("n")
    (tmp_path / "project" / FILE_NAME).write_text("nonsense")
    assert resolve("m") == str(mine)


def test_an_override_of_the_handle_applies_to_its_names(
    write_models: WriteModels, origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine, handle = put_model(tmp_path / "mine"), f"{origin.url}/m.tgz"
    write_models(free={"handle": handle}, m=make_pinned(handle, mirrors=[f"{origin.url}/mirror.tgz"]))
    tfimm_resolver.set_model_cache(handle, mine)
    assert resolve("free") == cached_model_path("free") == resolve(handle) == str(mine)
    reason = explain.explain("free")
    assert (reason.resolved.rule, reason.path) == ("override", str(mine)) and handle in reason.decided_by
    assert not [path for path, _ in reason.rejected if path == "set_model_cache"]
    with pytest.raises(HandleError, match="which is a directory: only an archive can be pinned by sha256") as caught:
        resolve("m")
    assert "set_model_cache(name, path)" in caught.value.fix
    tfimm_resolver.set_model_cache("m", mine)
    assert resolve("m") == str(mine), "the suggested fix works"
    tfimm_resolver.clear_model_cache("m")
    (tmp_path / "mine.tgz").write_bytes(tar_gz())
    tfimm_resolver.set_model_cache(handle, tmp_path / "mine.tgz")
    assert files_in(resolve("m")) == files_in(resolve("free")) == MODEL
    (tmp_path / "mine.tgz").write_bytes(tar_gz(OTHER))
    with pytest.raises(IntegrityError, match="m is pinned in "):
        resolve("m")
    tfimm_resolver.set_model_cache(handle, tmp_path / "nowhere")
    with pytest.raises(UnknownHandleError, match="nowhere, which does not exist"):
        resolve("free")
    assert cached_model_path("free") is None and "nowhere" in caplog.text
    assert origin.requests == [], "an overridden handle is never fetched, nor its mirrors"


def test_a_broken_file_hides_no_name(write_models: WriteModels, project: Path) -> None:
    put_model(Path.home() / ".cache/tfimm/m")
    (project / FILE_NAME).write_text("nonsense")
    for function in (resolve, cached_model_path):
        with pytest.raises(ModelsFileError, match=r"tfimm-models\.toml:1: "):
            function("m")


def test_a_cached_pinned_name_needs_no_network(
    write_models: WriteModels, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz())), n=make_pinned(f"{origin.url}/n.tgz"))
    path = resolve("m")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("m") == cached_model_path("m") == path
    with pytest.raises(OfflineError):
        resolve("n")


def test_a_pin_holds_in_every_load_format(write_models: WriteModels, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    handle = origin.put_model("/m/1", tar_gz())
    write_models(m=make_pinned(handle), free={"handle": handle})
    assert resolve("free") == "gs://bucket/m/1" and cached_model_path("free") is None
    assert files_in(resolve("m")) == MODEL


@pytest.mark.parametrize("handle", ["./here", "gs://bucket/m", "s3://bucket/m"])
def test_a_model_that_is_not_an_archive_cannot_be_pinned(write_models: WriteModels, project: Path, handle: str) -> None:
    put_model(project / "here")
    write_models(m=make_pinned(handle))
    with pytest.raises(HandleError, match="only an archive can be pinned by sha256"):
        resolve("m")


def test_an_unknown_handle_is_reported_with_its_location(write_models: WriteModels) -> None:
    path = write_models(m={"handle": "htps://host/m"}, n={"handle": "./missing"})
    for name, line, text in (("m", 1, "Did you mean https://host/m ?"), ("n", 4, "missing")):
        with pytest.raises(UnknownHandleError) as caught:
            resolve(name)
        assert f"{path}:{line}: {name}: " in str(caught.value) and text in str(caught.value)


def test_an_unknown_name_lists_the_file_and_its_closest_names(write_models: WriteModels) -> None:
    path = write_models(resnet18={"handle": "https://h/m"}, bert={"handle": "https://h/b", "aliases": ["resnet20"]})
    with pytest.raises(UnknownHandleError) as caught:
        resolve("resnet19")
    assert str(path) in caught.value.text and "resnet18" in caught.value.fix and "resnet20" in caught.value.fix


def test_a_mirror_is_used_if_the_handle_fails(
    write_models: WriteModels, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    handle = f"{origin.url}/gone.tgz"
    write_models(
        m=make_pinned(handle, mirrors=[f"{origin.url}/gone, too.tgz", origin.put_model("/mirror", tar_gz()), "https://never/"])
    )
    with caplog.at_level(logging.WARNING):
        path = resolve("m")
    assert files_in(path) == MODEL and Path(path).name == entry_name_for_key(handle), "it is cached under the handle"
    assert origin.requests == ["/gone.tgz", "/gone,%20too.tgz", "/mirror?tf-hub-format=compressed"]
    assert "404" in caplog.text and f"trying the mirror {origin.url}/mirror" in caplog.text
    record = Path(f"{path}.descriptor.txt").read_text()
    assert f"Module: {handle}\n" in record and f'"url": "{origin.url}/mirror"' in record


def test_partial_files_from_the_handle_are_not_mixed_with_a_mirrors(
    write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    broken = zip_of({"left": b"over"})[:-1]
    handle = origin.put(
        "/m.tgz", tar_gz({"only/here": os.urandom(3 << 20), **MODEL})[:-8]
    )  # truncated, so that it is unpacked up to its end
    write_models(m=make_pinned(handle, mirrors=[origin.put("/m.zip", broken), origin.put("/mirror.tgz", tar_gz())]))
    assert files_in(resolve("m")) == MODEL
    assert len(list(cache_dir.iterdir())) == 2


def test_a_mirror_on_this_disk_serves_offline(
    write_models: WriteModels, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_models(m=make_pinned(f"{origin.url}/m.tgz", mirrors=["./missing.tgz", "~/models", "~/m.tgz"]))
    (Path.home() / "models").mkdir()
    (Path.home() / "m.tgz").write_bytes(tar_gz())
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert files_in(resolve("m")) == MODEL


def test_a_mismatch_with_the_pin_is_an_error_from_any_source(write_models: WriteModels, origin: Origin) -> None:
    good, bad, gone = origin.put("/good.tgz", tar_gz()), origin.put("/bad.tgz", tar_gz(OTHER)), f"{origin.url}/gone.tgz"
    write_models(changed=make_pinned(bad, mirrors=[good]), mirrored=make_pinned(gone, mirrors=[bad, good]))
    for name in ("changed", "mirrored"):
        origin.requests.clear()
        with pytest.raises(IntegrityError) as caught:
            resolve(name)
        assert PIN in str(caught.value) and hashlib.sha256(tar_gz(OTHER)).hexdigest() in str(caught.value)
        assert "/bad.tgz" in str(caught.value) and "/good.tgz" not in origin.requests


def test_if_all_mirrors_fail_every_failure_is_reported(write_models: WriteModels, origin: Origin) -> None:
    damaged = origin.put("/damaged.tgz", tar_gz()[:-1])
    write_models(
        m=make_pinned(f"{origin.url}/gone.tgz", mirrors=[damaged, "./missing.tgz"]),
        n=make_pinned(damaged, mirrors=["~/x.tgz"]),
    )
    with pytest.raises(NotFoundError) as caught:
        resolve("m")
    for text in ("/gone.tgz answered 404", "all mirrors failed", "damaged.tgz", "missing.tgz does not exist"):
        assert text in caught.value.text
    with pytest.raises(ArchiveError):
        resolve("n")


def test_mirrors_without_a_pin_are_not_used(write_models: WriteModels, origin: Origin) -> None:
    path = write_models(m={"handle": f"{origin.url}/gone.tgz", "mirrors": [origin.put("/m.tgz", tar_gz())]})
    with pytest.raises(ModelsFileError) as caught:
        resolve("m")
    assert (
        f"{path}:1: m has mirrors, but no sha256" in caught.value.text
        and "tfimm-resolver lock m" in caught.value.advice.command
    )
    assert origin.requests == []
    assert files_in(resolve("m", sha256=PIN)) == MODEL


def test_without_mirrors_the_error_is_the_handles_own(write_models: WriteModels, origin: Origin) -> None:
    write_models(m=make_pinned(f"{origin.url}/gone.tgz"))
    with pytest.raises(NotFoundError) as caught:
        resolve("m")
    assert "mirror" not in str(caught.value)


def test_an_extra_root_that_does_not_match_the_pin_is_skipped(
    write_models: WriteModels, origin: Origin, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    resolve(handle)
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    origin.put("/m.tgz", tar_gz())
    write_models(m=make_pinned(handle), n={"handle": handle})
    assert cached_model_path("n") == f"{tmp_path}/extra/{entry_name_for_key(handle)}" and cached_model_path("m") is None
    assert resolve("m") == cached_model_path("m") == f"{cache_dir}/{entry_name_for_key(handle)}"


def test_a_model_that_is_just_being_published_is_hashed_nevertheless(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the directory and its record, a model looks like one of plain tensorflow_hub, which records no hash."""
    handle = origin.put("/m.tgz", tar_gz())
    is_published, is_found = threading.Event(), threading.Event()
    write, find = LocalRoot.write, Lookup.find

    def write_later(self: LocalRoot, name: str, text: str) -> None:
        is_published.set()
        assert is_found.wait(60)
        write(self, name, text)

    def find_between(self: Lookup) -> ModelLocation | None:
        found = find(self)
        if threading.current_thread() is not publisher and not is_published.is_set():
            publisher.start()
            assert found is None and is_published.wait(60)
        elif threading.current_thread() is not publisher:
            is_found.set()
        return found

    publisher = threading.Thread(target=resolve, args=[handle])
    monkeypatch.setattr(LocalRoot, "write", write_later)
    monkeypatch.setattr(Lookup, "find", find_between)
    path, found = pins.fetch_and_hash(Handle.parse(handle), refresh=False)
    publisher.join()
    assert found.sha256 == PIN and files_in(path) == MODEL
