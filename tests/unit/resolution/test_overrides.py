"""Tests of ``resolution.overrides``: paths that are set for names in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.named_models import put_model
from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import overrides


def test_a_path_is_set_listed_and_cleared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put_model(tmp_path / "m")
    overrides.set_model_cache("resnet18", path)
    overrides.set_model_cache("HTTPS://host/m/1?tf-hub-format=compressed", "/gone")
    assert overrides.list_cached_models() == ["https://host/m/1", "resnet18"]
    assert overrides.find_path("resnet18") == str(path)
    assert overrides.find_path("https://host/m/1") is None and "names /gone, which does not exist" in caplog.text
    for name in ("resnet18", "https://host/m/1", "never set"):
        overrides.clear_model_cache(name)
    assert overrides.list_cached_models() == [] and path.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_name_is_a_single_file_name(name: str) -> None:
    with pytest.raises(HandleError):
        overrides.set_model_cache(name, "/m")
    assert overrides.list_cached_models() == []


@pytest.mark.parametrize(
    "fragment",
    [
        "#subdirectory=export/1",
        f"#sha256={'0' * 64}&subdirectory=export/1",
        f"#subdirectory=export/1&sha256={'0' * 64}",
        f"#sha256:{'0' * 64}&subdirectory=export%2F1",
    ],
)
@pytest.mark.parametrize("name", ["https://host/m/1", "lion"])
def test_a_name_cannot_choose_a_part_of_a_model(name: str, fragment: str) -> None:
    for call in (
        lambda: overrides.set_model_cache(name + fragment, "/m"),
        lambda: overrides.clear_model_cache(name + fragment),
    ):
        with pytest.raises(HandleError, match="is a part of a model") as caught:
            call()
        assert "Leave the #subdirectory out of the name" in caught.value.fix
    assert overrides.list_cached_models() == []


def test_a_pin_alone_is_not_a_part_of_a_model() -> None:
    with overrides.using(models={f"https://host/m/1#sha256={'0' * 64}": "/m"}):
        assert overrides.list_cached_models() == ["https://host/m/1"]


def test_using_restores_overrides_and_directory_even_after_an_error(tmp_path: Path) -> None:
    overrides.set_model_cache("a", "/a")
    before = settings.get_dir()
    with pytest.raises(KeyError), overrides.using(tmp_path / "other", {"a": "/b", "c": "/c"}):
        assert settings.get_dir() == f"{tmp_path}/other" and overrides.get_override("a") == "/b"
        raise KeyError
    assert settings.get_dir() == before
    assert overrides.get_override("a") == "/a" and overrides.get_override("c") is None


def test_similar_names_are_suggested() -> None:
    overrides.set_model_cache("resnet18", "/m")
    assert overrides.suggest("resnet81", ["resnet50", "vit"])[0] == "resnet18"
    assert overrides.suggest("zzz") == []


def test_blanks_around_a_name_or_url_are_not_part_of_it() -> None:
    overrides.set_model_cache(" m\n", "/data/m")
    overrides.set_model_cache(" https://h/m ", "/data/u")
    assert overrides.list_cached_models() == ["https://h/m", "m"]
    assert overrides.get_override(Handle.parse(" m ").key) == "/data/m"
