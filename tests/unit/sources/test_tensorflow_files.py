"""Tests of ``sources.tensorflow_files``: what only TensorFlow reads is used in place, after every other source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tfimm_resolver import cached_model_path, resolve, set_model_cache
from tfimm_resolver.errors import HandleError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.integrations.tensorflow_hub import HubResolver
from tfimm_resolver.sources import plugins, registry, tensorflow_files
from tfimm_resolver.sources.plan import InPlace


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    known = {*tensorflow_files._added}
    tensorflow_files._added.clear()
    yield
    tensorflow_files._added.clear()
    tensorflow_files._added.update(known)


@pytest.mark.parametrize(
    "text", ["ram://models/a", "ram://models/a/", "ram:///a", "hdfs://nn:9000/m", "viewfs://c/a b", "har:///x"]
)
def test_a_handle_is_returned_unchanged(text: str) -> None:
    assert resolve(text) == text
    assert resolve(f"{text.partition(':')[0].upper()}:{text.partition(':')[2]}") == text


def test_an_override_and_a_models_file_may_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("ram://models/a", "hdfs:///user/m"):
        set_model_cache("n", path)
        assert resolve("n") == path == cached_model_path("n")
    (tmp_path / "tfimm-models.toml").write_text('[models.m]\nhandle = "hdfs:///user/m"\n')
    monkeypatch.chdir(tmp_path)
    assert resolve("m") == "hdfs:///user/m"


def test_only_an_archive_can_be_pinned() -> None:
    with pytest.raises(HandleError, match="only an archive can be pinned"):
        resolve("ram://a/m", sha256="0" * 64)


def test_a_scheme_that_tensorflow_has_registered_is_known_after_it_was_asked() -> None:
    with pytest.raises(UnknownHandleError) as caught:
        resolve("myfs://a/m")
    assert "load() also reads what a plug-in has added" in caught.value.fix
    tensorflow_files.add_schemes(["", "file", "gs", "myfs"])
    assert resolve("myfs://a/m") == "myfs://a/m"
    assert "" not in tensorflow_files.list_schemes()


def test_other_sources_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow_files.add_schemes(["gs", "https", "s3"])
    for scheme in ("gs", "https", "s3"):
        assert tensorflow_files.plan not in registry.get_sources(scheme)

    def plan(handle: Handle) -> InPlace:
        return InPlace("/mnt/x")

    monkeypatch.setitem(plugins._loaded, "hdfs", plan)
    assert registry.get_sources("hdfs") == [plan]


def test_a_similar_scheme_is_suggested_as_before() -> None:
    for text, words in (("rma://a/m", "Did you mean ram://a/m ?"), ("htps://h/m", "Did you mean https://h/m ?")):
        with pytest.raises(UnknownHandleError) as caught:
            resolve(text)
        assert words in caught.value.fix and "known schemes: file, gs, s3" in str(caught.value)


def test_tensorflow_hub_keeps_its_own_way() -> None:
    assert not HubResolver().is_supported("ram://models/a") and not HubResolver().is_supported("hdfs://nn/m")
