"""Bundles that come to a cache: what is there already, who else imports, who is killed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, tar_gz, tar_of
from tests.bundles import NEWER, SHARD, members_of, record_of, with_data
from tests.faults import WHOLE, left_in
from tests.origin import Origin
from tests.processes import start
from tests.test_cli import ran
from tests.test_names import put_model
from tfimm_resolver import errors, resolve, set_dir
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key


def test_what_was_exported_is_imported_with_its_record_and_resolves_offline(handle: str, bundled: Path, far: Path) -> None:
    near = record_of(str(far.parent / "cache" / entry_name_for_key(handle)))
    (taken,) = reader.read(bundled)
    assert (taken.state, taken.path) == ("imported", f"{far}/{entry_name_for_key(handle)}")
    assert resolve(handle) == taken.path and files_in(taken.path) == MODEL
    assert record_of(taken.path) == near and left_in(far) == WHOLE
    assert ran("verify")[0] == 0
    assert resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest()) == taken.path


def test_what_is_here_already_is_not_touched_and_yet_verified(handle: str, bundled: Path, far: Path) -> None:
    path = reader.read(bundled)[0].path
    before = {file: file.stat().st_ino for file in far.rglob("*")}
    assert [(one.state, one.path) for one in reader.read(bundled)] == [("same", path)]
    assert {file: file.stat().st_ino for file in far.rglob("*")} == before
    bundled.write_bytes(tar_of(*with_data(SHARD, lambda data: b"W" + data[1:])(members_of(bundled))))
    with pytest.raises(errors.IntegrityError):
        reader.read(bundled)
    assert files_in(path) == MODEL


def test_a_copy_that_was_fetched_later_stays_unless_the_bundles_is_wanted(
    handle: str, bundled: Path, origin: Origin, cache_dir: Path
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    newer = resolve(handle, refresh=True)
    (taken,) = reader.read(bundled)
    assert (taken.state, taken.path) == ("kept", newer) and files_in(resolve(handle)) == NEWER
    (taken,) = reader.read(bundled, refresh=True)
    assert taken.state == "imported" and files_in(resolve(handle)) == MODEL == files_in(taken.path)
    assert files_in(newer) == NEWER, "who reads it is not disturbed"


def test_an_older_copy_gives_way_as_to_a_refresh(
    handle: str, bundled: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    resolve(handle, refresh=True)
    writer.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    older = reader.read(bundled)[0].path
    newer = reader.read(tmp_path / "newer.tar")[0]
    assert newer.state == "imported" and newer.path == resolve(handle) != older
    assert files_in(older) == MODEL and files_in(newer.path) == NEWER


@pytest.mark.parametrize("damage", ["missing", "other bytes"])
def test_a_damaged_copy_is_mended(damage: str, handle: str, bundled: Path, far: Path) -> None:
    path = reader.read(bundled)[0].path
    if damage == "missing":
        Path(path, "saved_model.pb").unlink()
    else:
        Path(path, "saved_model.pb").write_bytes(b"A graph")
    assert reader.read(bundled, refresh=damage != "missing")[0].state == "imported"
    assert resolve(handle) == path and files_in(path) == MODEL


def test_what_tensorflow_hub_put_there_gets_its_record(handle: str, bundled: Path, far: Path) -> None:
    put_model(far / entry_name_for_key(handle))
    assert json.loads(ran("ls", "--json")[1])["models"][0]["state"] == "unverifiable"
    assert reader.read(bundled)[0].state == "imported"
    assert json.loads(ran("ls", "--json")[1])["models"][0]["state"] == "whole"


def test_eight_that_import_at_once_leave_one_copy(handle: str, origin: Origin, tmp_path: Path, far: Path) -> None:
    os.environ.pop("TFIMM_RESOLVER_OFFLINE")
    set_dir(tmp_path / "cache")
    writer.write([handle, *(origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(4))], tmp_path / "b.tar")
    code = "import sys; from tfimm_resolver.bundles import reader; print(*[one.state for one in reader.read(sys.argv[1])])"
    jobs = [start(code, str(tmp_path / "b.tar")) for _ in range(8)]
    told = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, told
    states = [out.split() for out, _ in told]
    assert all(sum(one[index] == "imported" for one in states) == 1 for index in range(5)), states
    assert len(os.listdir(far)) == 10 and left_in(far) == WHOLE


def test_a_killed_import_leaves_nothing_that_is_believed(bundled: Path, handle: str, far: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        job = start("import sys; from tfimm_resolver.bundles import reader; reader.read(sys.stdin.buffer)", stdin=pipe)
    with os.fdopen(write, "wb", buffering=0) as pipe:
        data = bundled.read_bytes()
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
    reader.read(bundled)
    assert left_in(far) == WHOLE
