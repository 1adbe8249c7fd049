"""The copy that is exported is the one that ``resolve`` returns."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tests.integration.bundles import NEWER
from tfimm_resolver import clear_model_cache, errors, resolve, set_model_cache
from tfimm_resolver.bundles import writer
from tfimm_resolver.cache.cache import entry_name_for_key

PIN = hashlib.sha256(tar_gz(NEWER)).hexdigest()


@pytest.fixture(params=["", "?signature=secret"])
def copies(request: pytest.FixtureRequest, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model with its newest copy in the first extra root, one in the cache, and the oldest in the second extra root."""
    for number, root in enumerate(("oldest", "cache", "extra")):
        handle = origin.put(
            f"/m.tar.gz{request.param}", tar_gz(NEWER if root == "extra" else {"saved_model.pb": b"%d" % number})
        )
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / root))
        resolve(handle)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", f"{tmp_path}/extra:{tmp_path}/oldest")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    return handle


def test_a_newer_copy_in_an_extra_root_is_exported(copies: str, tmp_path: Path) -> None:
    assert files_in(resolve(copies)) == NEWER
    for text in (
        copies,
        f"{copies}#sha256={PIN}",
        entry_name_for_key(copies),
        entry_name_for_key(copies)[:8],
        copies.partition("?")[0] + "?…" * ("?" in copies),
    ):
        (model,) = writer.write([text], tmp_path / "b.tar").models
        assert model.path == resolve(copies), text


def test_the_copy_in_the_cache_is_exported_if_it_is_newer_or_pinned(
    copies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", f"{tmp_path}/oldest:{tmp_path}/extra")
    for text in (copies, entry_name_for_key(copies)):
        (model,) = writer.write([text], tmp_path / "b.tar").models
        assert model.path == resolve(copies) == f"{tmp_path}/cache/{entry_name_for_key(copies)}"
    with pytest.raises(errors.IntegrityError, match="cached with a different sha256"):
        writer.write([f"{entry_name_for_key(copies)}#sha256={'0' * 64}"], tmp_path / "c.tar")
    assert not (tmp_path / "c.tar").exists()


def test_a_pin_in_the_models_file_holds_for_export(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    resolve(handle)
    (tmp_path / "models.toml").write_text(f'[models.net]\nhandle = "{handle}"\nsha256 = "{PIN}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(tmp_path / "models.toml"))
    with pytest.raises(errors.IntegrityError, match="net is pinned in"):
        writer.write(["net"], tmp_path / "b.tar")


def test_a_local_archive_that_changed_is_exported_as_it_is_now(tmp_path: Path) -> None:
    archive = tmp_path / "m.tar.gz"
    for files in (MODEL, NEWER):
        archive.write_bytes(tar_gz(files))
        (model,) = writer.write([str(archive)], tmp_path / "b.tar").models
        assert files_in(model.path) == files


def test_a_directory_that_overrides_a_handle_is_not_a_cached_copy(origin: Origin, tmp_path: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    mine = Path(resolve(handle)).rename(tmp_path / "mine")
    resolve(handle)
    set_model_cache(handle, str(mine))
    try:
        with pytest.raises(errors.UnknownHandleError, match="not in the cache"):
            writer.write([handle], tmp_path / "b.tar")
    finally:
        clear_model_cache(handle)
