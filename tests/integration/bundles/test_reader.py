"""Import of bundles: copies that are cached already, parallel imports, killed imports."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz, tar_of
from tests.fakes.cli import run_cli
from tests.fakes.faults import COMPLETE, list_kinds
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.processes import start
from tests.integration.bundles import NEWER, SHARD, change_data, read_members, read_record
from tfimm_resolver import errors, resolve, set_dir
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key


def test_a_model_is_imported_with_its_record_and_resolves_offline(handle: str, bundle: Path, far: Path) -> None:
    near = read_record(str(far.parent / "cache" / entry_name_for_key(handle)))
    (imported,) = reader.read(bundle, sha256=hashlib.sha256(bundle.read_bytes()).hexdigest())
    assert (imported.state, imported.path) == ("imported", f"{far}/{entry_name_for_key(handle)}")
    assert resolve(handle) == imported.path and files_in(imported.path) == MODEL
    assert read_record(imported.path) == near and list_kinds(far) == COMPLETE
    assert run_cli("verify")[0] == 0
    assert resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest()) == imported.path


def test_a_cached_copy_is_not_touched_but_the_bundle_is_verified(handle: str, bundle: Path, far: Path) -> None:
    path = reader.read(bundle)[0].path
    before = {file: file.stat().st_ino for file in far.rglob("*")}
    assert [(model.state, model.path) for model in reader.read(bundle)] == [("cached", path)]
    assert {file: file.stat().st_ino for file in far.rglob("*")} == before
    bundle.write_bytes(tar_of(*change_data(SHARD, lambda data: b"W" + data[1:])(read_members(bundle))))
    with pytest.raises(errors.IntegrityError):
        reader.read(bundle)
    assert files_in(path) == MODEL


def test_a_copy_that_was_fetched_later_stays_except_with_refresh(
    handle: str, bundle: Path, origin: Origin, cache_dir: Path
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    newer = resolve(handle, refresh=True)
    (imported,) = reader.read(bundle)
    assert (imported.state, imported.path) == ("kept", newer) and files_in(resolve(handle)) == NEWER
    (imported,) = reader.read(bundle, refresh=True)
    assert imported.state == "imported" and files_in(resolve(handle)) == MODEL == files_in(imported.path)
    assert files_in(newer) == NEWER, "readers of the old copy are not disturbed"


def test_an_older_copy_is_replaced_as_by_a_refresh(
    handle: str, bundle: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    resolve(handle, refresh=True)
    writer.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    older = reader.read(bundle)[0].path
    newer = reader.read(tmp_path / "newer.tar")[0]
    assert newer.state == "imported" and newer.path == resolve(handle) != older
    assert files_in(older) == MODEL and files_in(newer.path) == NEWER


@pytest.mark.parametrize("damage", ["missing", "other bytes"])
def test_a_damaged_copy_is_repaired(damage: str, handle: str, bundle: Path, far: Path) -> None:
    path = reader.read(bundle)[0].path
    if damage == "missing":
        Path(path, "saved_model.pb").unlink()
    else:
        Path(path, "saved_model.pb").write_bytes(b"A graph")
    assert reader.read(bundle, refresh=damage != "missing")[0].state == "imported"
    assert resolve(handle) == path and files_in(path) == MODEL


def test_a_model_fetched_by_tensorflow_hub_gets_a_record(handle: str, bundle: Path, far: Path) -> None:
    put_model(far / entry_name_for_key(handle))
    assert json.loads(run_cli("ls", "--json")[1])["models"][0]["state"] == "unverified"
    assert reader.read(bundle)[0].state == "imported"
    assert json.loads(run_cli("ls", "--json")[1])["models"][0]["state"] == "ok"


def test_eight_parallel_imports_leave_one_copy(handle: str, origin: Origin, tmp_path: Path, far: Path) -> None:
    os.environ.pop("TFIMM_RESOLVER_OFFLINE")
    set_dir(tmp_path / "cache")
    writer.write([handle, *(origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(4))], tmp_path / "b.tar")
    code = "import sys; from tfimm_resolver.bundles import reader; print(*[one.state for one in reader.read(sys.argv[1])])"
    jobs = [start(code, str(tmp_path / "b.tar")) for _ in range(8)]
    outputs = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, outputs
    states = [out.split() for out, _ in outputs]
    assert all(sum(model[index] == "imported" for model in states) == 1 for index in range(5)), states
    assert len(os.listdir(far)) == 10 and list_kinds(far) == COMPLETE


def test_a_killed_import_leaves_nothing_that_is_used(bundle: Path, handle: str, far: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        job = start("import sys; from tfimm_resolver.bundles import reader; reader.read(sys.stdin.buffer)", stdin=pipe)
    with os.fdopen(write, "wb", buffering=0) as pipe:
        data = bundle.read_bytes()
        pipe.write(data[:-600])
        try:
            while not list(far.parent.glob("far/*.tmp/saved_model.pb")):
                assert job.poll() is None
                time.sleep(0.01)
        finally:
            job.kill()
            job.communicate()
    with pytest.raises(errors.OfflineError):
        resolve(handle)
    reader.read(bundle)
    assert list_kinds(far) == COMPLETE


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
def test_a_device_is_not_read(device: str, far: Path) -> None:
    with pytest.raises(errors.HandleError, match="is a device, not a file or a pipe"):
        reader.read(device)
    assert not far.exists() or os.listdir(far) == []


def test_a_named_pipe_is_read(bundle: Path, far: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(bundle.read_bytes()), daemon=True)
    writer.start()
    reader.read(path)
    writer.join(60)
    assert list_kinds(far) == COMPLETE
