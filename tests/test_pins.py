"""Names with pins: what the models file says is what resolve gives, or an error that shows both."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tfimm_resolver
from tests.archives import MODEL, files_in, tar_gz, zip_of
from tests.origin import Origin
from tests.test_models_file import project as project  # noqa: PLC0414  # a fixture
from tests.test_names import put_model
from tfimm_resolver import cached_model_path, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import (
    ArchiveError,
    HandleError,
    IntegrityError,
    ModelsFileError,
    NotFoundError,
    OfflineError,
    UnknownHandleError,
)
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.resolution import explain

PIN = hashlib.sha256(tar_gz()).hexdigest()
SIZE_BYTES = len(tar_gz())
OTHER = {"saved_model.pb": b"another graph"}
Says = Callable[..., Path]


@pytest.fixture
def says(project: Path) -> Says:
    """Writes the models file: of each name its keys."""

    def write(**models: dict[str, object]) -> Path:
        lines = []
        for name, keys in models.items():
            lines += [f"[models.{name}]", *(f"{key} = {value!r}" for key, value in keys.items()), ""]
        (project / FILE_NAME).write_text("\n".join(lines))
        return project / FILE_NAME

    return write


def pinned(handle: str, **keys: object) -> dict[str, object]:
    """What a models file says of the model of these tests."""
    return {"handle": handle, "sha256": PIN, "size_bytes": SIZE_BYTES, **keys}


def test_a_name_and_its_aliases_are_their_handle(says: Says, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put_model("/resnet18/1", tar_gz())
    says(resnet18=pinned(handle, aliases=["r18"]))
    assert resolve("resnet18") == resolve("r18") == resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    assert files_in(resolve("r18")) == MODEL and len(origin.asked) == 1


def test_a_name_needs_no_pin(says: Says, origin: Origin, project: Path) -> None:
    says(far={"handle": origin.put("/m.tgz", tar_gz())}, near={"handle": "./here"}, bucket={"handle": "gs://b/m"})
    put_model(project / "here")
    assert files_in(resolve("far")) == MODEL
    assert (resolve("near"), resolve("bucket")) == (f"{project}/here", "gs://b/m")


def test_what_comes_and_is_not_as_pinned_shows_both_and_nothing_is_kept(says: Says, origin: Origin, cache_dir: Path) -> None:
    path = says(m=pinned(origin.put("/m.tgz", tar_gz(OTHER))))
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            resolve("m")
        came = hashlib.sha256(tar_gz(OTHER)).hexdigest()
        for told in (f"came   {came}", f"pinned {PIN}", f"m is pinned in {path}:1"):
            assert told in str(caught.value)
    assert list(cache_dir.iterdir()) == []


def test_what_is_cached_and_is_not_as_pinned_is_never_fetched_again_in_silence(
    says: Says, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    tree = resolve(handle)
    origin.put("/m.tgz", tar_gz())
    path = says(m=pinned(handle))
    with pytest.raises(IntegrityError) as caught:
        resolve("m")
    for told in (hashlib.sha256(tar_gz(OTHER)).hexdigest(), PIN, f"{path}:1", "refresh=True"):
        assert told in str(caught.value)
    assert len(origin.asked) == 1 and files_in(tree) == OTHER
    with caplog.at_level(logging.WARNING):
        assert cached_model_path("m") is None
    assert PIN in caplog.text
    assert files_in(resolve("m", refresh=True)) == MODEL and cached_model_path("m") == resolve("m")


def test_a_refresh_that_brings_other_bytes_than_are_pinned_fails_and_the_old_stay(says: Says, origin: Origin) -> None:
    says(m=pinned(origin.put("/m.tgz", tar_gz())))
    path = resolve("m")
    origin.put("/m.tgz", tar_gz(OTHER))
    with pytest.raises(IntegrityError, match="the cached copy stays"):
        resolve("m", refresh=True)
    assert resolve("m") == path and files_in(path) == MODEL


def test_a_size_that_is_not_the_archive_s_is_told(says: Says, origin: Origin) -> None:
    path = says(m=pinned(origin.put("/m.tgz", tar_gz()), size_bytes=SIZE_BYTES + 1))
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            resolve("m")
        assert f"here   {SIZE_BYTES} bytes" in str(caught.value) and f"pinned {SIZE_BYTES + 1} bytes" in str(caught.value)
        assert f"{path}:1" in str(caught.value)


def test_a_pin_that_is_asked_for_must_not_contradict_the_file_s(says: Says, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    path = says(m=pinned(handle), free={"handle": handle})
    with pytest.raises(HandleError) as caught:
        resolve("m", sha256="0" * 64)
    assert PIN in str(caught.value) and "0" * 64 in str(caught.value) and f"{path}:1" in str(caught.value)
    assert origin.asked == []
    assert resolve("m", sha256=PIN) == resolve(f"m#sha256={PIN}") == resolve("free", sha256=PIN)
    with pytest.raises(IntegrityError):
        resolve("free", sha256="0" * 64)


def test_a_directory_of_that_name_does_not_shadow_the_pin(says: Says, origin: Origin, project: Path) -> None:
    put_model(project / "m")
    below = put_model(Path.home() / ".cache/tfimm/m")
    assert resolve("m") == cached_model_path("m") == str(below)
    says(m=pinned(origin.put("/m.tgz", tar_gz())))
    assert cached_model_path("m") is None, "it is not here yet"
    path = resolve("m")
    assert path not in (str(below), str(project / "m")) and cached_model_path("m") == path


def test_an_override_comes_before_the_models_file(says: Says, origin: Origin, tmp_path: Path) -> None:
    mine = put_model(tmp_path / "mine")
    says(m=pinned(origin.put("/m.tgz", tar_gz()), aliases=["n"]))
    tfimm_resolver.set_model_cache("m", mine)
    assert resolve("m") == cached_model_path("m") == str(mine)
    assert resolve("n") != str(mine) and cached_model_path("n") == resolve("n")
    (tmp_path / "project" / FILE_NAME).write_text("nonsense")
    assert resolve("m") == str(mine)


def test_an_override_of_the_handle_counts_for_its_names(
    says: Says, origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine, handle = put_model(tmp_path / "mine"), f"{origin.url}/m.tgz"
    says(free={"handle": handle}, m=pinned(handle, mirrors=[f"{origin.url}/mirror.tgz"]))
    tfimm_resolver.set_model_cache(handle, mine)
    assert resolve("free") == cached_model_path("free") == resolve(handle) == str(mine)
    reason = explain.explain("free")
    assert (reason.answer.rule, reason.path) == ("override", str(mine)) and handle in reason.said_by
    assert not [place for place, _ in reason.not_used if place == "set_model_cache"]
    with pytest.raises(HandleError, match="which is a directory: only an archive can be pinned by sha256") as caught:
        resolve("m")
    assert "set_model_cache(name, path)" in caught.value.fix
    tfimm_resolver.set_model_cache("m", mine)
    assert resolve("m") == str(mine), "the fix helps"
    tfimm_resolver.clear_model_cache("m")
    (tmp_path / "mine.tgz").write_bytes(tar_gz())
    tfimm_resolver.set_model_cache(handle, tmp_path / "mine.tgz")
    assert files_in(resolve("m")) == files_in(resolve("free")) == MODEL
    (tmp_path / "mine.tgz").write_bytes(tar_gz(OTHER))
    with pytest.raises(IntegrityError, match="m is pinned in "):
        resolve("m")
    tfimm_resolver.set_model_cache(handle, tmp_path / "nowhere")
    with pytest.raises(UnknownHandleError, match="nowhere, where nothing is"):
        resolve("free")
    assert cached_model_path("free") is None and "nowhere" in caplog.text
    assert origin.asked == [], "what is overridden is never fetched, from no mirror either"


def test_a_broken_file_hides_no_name(says: Says, project: Path) -> None:
    put_model(Path.home() / ".cache/tfimm/m")
    (project / FILE_NAME).write_text("nonsense")
    for ask in (resolve, cached_model_path):
        with pytest.raises(ModelsFileError, match=r"tfimm-models\.toml:1: "):
            ask("m")


def test_a_pinned_name_that_is_here_needs_no_network(says: Says, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    says(m=pinned(origin.put("/m.tgz", tar_gz())), n=pinned(f"{origin.url}/n.tgz"))
    path = resolve("m")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("m") == cached_model_path("m") == path
    with pytest.raises(OfflineError):
        resolve("n")


def test_a_pin_is_kept_in_every_load_format(says: Says, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    handle = origin.put_model("/m/1", tar_gz())
    says(m=pinned(handle), free={"handle": handle})
    assert resolve("free") == "gs://bucket/m/1" and cached_model_path("free") is None
    assert files_in(resolve("m")) == MODEL


@pytest.mark.parametrize("handle", ["./here", "gs://bucket/m", "s3://bucket/m"])
def test_what_is_no_archive_cannot_be_pinned(says: Says, project: Path, handle: str) -> None:
    put_model(project / "here")
    says(m=pinned(handle))
    with pytest.raises(HandleError, match="only an archive can be pinned by sha256"):
        resolve("m")


def test_a_handle_that_nobody_knows_is_told_with_its_place(says: Says) -> None:
    path = says(m={"handle": "htps://host/m"}, n={"handle": "./missing"})
    for name, line, told in (("m", 1, "Did you mean https://host/m ?"), ("n", 4, "missing")):
        with pytest.raises(UnknownHandleError) as caught:
            resolve(name)
        assert f"{path}:{line}: {name}: " in str(caught.value) and told in str(caught.value)


def test_an_unknown_name_lists_the_file_and_its_closest_names(says: Says) -> None:
    path = says(resnet18={"handle": "https://h/m"}, bert={"handle": "https://h/b", "aliases": ["resnet20"]})
    with pytest.raises(UnknownHandleError) as caught:
        resolve("resnet19")
    assert str(path) in caught.value.text and "resnet18" in caught.value.fix and "resnet20" in caught.value.fix


def test_a_mirror_helps_where_the_handle_fails(says: Says, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    handle = f"{origin.url}/gone.tgz"
    says(m=pinned(handle, mirrors=[f"{origin.url}/gone, too.tgz", origin.put_model("/mirror", tar_gz()), "https://never/"]))
    with caplog.at_level(logging.WARNING):
        path = resolve("m")
    assert files_in(path) == MODEL and Path(path).name == entry_name_for_key(handle), "it is the handle's model"
    assert origin.asked == ["/gone.tgz", "/gone,%20too.tgz", "/mirror?tf-hub-format=compressed"]
    assert "404" in caplog.text and f"trying the mirror {origin.url}/mirror" in caplog.text
    record = Path(f"{path}.descriptor.txt").read_text()
    assert f"Module: {handle}\n" in record and f'"url": "{origin.url}/mirror"' in record


def test_a_half_that_came_from_the_handle_is_not_mixed_with_a_mirror_s(says: Says, origin: Origin, cache_dir: Path) -> None:
    broken = zip_of({"left": b"over"})[:-1]
    handle = origin.put("/m.tgz", tar_gz({"only/here": os.urandom(3 << 20), **MODEL})[:-8])  # unpacked, up to its end
    says(m=pinned(handle, mirrors=[origin.put("/m.zip", broken), origin.put("/mirror.tgz", tar_gz())]))
    assert files_in(resolve("m")) == MODEL
    assert len(list(cache_dir.iterdir())) == 2


def test_a_mirror_on_this_disk_serves_offline(says: Says, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    says(m=pinned(f"{origin.url}/m.tgz", mirrors=["./missing.tgz", "~/models", "~/m.tgz"]))
    (Path.home() / "models").mkdir()
    (Path.home() / "m.tgz").write_bytes(tar_gz())
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert files_in(resolve("m")) == MODEL


def test_other_bytes_than_are_pinned_are_an_error_wherever_they_come_from(says: Says, origin: Origin) -> None:
    good, bad, gone = origin.put("/good.tgz", tar_gz()), origin.put("/bad.tgz", tar_gz(OTHER)), f"{origin.url}/gone.tgz"
    says(changed=pinned(bad, mirrors=[good]), mirrored=pinned(gone, mirrors=[bad, good]))
    for name in ("changed", "mirrored"):
        origin.asked.clear()
        with pytest.raises(IntegrityError) as caught:
            resolve(name)
        assert PIN in str(caught.value) and hashlib.sha256(tar_gz(OTHER)).hexdigest() in str(caught.value)
        assert "/bad.tgz" in str(caught.value) and "/good.tgz" not in origin.asked


def test_where_no_mirror_helps_every_failure_is_told(says: Says, origin: Origin) -> None:
    damaged = origin.put("/damaged.tgz", tar_gz()[:-1])
    says(m=pinned(f"{origin.url}/gone.tgz", mirrors=[damaged, "./missing.tgz"]), n=pinned(damaged, mirrors=["~/x.tgz"]))
    with pytest.raises(NotFoundError) as caught:
        resolve("m")
    for told in ("/gone.tgz answered 404", "no mirror helped", "damaged.tgz", "missing.tgz is nowhere to be found"):
        assert told in caught.value.text
    with pytest.raises(ArchiveError):
        resolve("n")


def test_mirrors_without_a_pin_are_not_believed(says: Says, origin: Origin) -> None:
    path = says(m={"handle": f"{origin.url}/gone.tgz", "mirrors": [origin.put("/m.tgz", tar_gz())]})
    with pytest.raises(ModelsFileError) as caught:
        resolve("m")
    assert f"{path}:1: m has mirrors, and no sha256" in caught.value.text and "tfimm-resolver lock m" in caught.value.fix
    assert origin.asked == []
    assert files_in(resolve("m", sha256=PIN)) == MODEL


def test_without_mirrors_the_error_is_the_handle_s_own(says: Says, origin: Origin) -> None:
    says(m=pinned(f"{origin.url}/gone.tgz"))
    with pytest.raises(NotFoundError) as caught:
        resolve("m")
    assert "mirror" not in str(caught.value)


def test_an_extra_root_with_other_bytes_than_are_pinned_is_passed_over(
    says: Says, origin: Origin, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    resolve(handle)
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    origin.put("/m.tgz", tar_gz())
    says(m=pinned(handle), n={"handle": handle})
    assert cached_model_path("n") == f"{tmp_path}/extra/{entry_name_for_key(handle)}" and cached_model_path("m") is None
    assert resolve("m") == cached_model_path("m") == f"{cache_dir}/{entry_name_for_key(handle)}"
