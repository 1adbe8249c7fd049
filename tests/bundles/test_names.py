"""Under which name the model of a bundle is filed: the one that the handle gives which people are shown, and no other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, member, tar_gz, tar_of
from tests.faults import NOTHING, left_in
from tests.origin import Origin
from tfimm_resolver import errors, resolve
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.manifest import Origin as From

COMMIT = "a" * 40
CONTENT = "0" * 64
OWN = {
    "kaggle://good/m/keras/v/1": "https://www.kaggle.com/models/good/m/keras/v/1",
    "https://www.kaggle.com/models/good/m/Keras/v/1": "https://www.kaggle.com/models/good/m/keras/v/1",
    f"hf://good/m@{COMMIT}": f"hf://good/m@{COMMIT}",
    f"https://huggingface.co/good/m/tree/{COMMIT}/tf": f"hf://good/m@{COMMIT}/tf",
    "github://good/m:main": "github://github.com/good/m:main",
    "https://good.example/m/1": "https://good.example/m/1",
    "https://good.example/m.tar.gz": "https://good.example/m.tar.gz",
    "gs://good/m.tar.gz": "gs://good/m.tar.gz",
    "s3://good/m": "s3://good/m",
    "/good/m.tar.gz": f"sha256:{CONTENT}",
}
UNTOLD = ("https://good.example/m?…", "foo://good/m")
NOBODYS = ("kaggle://good/m/keras/v", "kaggle://good", "hf://good/m", f"hf://good/m@{COMMIT[:7]}", "github://good/m?…")


def forged(handle: str, key: str, into: Path) -> str:
    """A bundle of one model that shows a handle and is filed under a key; its sha256."""
    data, name = b"forged", entry_name_for_key(key)
    files = (FileEntry("saved_model.pb", len(data), hashlib.sha256(data).hexdigest()),)
    record = Record(handle, name, "2099-01-01T00:00:00Z", From("x", "", 10, CONTENT), files)
    made = tar_of(member(name + DESCRIPTOR_SUFFIX, record.to_text("forger").encode()), member(f"{name}/saved_model.pb", data))
    into.write_bytes(made)
    return hashlib.sha256(made).hexdigest()


@pytest.mark.parametrize("shown", [*OWN, *UNTOLD, *NOBODYS])
def test_no_handle_that_is_shown_lets_another_model_be_replaced(shown: str, handle: str, tmp_path: Path) -> None:
    resolve(handle)
    pin = forged(shown, handle, tmp_path / "b.tar")
    for sha256 in (None, pin):
        with pytest.raises(errors.IntegrityError, match="another model's name"):
            reader.read(tmp_path / "b.tar", sha256=sha256)
    assert files_in(resolve(handle)) == MODEL


@pytest.mark.parametrize("shown", [*OWN, *UNTOLD, *NOBODYS])
def test_nor_one_that_is_still_to_come(shown: str, handle: str, tmp_path: Path, cache_dir: Path) -> None:
    forged(shown, handle, tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match="Nothing of it was imported"):
        reader.read(tmp_path / "b.tar")
    assert left_in(cache_dir) == NOTHING and files_in(resolve(handle)) == MODEL


@pytest.mark.parametrize("shown", OWN)
def test_a_model_of_every_scheme_is_imported_under_its_own_name(shown: str, tmp_path: Path, cache_dir: Path) -> None:
    forged(shown, OWN[shown], tmp_path / "b.tar")
    assert [one.path for one in reader.read(tmp_path / "b.tar")] == [f"{cache_dir}/{entry_name_for_key(OWN[shown])}"]
    (model,) = writer.write([shown if "://" in shown else entry_name_for_key(OWN[shown])], tmp_path / "again.tar").models
    assert model.facts()["handle"] == shown


@pytest.mark.parametrize("shown", UNTOLD)
def test_a_handle_that_does_not_tell_its_name_is_believed_of_a_bundle_that_is_vouched_for(shown: str, tmp_path: Path) -> None:
    pin = forged(shown, "https://good.example/m?signature=secret", tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match="--sha256 that export printed"):
        reader.read(tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match="another sha256"):
        reader.read(tmp_path / "b.tar", sha256="1" * 64)
    assert [reader.read(tmp_path / "b.tar", sha256=pin)[0].state for _ in range(2)] == ["imported", "same"]


def test_export_tells_what_import_will_want(origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer.write([origin.put("/signed.tar.gz?signature=secret", tar_gz())], tmp_path / "b.tar")
    assert "import wants the --sha256" in caplog.text and "secret" not in caplog.text


def test_what_no_import_would_take_is_not_exported(origin: Origin, tmp_path: Path) -> None:
    plain = origin.put("/m.tar.gz", tar_gz())
    with pytest.raises(errors.CacheError, match="user and password") as caught:
        writer.write([plain.replace("://", "://user:secret@")], tmp_path / "b.tar")
    assert "secret" not in str(caught.value) and not (tmp_path / "b.tar").exists()
    assert len(writer.write([plain], tmp_path / "b.tar").models) == 1, "which is another model's handle"
