"""Tests of ``maintenance.removal``: removes models from the cache, and only from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver import resolve, settings
from tfimm_resolver.errors import CacheError, HandleError, UnknownHandleError
from tfimm_resolver.maintenance import inventory, removal


def test_a_model_is_removed_with_its_record(handle: str, cache_dir: Path) -> None:
    path = resolve(handle)
    (result,) = removal.remove(handle)
    assert (result.state, result.model.path, result.error) == ("removed", path, None)
    assert inventory.list_models() == [] and not Path(path).exists() and not list(cache_dir.glob("*.descriptor.txt"))


def test_a_link_is_removed_without_its_target_and_frees_nothing(handle: str, tmp_path: Path) -> None:
    path = Path(resolve(handle))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    (result,) = removal.remove(handle)
    assert (result.state, result.freed_bytes) == ("removed", 0)
    assert not path.is_symlink() and (tmp_path / "elsewhere" / "saved_model.pb").exists()


def test_nothing_is_removed_if_one_name_is_unknown(handle: str) -> None:
    for others, kind in ((["no_such_model"], UnknownHandleError), ([None], HandleError)):
        with pytest.raises(kind):
            removal.remove([handle, *others])  # type: ignore[list-item]
    assert len(inventory.list_models()) == 1


def test_a_model_that_the_user_put_there_is_not_removed(tmp_path: Path) -> None:
    settings.set_dir(tmp_path / "names")
    path = put_model(tmp_path / "names/resnet18")
    with pytest.raises(CacheError, match="was not created by tfimm-resolver"):
        removal.remove("resnet18")
    assert path.exists()


def test_listed_models_are_accepted_as_they_are(handle: str, origin: Origin) -> None:
    resolve(origin.put("/other.tgz", tar_gz()))
    removal.remove([model for model in inventory.list_models() if model.name == handle])
    assert [model.name for model in inventory.list_models()] == [f"{origin.url}/other.tgz"]
