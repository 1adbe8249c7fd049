"""Models carried in a file: what goes into it, what may not, and what the command line says; and a cache that is moved."""

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

from tests.archives import MODEL, files_in, tar_gz
from tests.bundles import NEWER, spoilt
from tests.faults import NOTHING, WHOLE, left_in
from tests.origin import Origin
from tests.stores.gcs import Gcs
from tests.test_cli import ran
from tests.test_names import put_model
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


def test_the_same_copies_make_the_same_bytes_wherever_they_lie(handle: str, bundled: Path, far: Path) -> None:
    reader.read(bundled)
    assert writer.write([handle], far.parent / "again.tar").sha256 == hashlib.sha256(bundled.read_bytes()).hexdigest()


def test_a_copy_that_a_refresh_put_beside_is_exported_under_the_models_own_name(
    handle: str, bundled: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    assert resolve(handle, refresh=True).endswith(f"{entry_name_for_key(handle)}.{resolve(handle)[-8:]}")
    writer.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    assert reader.read(tmp_path / "newer.tar")[0].path == f"{tmp_path}/far/{entry_name_for_key(handle)}"


def test_what_tar_unpacks_is_a_cache(handle: str, bundled: Path, far: Path) -> None:
    far.mkdir()
    subprocess.run(["tar", "xf", bundled, "-C", far], check=True)
    assert resolve(handle) == f"{far}/{entry_name_for_key(handle)}" and ran("verify")[0] == 0


def test_a_whole_cache_that_is_moved_to_another_place_works(
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
    assert ran("verify")[0] == 0 and not cache_dir.exists()
    assert all(str(cache_dir) not in path.read_text() for path in (tmp_path / "elsewhere").glob("*.txt"))


def cut(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"a")


def unrecorded(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name + DESCRIPTOR_SUFFIX).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (spoilt, ("saved_model.pb has other bytes", "tfimm-resolver verify --repair")),
        (cut, ("saved_model.pb has 1 bytes, should have 7", "tfimm-resolver verify --repair")),
        (unrecorded, ("nobody recorded", "tfimm-resolver resolve --refresh")),
    ],
)
def test_what_cannot_be_vouched_for_is_not_exported_and_the_fix_is_told(
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
    with pytest.raises(errors.IntegrityError, match=r"saved_model\.pb has other bytes"):
        writer._write_models([model], io.BytesIO())


def test_what_lies_elsewhere_is_not_exported_and_it_is_told_why(
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
    with pytest.raises(errors.CacheError, match="put there by hand"):
        writer.write(["resnet"], out)
    with pytest.raises(errors.NotFoundError):
        writer.write([f"{origin.url}/missing.tar.gz"], out)
    handle = origin.put("/m.tar.gz", tar_gz())
    for _ in range(2):  # fetched, and cached
        with pytest.raises(errors.IntegrityError):
            writer.write([f"{handle}#sha256={'0' * 64}"], out)
        resolve(handle)
    assert not out.exists()


def test_a_bundle_replaces_another_whole_or_not_at_all(handle: str, bundled: Path, cache_dir: Path, tmp_path: Path) -> None:
    before = bundled.read_bytes()
    spoilt(cache_dir, entry_name_for_key(handle))
    with pytest.raises(errors.IntegrityError):
        writer.write([handle], bundled)
    assert bundled.read_bytes() == before and list(tmp_path.glob("b.tar*")) == [bundled]
    with pytest.raises(errors.CacheError, match="cannot write"):
        writer.write([origin_free(cache_dir, handle)], tmp_path / "missing" / "b.tar")


def origin_free(cache_dir: Path, handle: str) -> str:
    """The model, whole again without its origin."""
    Path(cache_dir, entry_name_for_key(handle), "saved_model.pb").write_bytes(MODEL["saved_model.pb"])
    return handle


def test_a_model_in_an_extra_root_is_exported(
    handle: str, bundled: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    assert writer.write([handle], tmp_path / "c.tar").size_bytes and not cache_dir.exists()
    assert (tmp_path / "c.tar").read_bytes() == bundled.read_bytes()


def test_a_bundle_is_imported_into_a_bucket_and_what_lies_in_one_is_brought_before_it_is_exported(
    handle: str, bundled: Path, gcs: Gcs, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    (taken,) = reader.read(bundled)
    assert taken.state == "imported" and taken.path == resolve(handle)
    assert taken.path.startswith(f"gs://bucket/cache/{entry_name_for_key(handle)}.") and ran("verify")[0] == 0
    assert [one.state for one in reader.read(bundled)] == ["same"]
    with pytest.raises(errors.CacheError, match="TFIMM_RESOLVER_LOCAL_COPY=1"):
        writer.write([handle], tmp_path / "c.tar")
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "local"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "")
    asked = len(origin.asked)
    for wanted, root in ((handle, "local"), (entry_name_for_key(handle)[:12], "other")):  # of what lies in the bucket only
        monkeypatch.setenv("TFIMM_HOME", str(tmp_path / root))
        (model,) = writer.write([wanted], tmp_path / "c.tar").models
        assert model.path == resolve(handle) == f"{tmp_path}/{root}/{entry_name_for_key(handle)}"
    assert len(origin.asked) == asked


def test_the_command_line_says_what_it_did(handle: str, tmp_path: Path) -> None:
    code, out, _ = ran("export", handle, "-o", str(tmp_path / "b.tar"))
    pin, name = out.split()
    assert (code, name, pin) == (0, str(tmp_path / "b.tar"), hashlib.sha256((tmp_path / "b.tar").read_bytes()).hexdigest())
    far = {"TFHUB_CACHE_DIR": str(tmp_path / "far"), "TFIMM_RESOLVER_OFFLINE": "1"}
    code, out, _ = ran("import", name, "--sha256", pin, **far)
    assert code == 0 and out.split() == ["imported", handle, "3", "files", "815", "B"]
    code, out, _ = ran("import", name, "--json", **far)
    (facts,) = json.loads(out)["models"]
    assert code == 0 and (facts["state"], facts["path"]) == ("same", f"{tmp_path}/far/{entry_name_for_key(handle)}")
    code, out, _ = ran("export", handle, "-o", str(tmp_path / "c.tar"), "--json", **far)
    assert code == 0 and json.loads(out)["sha256"] == pin and json.loads(out)["models"][0]["handle"] == handle
    Path(name).write_bytes(b"no bundle")
    code, _, err = ran("import", name, **far)
    assert code == 3 and "Nothing of it was imported" in err
    assert ran("import", str(tmp_path / "missing"))[0] == 3
    assert ran("export", handle)[0] == 2 and ran("export", handle, "-o", "-", "--json")[0] == 2


def test_a_pipe_carries_a_bundle_and_half_of_one_is_refused(handle: str, tmp_path: Path) -> None:
    resolve(handle)
    tool = [sys.executable, "-m", "tfimm_resolver"]
    far = {**os.environ, "TFHUB_CACHE_DIR": str(tmp_path / "far")}
    near = subprocess.run([*tool, "export", handle, "-o", "-"], capture_output=True, check=True)
    assert hashlib.sha256(near.stdout).hexdigest() in near.stderr.decode()
    cut_off = subprocess.run([*tool, "import", "-"], input=near.stdout[:-700], capture_output=True, check=False, env=far)
    assert cut_off.returncode == 3 and left_in(tmp_path / "far") == NOTHING
    taken = subprocess.run([*tool, "import", "-"], input=near.stdout, capture_output=True, check=True, env=far)
    assert taken.stdout.startswith(b"imported") and left_in(tmp_path / "far") == WHOLE
    shutil.rmtree(tmp_path / "far")
