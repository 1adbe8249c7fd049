"""Tests of ``maintenance.verification``: compares files with their hashes, and fetches damaged models again."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.maintenance import inventory, verification


def damage(handle: str) -> None:
    """Change a byte of a cached file, but not its size."""
    path = Path(resolve(handle), "saved_model.pb")
    path.write_bytes(b"A" + path.read_bytes()[1:])


def test_a_changed_byte_is_found_and_repaired(handle: str) -> None:
    assert [(result.state, result.files) for result in verification.verify()] == [("ok", len(MODEL))]
    damage(handle)
    (result,) = verification.verify([handle])
    assert result.state == "damaged" and result.is_repaired is None and "saved_model.pb" in result.faults[0]
    (result,) = verification.verify([handle], repair=True)
    assert (result.state, result.is_repaired, result.is_changed) == ("ok", True, False)
    assert files_in(resolve(handle)) == MODEL


def test_a_repair_reports_another_archive_and_a_failure(handle: str, origin: Origin) -> None:
    damage(handle)
    del origin.pages["/m.tgz"]
    (failed,) = verification.verify(repair=True)
    assert (failed.state, failed.is_repaired) == ("damaged", False) and failed.error is not None
    origin.put("/m.tgz", tar_gz({"saved_model.pb": b"another"}))
    (changed,) = verification.verify(repair=True)
    assert (changed.state, changed.is_repaired, changed.is_changed) == ("ok", True, True)


def test_a_model_whose_login_was_not_recorded_is_not_fetched_without_it(origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz()).replace("http://", "http://ada:pass@")
    Path(resolve(handle), "saved_model.pb").unlink()
    requested = len(origin.requests)
    (result,) = verification.verify(repair=True)
    assert result.is_repaired is False and "its user or password was not recorded" in str(result.error)
    assert len(origin.requests) == requested and len(inventory.list_models()) == 1
