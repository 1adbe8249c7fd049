"""Models carried in a file: written, tampered with, read where there is no network; and a cache that is moved."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, member, tar_gz, tar_of
from tests.faults import NOTHING, WHOLE, left_in
from tests.origin import Origin
from tests.processes import start
from tests.stores.gcs import Gcs
from tests.test_cli import ran
from tests.test_names import put_model
from tfimm_resolver import bundle, errors, resolve, set_dir, unbundle
from tfimm_resolver.cache import name_of
from tfimm_resolver.record import RECORD

NEWER = {"saved_model.pb": b"a newer graph"}
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def handle(origin: Origin) -> str:
    """A model that can be fetched."""
    return origin.put_model("/google/model/1", tar_gz())


@pytest.fixture
def bundled(handle: str, tmp_path: Path) -> Path:
    """A bundle of it."""
    bundle.write([handle], tmp_path / "b.tar")
    return tmp_path / "b.tar"


@pytest.fixture
def far(bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root on another machine, not made yet, without network."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    return tmp_path / "far"


def members_of(path: Path) -> Members:
    """What a bundle holds."""
    with tarfile.open(path) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]


def record_of(path: str) -> dict[str, object]:
    """The JSON of a cached model's record."""
    facts: dict[str, object] = json.loads(Path(path.partition(".")[0] + RECORD).read_text().partition("\n\n")[2])
    return facts


def test_what_was_exported_is_imported_with_its_record_and_resolves_offline(handle: str, bundled: Path, far: Path) -> None:
    near = record_of(str(far.parent / "cache" / name_of(handle)))
    (taken,) = unbundle.read(bundled)
    assert (taken.state, taken.path) == ("imported", f"{far}/{name_of(handle)}")
    assert resolve(handle) == taken.path and files_in(taken.path) == MODEL
    assert record_of(taken.path) == near and left_in(far) == WHOLE
    assert ran("verify")[0] == 0
    assert resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest()) == taken.path


