"""Models by name: what tfimm documents, and where this package goes further."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, REAL
from tests.fakes.named_models import put_model
from tfimm_resolver.errors import HandleError, UnknownHandleError
from tfimm_resolver.resolution import overrides


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that ``get_dir`` returns."""
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_override_comes_before_the_directory(models: Path, tmp_path: Path) -> None:
    put_model(models / "resnet18")
    mine = put_model(tmp_path / "mine")
    tfimm_resolver.set_model_cache("resnet18", mine)
    assert tfimm_resolver.resolve("resnet18") == tfimm_resolver.cached_model_path("resnet18") == str(mine)
    tfimm_resolver.clear_model_cache("resnet18")
    assert tfimm_resolver.resolve("resnet18") == tfimm_resolver.cached_model_path("resnet18") == f"{models}/resnet18"


def test_the_documented_example_works() -> None:
    put_model(Path.home() / "resnet18_saved")
    tfimm_resolver.set_model_cache("resnet18", "~/resnet18_saved")
    assert tfimm_resolver.cached_model_path("resnet18") == f"{Path.home()}/resnet18_saved"


def test_the_list_shows_only_names_that_were_set_sorted(models: Path) -> None:
    put_model(models / "resnet18")
    tfimm_resolver.set_model_cache("b", "/b")
    tfimm_resolver.set_model_cache("a", "/a")
    assert tfimm_resolver.list_cached_models() == ["a", "b"]


def test_clearing_is_silent_if_nothing_was_set_and_deletes_nothing(tmp_path: Path) -> None:
    mine = put_model(tmp_path / "mine")
    tfimm_resolver.clear_model_cache("resnet18")
    tfimm_resolver.set_model_cache("resnet18", mine)
    tfimm_resolver.clear_model_cache("resnet18")
    assert tfimm_resolver.list_cached_models() == [] and (mine / "saved_model.pb").exists()


def test_incomplete_directories_and_files_are_not_models(models: Path) -> None:
    (models / "empty").mkdir(parents=True)
    (models / "file").write_bytes(b"x")
    put_model(models / "half", {name: data for name, data in MODEL.items() if "data" not in name})
    put_model(models / "other", {"weights.h5": b"x"})
    for name in ("empty", "file", "half", "other"):
        assert tfimm_resolver.cached_model_path(name) is None
        with pytest.raises(UnknownHandleError):
            tfimm_resolver.resolve(name)


def test_one_missing_shard_of_several_is_detected(models: Path) -> None:
    files = {"saved_model.pb": b"g", "variables/variables.index": b"i", "variables/variables.data-00000-of-00002": b"w"}
    put_model(models / "m", files)
    assert tfimm_resolver.cached_model_path("m") is None
    put_model(models / "m", {"variables/variables.data-00001-of-00002": b"w"})
    assert tfimm_resolver.cached_model_path("m") == f"{models}/m"


def test_the_coded_and_the_documented_default_directories_are_used(tmp_path: Path) -> None:
    documented = put_model(Path.home() / ".cache/resnet18")
    assert tfimm_resolver.resolve("resnet18") == str(documented)
    coded = put_model(Path.home() / ".cache/tfimm/resnet18")
    assert tfimm_resolver.resolve("resnet18") == str(coded)


def test_a_directory_of_that_name_in_the_working_directory_comes_last(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = put_model(tmp_path / "here/resnet18")
    monkeypatch.chdir(here.parent)
    assert tfimm_resolver.resolve("resnet18") == str(here)
    put_model(models / "resnet18")
    assert tfimm_resolver.resolve("resnet18") == f"{models}/resnet18"


def test_an_override_whose_path_is_missing_is_an_error_and_never_a_fall_through(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_model(models / "resnet18")
    tfimm_resolver.set_model_cache("resnet18", tmp_path / "nowhere")
    with pytest.raises(UnknownHandleError, match="nowhere"):
        tfimm_resolver.resolve("resnet18")
    with caplog.at_level(logging.WARNING):
        assert tfimm_resolver.cached_model_path("resnet18") is None
    assert "nowhere" in caplog.text


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "..", ".", "a\0b"])
def test_invalid_names_are_errors(name: str) -> None:
    for call in (tfimm_resolver.cached_model_path, tfimm_resolver.clear_model_cache):
        with pytest.raises(HandleError):
            call(name)
    with pytest.raises(HandleError):
        tfimm_resolver.set_model_cache(name, "/x")


def test_a_url_can_be_overridden_in_any_spelling(tmp_path: Path) -> None:
    mine = put_model(tmp_path / "mine")
    tfimm_resolver.set_model_cache("https://tfhub.dev/google/nnlm/2", mine)
    assert tfimm_resolver.resolve("https://TFHUB.dev/google/nnlm/2/") == str(mine)


def test_an_override_may_be_an_archive_or_a_bucket() -> None:
    tfimm_resolver.set_model_cache("half", REAL)
    assert os.path.exists(tfimm_resolver.resolve("half") + "/saved_model.pb")
    tfimm_resolver.set_model_cache("far", "gs://bucket/model")
    assert tfimm_resolver.resolve("far") == tfimm_resolver.cached_model_path("far") == "gs://bucket/model"


def test_an_unknown_name_lists_the_paths_and_the_closest_names(models: Path) -> None:
    put_model(models / "resnet18")
    tfimm_resolver.set_model_cache("resnet34", "/x")
    with pytest.raises(UnknownHandleError) as caught:
        tfimm_resolver.resolve("resnet19")
    assert f"{models}/resnet19" in str(caught.value) and "resnet18" in str(caught.value)


def test_using_restores_everything_at_its_end(tmp_path: Path) -> None:
    tfimm_resolver.set_dir("/before")
    tfimm_resolver.set_model_cache("a", "/a")
    with tfimm_resolver.using(dir=tmp_path, models={"a": "/other", "b": "/b"}):
        assert tfimm_resolver.get_dir() == str(tmp_path)
        assert tfimm_resolver.list_cached_models() == ["a", "b"]
        tfimm_resolver.set_model_cache("c", "/c")
    assert (tfimm_resolver.get_dir(), tfimm_resolver.list_cached_models(), overrides.get_override("a")) == (
        "/before",
        ["a"],
        "/a",
    )


def test_using_restores_everything_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(HandleError), tfimm_resolver.using(dir=tmp_path, models={"a": "/a", "b/c": "/b"}):
        raise AssertionError("never reached")
    assert tfimm_resolver.list_cached_models() == [] and tfimm_resolver.get_dir() != str(tmp_path)


def test_threads_can_set_clear_and_list_in_parallel() -> None:
    errors: list[Exception] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(300):
                tfimm_resolver.set_model_cache(f"m{number}-{turn % 7}", "/x")
                assert f"m{number}-{turn % 7}" in tfimm_resolver.list_cached_models()
                tfimm_resolver.clear_model_cache(f"m{number}-{turn % 7}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and tfimm_resolver.list_cached_models() == []
