"""Export of models into bundles: which can be exported, which cannot, the command line; and a cache that is moved."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.faults import COMPLETE, NOTHING, list_kinds
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.special_files import SPECIAL_FILES
from tests.fakes.stores.gcs import Gcs
from tests.integration.bundles import NEWER, corrupt
from tfimm_resolver import errors, resolve
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX


def test_several_models_of_every_kind_go_together(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local.tar.gz").write_bytes(tar_gz({"saved_model.pb": b"", "assets/ü/" + "long" * 40: b"of no Latin name"}))
    handles = [
        origin.put_model("/google/model/1", tar_gz()),
        origin.put("/m.tar.gz", tar_gz(NEWER)),
        origin.put("/signed.tar.gz?signature=secret", tar_gz()),
        str(tmp_path / "local.tar.gz"),
        f"{origin.url}/google/model/1/",
    ]
    written = writer.write(handles, tmp_path / "b.tar")
    assert len(written.models) == 4 and written.sha256 == hashlib.sha256((tmp_path / "b.tar").read_bytes()).hexdigest()
    assert b"secret" not in (tmp_path / "b.tar").read_bytes()
    trees = [files_in(resolve(handle)) for handle in handles]
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert [one.state for one in reader.read(tmp_path / "b.tar", sha256=written.sha256)] == ["imported"] * 4
    assert [files_in(resolve(handle)) for handle in handles] == trees


def test_the_same_copies_make_the_same_bytes_wherever_they_are(handle: str, bundle: Path, far: Path) -> None:
    sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    reader.read(bundle, sha256=sha256)
    assert writer.write([handle], far.parent / "again.tar").sha256 == sha256


def test_a_refreshed_copy_is_exported_under_the_entry_name_without_suffix(
    handle: str, bundle: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    assert resolve(handle, refresh=True).endswith(f"{entry_name_for_key(handle)}.{resolve(handle)[-8:]}")
    writer.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    assert reader.read(tmp_path / "newer.tar")[0].path == f"{tmp_path}/far/{entry_name_for_key(handle)}"


def test_a_bundle_unpacked_by_tar_is_a_cache(handle: str, bundle: Path, far: Path) -> None:
    far.mkdir()
    subprocess.run(["tar", "xf", bundle, "-C", far], check=True)
    assert resolve(handle) == f"{far}/{entry_name_for_key(handle)}" and run_cli("verify")[0] == 0


def test_a_cache_works_after_it_was_moved(
    handle: str, origin: Origin, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(handle)
    origin.put_model("/google/model/1", tar_gz(NEWER))
    name = Path(resolve(handle, refresh=True)).name
    resolve(origin.put("/m.tar.gz", tar_gz()))
    cache_dir.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve(handle) == f"{tmp_path}/elsewhere/{name}" and files_in(resolve(handle)) == NEWER
    assert files_in(resolve(f"{origin.url}/m.tar.gz")) == MODEL
    assert run_cli("verify")[0] == 0 and not cache_dir.exists()
    assert all(str(cache_dir) not in path.read_text() for path in (tmp_path / "elsewhere").glob("*.txt"))


def truncate(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"a")


def remove_record(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name + DESCRIPTOR_SUFFIX).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (corrupt, ("saved_model.pb does not match its recorded sha256", "repair=True")),
        (truncate, ("saved_model.pb has 1 bytes, should have 7", "repair=True")),
        (remove_record, ("no recorded hashes", "refresh=True")),
    ],
)
def test_a_model_that_cannot_be_verified_is_not_exported_and_the_error_has_a_fix(
    damage: Callable[[Path, str], None], words: tuple[str, ...], handle: str, cache_dir: Path, tmp_path: Path
) -> None:
    resolve(handle)
    damage(cache_dir, entry_name_for_key(handle))
    (tmp_path / "out").mkdir()
    with pytest.raises(errors.IntegrityError) as caught:
        writer.write([handle], tmp_path / "out" / "b.tar")
    assert [word for word in words if word not in str(caught.value)] == []
    assert os.listdir(tmp_path / "out") == []


def test_a_file_that_grew_is_not_exported(handle: str, cache_dir: Path) -> None:
    resolve(handle)
    (model,) = writer._select_models([handle])
    with Path(model.path, "saved_model.pb").open("ab") as file:
        file.write(b"!")
    with pytest.raises(errors.IntegrityError, match=r"saved_model\.pb does not match its recorded sha256"):
        writer._write_models([model], io.BytesIO())


def test_a_model_outside_of_the_cache_is_not_exported_and_the_error_says_why(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar"
    put_model(tmp_path / "mine")
    with pytest.raises(errors.UnknownHandleError, match="not in the cache"):
        writer.write([str(tmp_path / "mine")], out)
    with pytest.raises(errors.UnknownHandleError, match='"nothing" is not cached'):
        writer.write(["nothing"], out)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "named"))
    put_model(tmp_path / "named" / "resnet")
    with pytest.raises(errors.CacheError, match="created by hand"):
        writer.write(["resnet"], out)
    with pytest.raises(errors.NotFoundError):
        writer.write([f"{origin.url}/missing.tar.gz"], out)
    handle = origin.put("/m.tar.gz", tar_gz())
    for _ in range(2):  # fetched, and cached
        with pytest.raises(errors.IntegrityError):
            writer.write([f"{handle}#sha256={'0' * 64}"], out)
        resolve(handle)
    assert not out.exists()


def test_a_bundle_replaces_another_atomically(handle: str, bundle: Path, cache_dir: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    corrupt(cache_dir, entry_name_for_key(handle))
    with pytest.raises(errors.IntegrityError):
        writer.write([handle], bundle)
    assert bundle.read_bytes() == before and list(tmp_path.glob("b.tar*")) == [bundle]
    with pytest.raises(errors.CacheError, match="cannot write"):
        writer.write([restore(cache_dir, handle)], tmp_path / "missing" / "b.tar")


def restore(cache_dir: Path, handle: str) -> str:
    """Restore the model without its origin."""
    Path(cache_dir, entry_name_for_key(handle), "saved_model.pb").write_bytes(MODEL["saved_model.pb"])
    return handle


@pytest.mark.parametrize("create", SPECIAL_FILES.values(), ids=SPECIAL_FILES)
def test_a_path_that_is_not_a_file_is_not_replaced(create: Callable[[Path], object], handle: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/models.tar"
    create(path)
    names, before = {*os.listdir(path.parent)}, os.lstat(path)
    reader = os.open(path, os.O_RDWR) if path.is_fifo() else -1  # keeps the pipe open, whose buffer the bundle fits into
    if path.is_dir() or path.is_socket():
        with pytest.raises(errors.CacheError, match=f"cannot write {path}"):
            writer.export([handle], path)
    else:
        expected = writer.export([handle], tmp_path / "expected.tar")
        assert writer.export([handle], path).sha256 == expected.sha256
    if path.is_fifo():
        assert os.read(reader, 1 << 20) == (tmp_path / "expected.tar").read_bytes()
    assert os.path.samestat(before, os.lstat(path)) and {*os.listdir(path.parent)} == names


def test_a_model_in_an_extra_root_is_exported(
    handle: str, bundle: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    assert writer.write([handle], tmp_path / "c.tar").size_bytes and not cache_dir.exists()
    assert (tmp_path / "c.tar").read_bytes() == bundle.read_bytes()


def test_a_bundle_is_imported_into_a_bucket_and_a_model_in_one_is_copied_before_it_is_exported(
    handle: str, bundle: Path, gcs: Gcs, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    (imported,) = reader.read(bundle)
    assert imported.state == "imported" and imported.path == resolve(handle)
    assert imported.path.startswith(f"gs://bucket/cache/{entry_name_for_key(handle)}.") and run_cli("verify")[0] == 0
    assert [one.state for one in reader.read(bundle)] == ["cached"]
    with pytest.raises(errors.CacheError, match="TFIMM_RESOLVER_LOCAL_COPY=1"):
        writer.write([handle], tmp_path / "c.tar")
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "local"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "")
    request_count = len(origin.requests)
    for requested, root in (
        (handle, "local"),
        (entry_name_for_key(handle)[:12], "other"),
    ):  # models that are only in the bucket
        monkeypatch.setenv("TFIMM_HOME", str(tmp_path / root))
        (model,) = writer.write([requested], tmp_path / "c.tar").models
        assert model.path == resolve(handle) == f"{tmp_path}/{root}/{entry_name_for_key(handle)}"
    assert len(origin.requests) == request_count


def test_the_command_line_reports_what_it_did(handle: str, tmp_path: Path) -> None:
    code, out, _ = run_cli("export", handle, "-o", str(tmp_path / "b.tar"))
    pin, name = out.split()
    assert (code, name, pin) == (0, str(tmp_path / "b.tar"), hashlib.sha256((tmp_path / "b.tar").read_bytes()).hexdigest())
    far = {"TFHUB_CACHE_DIR": str(tmp_path / "far"), "TFIMM_RESOLVER_OFFLINE": "1"}
    code, out, _ = run_cli("import", name, "--sha256", pin, **far)
    assert code == 0 and out.split() == ["imported", handle, "3", "files", "815", "B"]
    code, out, _ = run_cli("import", name, "--json", **far)
    (facts,) = json.loads(out)["models"]
    assert code == 0 and (facts["state"], facts["path"]) == ("cached", f"{tmp_path}/far/{entry_name_for_key(handle)}")
    code, out, _ = run_cli("export", handle, "-o", str(tmp_path / "c.tar"), "--json", **far)
    assert code == 0 and json.loads(out)["sha256"] == pin and json.loads(out)["models"][0]["handle"] == handle
    Path(name).write_bytes(b"not a bundle")
    code, _, err = run_cli("import", name, **far)
    assert code == 2 and "Nothing was imported" in err
    assert run_cli("import", str(tmp_path / "missing"))[0] == 2
    assert run_cli("export", handle)[0] == 2 and run_cli("export", handle, "-o", "-", "--json")[0] == 2


def test_a_pipe_carries_a_bundle_and_a_truncated_one_is_rejected(handle: str, tmp_path: Path) -> None:
    resolve(handle)
    tool = [sys.executable, "-m", "tfimm_resolver"]
    far = {**os.environ, "TFHUB_CACHE_DIR": str(tmp_path / "far")}
    near = subprocess.run([*tool, "export", handle, "-o", "-"], capture_output=True, check=True)
    assert hashlib.sha256(near.stdout).hexdigest() in near.stderr.decode()
    truncated = subprocess.run([*tool, "import", "-"], input=near.stdout[:-700], capture_output=True, check=False, env=far)
    assert truncated.returncode == 3 and list_kinds(tmp_path / "far") == NOTHING
    imported = subprocess.run([*tool, "import", "-"], input=near.stdout, capture_output=True, check=True, env=far)
    assert imported.stdout.startswith(b"imported") and list_kinds(tmp_path / "far") == COMPLETE
    shutil.rmtree(tmp_path / "far")


def test_a_private_file_that_is_replaced_stays_private(handle: str, tmp_path: Path) -> None:
    path = tmp_path / "models.tar"
    path.touch(0o600)
    writer.export([handle], path)
    assert path.stat().st_size and path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_and_leads_to_the_new_bundle(handle: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "b.tar", tmp_path / "link.tar"
    target.write_bytes(b"an older bundle")
    link.symlink_to(target)
    exported = writer.export([handle], link)
    assert link.is_symlink() and hashlib.sha256(target.read_bytes()).hexdigest() == exported.sha256


def test_a_bundle_of_no_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.HandleError, match="no models were named"):
        writer.export([], tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_names_that_not_every_system_can_hold_are_exported_with_one_warning(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["assets/10:30.csv", "assets/A", "assets/a", "assets/aux.py", "assets/b?"]
    handle = origin.put_model("/google/unportable/1", tar_gz({**MODEL, **dict.fromkeys(names, b"x")}))
    writer.write([handle], tmp_path / "b.tar")
    [warning] = [record.getMessage() for record in caplog.records if "not every system can hold" in record.getMessage()]
    assert warning.endswith("'assets/10:30.csv', 'assets/a', 'assets/aux.py' and 1 more")
    assert [model.state for model in reader.read(tmp_path / "b.tar")] == ["cached"]
    caplog.clear()
    writer.write([origin.put_model("/google/portable/1", tar_gz())], tmp_path / "c.tar")
    assert caplog.records == []