def test_several_models_of_every_kind_go_together(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local.tar.gz").write_bytes(tar_gz({"saved_model.pb": b"", "assets/ü/" + "long" * 40: b"of no Latin name"}))
    handles = [
        origin.put_model("/google/model/1", tar_gz()),
        origin.put("/m.tar.gz", tar_gz(NEWER)),
        origin.put("/signed.tar.gz?signature=secret", tar_gz()),
        str(tmp_path / "local.tar.gz"),
        f"{origin.url}/google/model/1/",
    ]
    written = bundle.write(handles, tmp_path / "b.tar")
    assert len(written.models) == 4 and written.sha256 == hashlib.sha256((tmp_path / "b.tar").read_bytes()).hexdigest()
    assert b"secret" not in (tmp_path / "b.tar").read_bytes()
    trees = [files_in(resolve(handle)) for handle in handles]
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert [one.state for one in unbundle.read(tmp_path / "b.tar")] == ["imported"] * 4
    assert [files_in(resolve(handle)) for handle in handles] == trees


def test_the_same_copies_make_the_same_bytes_wherever_they_lie(handle: str, bundled: Path, far: Path) -> None:
    unbundle.read(bundled)
    assert bundle.write([handle], far.parent / "again.tar").sha256 == hashlib.sha256(bundled.read_bytes()).hexdigest()


def test_a_copy_that_a_refresh_put_beside_is_exported_under_the_models_own_name(
    handle: str, bundled: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    assert resolve(handle, refresh=True).endswith(f"{name_of(handle)}.{resolve(handle)[-8:]}")
    bundle.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    assert unbundle.read(tmp_path / "newer.tar")[0].path == f"{tmp_path}/far/{name_of(handle)}"


def test_what_tar_unpacks_is_a_cache(handle: str, bundled: Path, far: Path) -> None:
    far.mkdir()
    subprocess.run(["tar", "xf", bundled, "-C", far], check=True)
    assert resolve(handle) == f"{far}/{name_of(handle)}" and ran("verify")[0] == 0


def changed(end: str, /, **fields: object) -> Callable[[Members], Members]:
    """A member with other fields, found by the end of its name."""

    def change(members: Members) -> Members:
        found = next(info for info, _ in members if info.name.endswith(end))
        for field, value in fields.items():
            setattr(found, field, value)
        return members

    return change


def with_data(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """A member with other bytes."""

    def change(members: Members) -> Members:
        made = []
        for info, data in members:
            made.append((info, edit(data) if info.name.endswith(name) else data))
            info.size = len(made[-1][1])
        return made

    return change


def inner(members: Members, path: str) -> Members:
    """One more member in the model's directory."""
    return [*members, member(f"{members[0][0].name[:40]}/{path}", b"evil")]


SHARD = "data-00000-of-00001"
HASH_OF_A_GRAPH = hashlib.sha256(b"a graph").hexdigest().encode()
TAMPERED: dict[str, tuple[Callable[[Members], Members], type[errors.FetchError], str]] = {
    "one byte": (with_data(SHARD, lambda data: b"W" + data[1:]), errors.IntegrityError, "other bytes"),
    "one byte of the first": (with_data("saved_model.pb", lambda data: b"A" + data[1:]), errors.IntegrityError, "other bytes"),
    "a byte more": (with_data(SHARD, lambda data: data + b"w"), errors.ArchiveError, "801 bytes"),
    "a byte less": (with_data(SHARD, lambda data: data[1:]), errors.ArchiveError, "799 bytes"),
    "a hash": (with_data(RECORD, lambda data: data.replace(HASH_OF_A_GRAPH, b"0" * 64)), errors.IntegrityError, "other bytes"),
    "another handle": (
        with_data(RECORD, lambda data: data.replace(b"/1", b"/2")),
        errors.IntegrityError,
        "another model's name",
    ),
    "no handle": (
        with_data(RECORD, lambda data: data.replace(b"http://", b"\\u0000//")),
        errors.IntegrityError,
        "another model",
    ),
    "a path as handle": (
        with_data(RECORD, lambda data: data.replace(b"http://", b"/")),
        errors.IntegrityError,
        "another model",
    ),
    "another tree": (
        with_data(RECORD, lambda data: data.replace(b'"tree": "', b'"tree": "0')),
        errors.ArchiveError,
        "no record",
    ),
    "no time": (with_data(RECORD, lambda data: data.replace(b'_at": "2', b'_at": "x')), errors.ArchiveError, "no record"),
    "another version": (
        with_data(RECORD, lambda data: data.replace(b'"version": 1', b'"version": 2')),
        errors.ArchiveError,
        "no record",
    ),
    "no JSON": (with_data(RECORD, lambda data: data[:-9]), errors.ArchiveError, "no record"),
    "another order": (lambda members: [members[0], *members[:0:-1]], errors.ArchiveError, "should"),
    "a file missing": (lambda members: members[:-1], errors.ArchiveError, "its end stands where"),
    "a file more": (lambda members: inner(members, "more"), errors.ArchiveError, "/more' stands where the record"),
    "a file twice": (lambda members: [*members, members[-1]], errors.ArchiveError, "stands where the record"),
    "no record": (lambda members: members[1:], errors.ArchiveError, "stands where the record"),
    "the record last": (lambda members: [*members[1:], members[0]], errors.ArchiveError, "stands where the record"),
    "the model twice": (lambda members: members * 2, errors.ArchiveError, "stands behind"),
    "nothing": (lambda members: [], errors.ArchiveError, "holds no models"),
    "a name that climbs": (lambda members: inner(members, "../../evil"), errors.ArchiveError, "stands where the record"),
    "a name of the root": (changed("saved_model.pb", name="/tmp/evil"), errors.ArchiveError, "stands where"),
    "a link": (changed(SHARD, type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), errors.ArchiveError, "a symbolic link"),
    "a device": (changed(SHARD, type=tarfile.CHRTYPE, size=0), errors.ArchiveError, "a character device"),
}


@pytest.mark.parametrize("deed", TAMPERED)
def test_a_bundle_that_was_tampered_with_is_refused_and_nothing_is_kept(deed: str, bundled: Path, far: Path) -> None:
    change, kind, word = TAMPERED[deed]
    bundled.write_bytes(tar_of(*change(members_of(bundled))))
    with pytest.raises(kind, match=word) as caught:
        unbundle.read(bundled)
    assert (
        type(caught.value) is kind and str(bundled) in str(caught.value) and "Nothing of it was imported" in str(caught.value)
    )
    assert left_in(far) == NOTHING and not (far.parent / "evil").exists()


@pytest.mark.parametrize(
    "path",
    ["../evil", "/evil", "a/../../evil", "variables", "SAVED_MODEL.pb", "con", "a:b", "a\\b", "x" * 256, "\u202ex"],
)
def test_a_record_that_promises_a_name_that_no_model_may_hold_is_refused(path: str, bundled: Path, far: Path) -> None:
    def add(data: bytes) -> bytes:
        head, _, body = data.decode().partition("\n\n")
        facts = json.loads(body)
        facts["files"].append({"path": path, "size_bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()})
        return f"{head}\n\n{json.dumps(facts)}".encode()

    bundled.write_bytes(tar_of(*inner(with_data(RECORD, add)(members_of(bundled)), path)))
    with pytest.raises(errors.ArchiveError, match=r"Nothing of it was imported"):
        unbundle.read(bundled)
    assert left_in(far) == NOTHING and not (far.parent / "evil").exists() and not Path("/evil").exists()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1536, 2048, 4000, -513, -512, -1])
def test_a_bundle_that_is_cut_is_refused_wherever_it_is_cut(length: int, bundled: Path, far: Path) -> None:
    bundled.write_bytes(bundled.read_bytes()[:length])
    with pytest.raises(errors.ArchiveError, match=r"cut short|something follows its end|holds no models"):
        unbundle.read(bundled)
    assert left_in(far) == NOTHING


@pytest.mark.parametrize(
    "junk", [b"x", b"<!doctype html>" * 100, tar_gz(), bytes(512) + b"x" * 512], ids=["x", "html", "gz", "zeros"]
)
def test_what_is_no_bundle_is_refused(junk: bytes, bundled: Path, far: Path) -> None:
    for data in (junk, bundled.read_bytes() + junk):
        bundled.write_bytes(data)
        with pytest.raises(errors.ArchiveError):
            unbundle.read(bundled)
    assert left_in(far) == NOTHING


def test_one_bad_model_keeps_the_good_ones_out_too(
    handle: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(3)]
    bundle.write([handle, *others], tmp_path / "b.tar")
    members = members_of(tmp_path / "b.tar")
    members[-1] = member(members[-1][0].name, b"x" * members[-1][0].size)
    (tmp_path / "b.tar").write_bytes(tar_of(*members))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    with pytest.raises(errors.IntegrityError, match="other bytes"):
        unbundle.read(tmp_path / "b.tar")
    assert left_in(tmp_path / "far") == NOTHING


def test_a_pinned_bundle_is_compared_before_anything_appears(handle: str, bundled: Path, far: Path) -> None:
    with pytest.raises(errors.IntegrityError, match=f"pinned {'0' * 64}"):
        unbundle.read(bundled, sha256="0" * 64)
    with pytest.raises(errors.HandleError, match="64 hexadecimal digits"):
        unbundle.read(bundled, sha256="0")
    assert left_in(far) == NOTHING
    unbundle.read(bundled, sha256=hashlib.sha256(bundled.read_bytes()).hexdigest().upper())
    assert left_in(far) == WHOLE


def test_what_is_here_already_is_not_touched_and_yet_verified(handle: str, bundled: Path, far: Path) -> None:
    path = unbundle.read(bundled)[0].path
    before = {file: file.stat().st_ino for file in far.rglob("*")}
    assert [(one.state, one.path) for one in unbundle.read(bundled)] == [("same", path)]
    assert {file: file.stat().st_ino for file in far.rglob("*")} == before
    bundled.write_bytes(tar_of(*with_data(SHARD, lambda data: b"W" + data[1:])(members_of(bundled))))
    with pytest.raises(errors.IntegrityError):
        unbundle.read(bundled)
    assert files_in(path) == MODEL


def test_a_copy_that_was_fetched_later_stays_unless_the_bundles_is_wanted(
    handle: str, bundled: Path, origin: Origin, cache_dir: Path
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    newer = resolve(handle, refresh=True)
    (taken,) = unbundle.read(bundled)
    assert (taken.state, taken.path) == ("kept", newer) and files_in(resolve(handle)) == NEWER
    (taken,) = unbundle.read(bundled, refresh=True)
    assert taken.state == "imported" and files_in(resolve(handle)) == MODEL == files_in(taken.path)
    assert files_in(newer) == NEWER, "who reads it is not disturbed"


def test_an_older_copy_gives_way_as_to_a_refresh(
    handle: str, bundled: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    resolve(handle, refresh=True)
    bundle.write([handle], tmp_path / "newer.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    older = unbundle.read(bundled)[0].path
    newer = unbundle.read(tmp_path / "newer.tar")[0]
    assert newer.state == "imported" and newer.path == resolve(handle) != older
    assert files_in(older) == MODEL and files_in(newer.path) == NEWER


@pytest.mark.parametrize("damage", ["missing", "other bytes"])
def test_a_damaged_copy_is_mended(damage: str, handle: str, bundled: Path, far: Path) -> None:
    path = unbundle.read(bundled)[0].path
    if damage == "missing":
        Path(path, "saved_model.pb").unlink()
    else:
        Path(path, "saved_model.pb").write_bytes(b"A graph")
    assert unbundle.read(bundled, refresh=damage != "missing")[0].state == "imported"
    assert resolve(handle) == path and files_in(path) == MODEL


def test_what_tensorflow_hub_put_there_gets_its_record(handle: str, bundled: Path, far: Path) -> None:
    put_model(far / name_of(handle))
    assert json.loads(ran("ls", "--json")[1])["models"][0]["state"] == "unverifiable"
    assert unbundle.read(bundled)[0].state == "imported"
    assert json.loads(ran("ls", "--json")[1])["models"][0]["state"] == "whole"


def test_eight_that_import_at_once_leave_one_copy(handle: str, origin: Origin, tmp_path: Path, far: Path) -> None:
    os.environ.pop("TFIMM_RESOLVER_OFFLINE")
    set_dir(tmp_path / "cache")
    bundle.write([handle, *(origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(4))], tmp_path / "b.tar")
    code = "import sys; from tfimm_resolver import unbundle; print(*[one.state for one in unbundle.read(sys.argv[1])])"
    jobs = [start(code, str(tmp_path / "b.tar")) for _ in range(8)]
    told = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, told
    states = [out.split() for out, _ in told]
    assert all(sum(one[index] == "imported" for one in states) == 1 for index in range(5)), states
    assert len(os.listdir(far)) == 10 and left_in(far) == WHOLE


def test_a_killed_import_leaves_nothing_that_is_believed(bundled: Path, handle: str, far: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        job = start("import sys; from tfimm_resolver import unbundle; unbundle.read(sys.stdin.buffer)", stdin=pipe)
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
    unbundle.read(bundled)
    assert left_in(far) == WHOLE


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


def spoilt(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"A graph")


def cut(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name, "saved_model.pb").write_bytes(b"a")


def unrecorded(cache_dir: Path, name: str) -> None:
    Path(cache_dir, name + RECORD).unlink()


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
    damage(cache_dir, name_of(handle))
    (tmp_path / "out").mkdir()
    with pytest.raises(errors.IntegrityError) as caught:
        bundle.write([handle], tmp_path / "out" / "b.tar")
    assert [word for word in words if word not in str(caught.value)] == []
    assert os.listdir(tmp_path / "out") == []


def test_a_file_that_grew_is_not_exported(handle: str, cache_dir: Path) -> None:
    resolve(handle)
    (model,) = bundle._chosen([handle])
    with Path(model.path, "saved_model.pb").open("ab") as file:
        file.write(b"!")
    with pytest.raises(errors.IntegrityError, match=r"saved_model\.pb has other bytes"):
        bundle._written([model], io.BytesIO())


def test_what_lies_elsewhere_is_not_exported_and_it_is_told_why(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar"
    put_model(tmp_path / "mine")
    with pytest.raises(errors.UnknownHandleError, match="not in the cache"):
        bundle.write([str(tmp_path / "mine")], out)
    with pytest.raises(errors.UnknownHandleError, match='"nothing" is not cached'):
        bundle.write(["nothing"], out)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "named"))
    put_model(tmp_path / "named" / "resnet")
    with pytest.raises(errors.CacheError, match="put there by hand"):
        bundle.write(["resnet"], out)
    with pytest.raises(errors.NotFoundError):
        bundle.write([f"{origin.url}/missing.tar.gz"], out)
    handle = origin.put("/m.tar.gz", tar_gz())
    for _ in range(2):  # fetched, and cached
        with pytest.raises(errors.IntegrityError):
            bundle.write([f"{handle}#sha256={'0' * 64}"], out)
        resolve(handle)
    assert not out.exists()


def test_a_bundle_replaces_another_whole_or_not_at_all(handle: str, bundled: Path, cache_dir: Path, tmp_path: Path) -> None:
    before = bundled.read_bytes()
    spoilt(cache_dir, name_of(handle))
    with pytest.raises(errors.IntegrityError):
        bundle.write([handle], bundled)
    assert bundled.read_bytes() == before and list(tmp_path.glob("b.tar*")) == [bundled]
    with pytest.raises(errors.CacheError, match="cannot write"):
        bundle.write([origin_free(cache_dir, handle)], tmp_path / "missing" / "b.tar")


def origin_free(cache_dir: Path, handle: str) -> str:
    """The model, whole again without its origin."""
    Path(cache_dir, name_of(handle), "saved_model.pb").write_bytes(MODEL["saved_model.pb"])
    return handle


def test_a_model_in_an_extra_root_is_exported(
    handle: str, bundled: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    assert bundle.write([handle], tmp_path / "c.tar").size_bytes and not cache_dir.exists()
    assert (tmp_path / "c.tar").read_bytes() == bundled.read_bytes()


def test_a_bundle_is_imported_into_a_bucket_and_not_exported_from_one(
    handle: str, bundled: Path, gcs: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    (taken,) = unbundle.read(bundled)
    assert taken.state == "imported" and taken.path == resolve(handle)
    assert taken.path.startswith(f"gs://bucket/cache/{name_of(handle)}.") and ran("verify")[0] == 0
    assert [one.state for one in unbundle.read(bundled)] == ["same"]
    with pytest.raises(errors.CacheError, match="TFIMM_RESOLVER_LOCAL_COPY=1"):
        bundle.write([handle], tmp_path / "c.tar")
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "local"))
    with pytest.raises(errors.CacheError, match="lies in a bucket"):
        bundle.write([handle], tmp_path / "c.tar")
    resolve(handle)
    assert len(bundle.write([handle], tmp_path / "c.tar").models) == 1


def test_the_command_line_says_what_it_did(handle: str, tmp_path: Path) -> None:
    code, out, _ = ran("export", handle, "-o", str(tmp_path / "b.tar"))
    pin, name = out.split()
    assert (code, name, pin) == (0, str(tmp_path / "b.tar"), hashlib.sha256((tmp_path / "b.tar").read_bytes()).hexdigest())
    far = {"TFHUB_CACHE_DIR": str(tmp_path / "far"), "TFIMM_RESOLVER_OFFLINE": "1"}
    code, out, _ = ran("import", name, "--sha256", pin, **far)
    assert code == 0 and out.split() == ["imported", handle, "3", "files", "815", "B"]
    code, out, _ = ran("import", name, "--json", **far)
    (facts,) = json.loads(out)["models"]
    assert code == 0 and (facts["state"], facts["path"]) == ("same", f"{tmp_path}/far/{name_of(handle)}")
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
