"""What an unverified bundle says of a model is a claim: it satisfies no pin, and no date in the future counts."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, member, tar_gz, tar_of
from tests.fakes.origin import Origin
from tfimm_resolver import bundles, errors, maintenance, resolve
from tfimm_resolver._util.clock import format_time
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.manifest import Origin as From

EVIL = b"evil"
SHA256 = hashlib.sha256(tar_gz()).hexdigest()


def forge_bundle(into: Path, handle: str, key: str, *, fetched_at: str = "2026-01-01T00:00:00Z") -> str:
    """Write a bundle whose only model claims to be the archive of SHA256; returns the sha256 of the bundle."""
    name = entry_name_for_key(key)
    files = (FileEntry("saved_model.pb", len(EVIL), hashlib.sha256(EVIL).hexdigest()),)
    record = Record(handle, name, fetched_at, From(handle, sha256=SHA256, size_bytes=7), files)
    data = tar_of(member(name + DESCRIPTOR_SUFFIX, record.to_text("forger").encode()), member(f"{name}/saved_model.pb", EVIL))
    into.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    return tmp_path / "forged.tar"


def test_a_claim_satisfies_no_pin(forged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = "https://models.example/m/1.tar.gz"
    forge_bundle(forged, handle, handle)
    bundles.import_(forged)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert files_in(resolve(handle)) == {"saved_model.pb": EVIL}  # without a pin the user trusts the bundle
    with pytest.raises(errors.OfflineError, match="only a claim and matches no pin") as caught:
        resolve(f"{handle}#sha256={SHA256}")
    advice = caught.value.advice
    assert "bundles.import_(path, sha256=...)" in advice.python and "import BUNDLE --sha256 HEX" in advice.command


def test_what_only_claims_the_pinned_hash_is_fetched_again(origin: Origin, forged: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    forge_bundle(forged, handle, handle)
    bundles.import_(forged)
    assert files_in(resolve(f"{handle}#sha256={SHA256}")) == MODEL


def test_an_archive_on_this_machine_is_not_replaced_by_a_claim_to_be_it(tmp_path: Path, forged: Path) -> None:
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(tar_gz())
    forge_bundle(forged, "/elsewhere/m.tar.gz", f"sha256:{SHA256}")
    bundles.import_(forged)
    assert files_in(resolve(archive)) == MODEL


def test_the_hash_of_the_bundle_verifies_the_claim(forged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = "https://models.example/m/1.tar.gz"
    sha256 = forge_bundle(forged, handle, handle)
    bundles.import_(forged)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for expected in ("imported", "cached"):
        assert [model.state for model in bundles.import_(forged, sha256=sha256)] == [expected]
    assert bundles.import_(forged)[0].state == "cached"
    assert files_in(resolve(f"{handle}#sha256={SHA256}")) == {"saved_model.pb": EVIL}


def test_a_claim_that_is_exported_stays_a_claim(forged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = "https://models.example/m/1.tar.gz"
    forge_bundle(forged, handle, handle)
    bundles.import_(forged)
    exported = bundles.export([handle], tmp_path / "again.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    bundles.import_(tmp_path / "again.tar", sha256=exported.sha256)
    with pytest.raises(errors.OfflineError, match="only a claim"):
        resolve(f"{handle}#sha256={SHA256}")


def test_names_of_local_archives_stay_as_they_were_exported(tmp_path: Path, forged: Path) -> None:
    forge_bundle(forged, "/elsewhere/m.tar.gz", f"sha256:{SHA256}")
    bundles.import_(forged)
    assert [model.name for model in maintenance.list()] == ["/elsewhere/m.tar.gz"]
    assert files_in(resolve("/elsewhere/m.tar.gz")) == {"saved_model.pb": EVIL}


@pytest.mark.parametrize("fetched_at", ["9999-12-31T23:59:59Z", pytest.param("in 3 days", id="in 3 days")])
def test_a_date_in_the_future_is_refused(fetched_at: str, forged: Path) -> None:
    handle = "https://models.example/m/1.tar.gz"
    date = format_time(time.time() + 3 * 24 * 3600) if fetched_at == "in 3 days" else fetched_at
    forge_bundle(forged, handle, handle, fetched_at=date)
    with pytest.raises(errors.IntegrityError, match="dated in the future"):
        bundles.import_(forged)
    assert maintenance.list() == []


def test_the_clock_of_another_machine_may_be_a_day_ahead(forged: Path) -> None:
    handle = "https://models.example/m/1.tar.gz"
    forge_bundle(forged, handle, handle, fetched_at=format_time(time.time() + 24 * 3600))
    assert [model.state for model in bundles.import_(forged)] == ["imported"]
