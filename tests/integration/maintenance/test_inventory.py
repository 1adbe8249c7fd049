"""Tests of ``maintenance.inventory``: lists cached models, and selects them by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import UnknownHandleError
from tfimm_resolver.maintenance import inventory


def test_a_cached_model_is_listed_with_its_size_and_state(handle: str) -> None:
    (model,) = inventory.list_models()
    assert (model.name, model.path, model.state) == (handle, resolve(handle), "ok")
    assert model.size_bytes == sum(map(len, MODEL.values())) and not model.is_read_only
    facts = model.facts()
    assert facts["handle"] == handle and len(facts["archive_sha256"]) == 64 and facts["fault"] is None


def test_a_changed_size_is_damage(handle: str) -> None:
    Path(resolve(handle), "saved_model.pb").write_bytes(b"")
    (model,) = inventory.list_models()
    assert model.state == "damaged" and "saved_model.pb" in model.facts()["fault"]


def test_a_model_is_selected_by_handle_path_and_abbreviated_sha1(handle: str, origin: Origin) -> None:
    resolve(origin.put("/other.tgz", tar_gz()))
    sha1 = entry_name_for_key(handle)
    for name in (handle, resolve(handle), sha1, sha1[:6]):
        assert [model.name for model in inventory.select([name])] == [handle]
    assert len(inventory.select()) == 2
    for name in (sha1[:5], "no_such_model"):
        with pytest.raises(UnknownHandleError, match="is not cached"):
            inventory.select([name])
    (model,) = inventory.select(handle)
    assert model.name == handle and inventory.select([model]) == [model]


def test_secrets_are_removed_from_what_is_printed() -> None:
    for text in ("https://ada:hidden@host/m.tgz", "https://host/m.tgz?token=hidden"):
        assert "hidden" not in inventory.redact(text)
    assert inventory.redact("resnet18") == "resnet18"
