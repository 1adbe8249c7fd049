"""A bucket as cache root, and as second level behind a local one: requests, healing, listing, and who is asked when."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.buckets import ROOT, below, fill_s3, left_in, make_older, record_in, trees_in
from tests.light_start import HEAVY
from tests.origin import Origin
from tests.processes import run
from tests.stores.gcs import Gcs
from tests.stores.objects import Blob, Bucket
from tests.stores.s3 import S3
from tests.test_cli import ran
from tfimm_resolver import resolve
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError

NEWER = {"saved_model.pb": b"a newer graph"}
COPY = "TFIMM_RESOLVER_LOCAL_COPY"


@pytest.fixture
def handle(origin: Origin) -> str:
    return origin.put_model("/google/model/1", tar_gz())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root on this machine; the bucket is the cache."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    return tmp_path / "here"


@pytest.fixture
def bucket(gcs: Gcs, here: Path) -> Bucket:
    """The bucket, which is the cache."""
    return gcs.buckets["bucket"]


@pytest.fixture
def copied(bucket: Bucket, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root on this machine, with the bucket as a second level behind it."""
    monkeypatch.setenv(COPY, "1")
    return here


def since(gcs: Gcs, start: int) -> list[str]:
    """What was asked since then; of a name what follows the model's sha1."""
    return [f"{one.kind} {one.name.partition('cache/')[2][40:]}".strip() for one in gcs.log[start:]]


def test_a_warm_resolve_asks_once(gcs: Gcs, bucket: Bucket, handle: str, origin: Origin, here: Path) -> None:
    path = resolve(handle)
    assert path.startswith(f"{ROOT}/{entry_name_for_key(handle)}.{hashlib.sha256(tar_gz()).hexdigest()}-")
    asked = len(gcs.log)
    assert resolve(handle) == path
    assert since(gcs, asked) == [f"get {DESCRIPTOR_SUFFIX}"] and len(origin.asked) == 1
    assert [*here.iterdir()] == [], "what is staged goes"


@pytest.mark.parametrize("is_copied", [False, True], ids=["in place", "copied"])
def test_sixteen_threads_download_and_upload_once(
    is_copied: bool, gcs: Gcs, bucket: Bucket, handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COPY, str(int(is_copied)))
    paths: list[str] = []
    threads = [threading.Thread(target=lambda: paths.append(resolve(handle))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 16 and len({*paths}) == len(trees_in(bucket)) == len(origin.asked) == 1
    assert len(gcs.asked("put", f"*{LEASE_SUFFIX}")) == 1 and left_in(bucket) == set()


def test_a_cold_resolve_asks_as_often_however_many_models_there_are(gcs: Gcs, bucket: Bucket, origin: Origin) -> None:
    resolve(origin.put("/first.tar.gz", tar_gz()))  # tidies up, once a day
    for number in range(1500):
        name = f"cache/{number:040x}"
        bucket.put(f"{name}{DESCRIPTOR_SUFFIX}", b"Module: x")
        bucket.put(f"{name}.{'a' * 64}-00000000/saved_model.pb", b"x")
    asked = len(gcs.log)
    resolve(origin.put("/m.tar.gz", tar_gz()))
    kinds = [kind.split()[0] for kind in since(gcs, asked)]
    assert sorted(kinds) == ["delete"] + ["get"] * 5 + ["head", "list"] + ["put"] * (2 + len(MODEL))


def test_what_is_not_used_any_more_goes_once_a_day(gcs: Gcs, bucket: Bucket, handle: str) -> None:
    left, claim, hubs = "1" * 40, f"cache/{'2' * 40}{LEASE_SUFFIX}", entry_name_for_key(handle)
    for name in (f"cache/{left}.{'a' * 64}-00000000/saved_model.pb", claim, f"cache/{hubs}/saved_model.pb", "cache/other/x"):
        bucket.put(name, b"x")
    path = resolve(handle)
    assert claim in bucket and len(trees_in(bucket)) == 4
    make_older(bucket, hours=25)
    asked = len(gcs.log)
    assert resolve(handle, refresh=True) == path and below(bucket, path) == MODEL
    # What plain tensorflow_hub has put there, or anybody, stays.
    assert claim not in bucket and trees_in(bucket) == {path.rpartition("/")[2], hubs, "other"}
    assert since(gcs, asked).count("list") > 1
    asked = len(gcs.log)
    resolve(handle, refresh=True)
    assert since(gcs, asked).count("list") == 1, "the one by which the model is compared"


def test_nothing_goes_because_this_machine_s_clock_is_ahead(
    bucket: Bucket, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bucket.put

    def put_long_ago(name: str, *rest: Any) -> Blob:
        put(name, *rest)
        make_older(bucket, hours=100, prefix=name)
        return bucket.get(name)

    monkeypatch.setattr(bucket, "put", put_long_ago)
    growing = f"cache/{'1' * 40}.{'a' * 64}-00000000/saved_model.pb"
    bucket.put(growing, b"x")
    resolve(handle)
    assert growing in bucket and "cache/tfimm_resolver.tidied" in bucket


def test_many_models_are_tidied_up_without_looking_at_each(gcs: Gcs, bucket: Bucket, handle: str) -> None:
    for number in range(600):
        name = f"cache/{number:040x}"
        bucket.put(f"{name}{DESCRIPTOR_SUFFIX}", b"Module: x")
        bucket.put(f"{name}.{'a' * 64}-00000000/saved_model.pb", b"x")
    resolve(handle)
    assert len(trees_in(bucket)) == 601 and len(gcs.log) < 30


def test_a_refresh_that_brings_the_same_changes_nothing_but_the_time(bucket: Bucket, handle: str) -> None:
    path, record = resolve(handle), record_in(bucket, handle)
    assert resolve(handle, refresh=True) == path and below(bucket, path) == MODEL
    again = record_in(bucket, handle)
    assert record and again and again.fetched_at > record.fetched_at and again.files == record.files


def test_a_refresh_that_fails_leaves_the_copy_and_says_so(bucket: Bucket, handle: str, origin: Origin) -> None:
    path = resolve(handle)
    origin.pages.clear()
    with pytest.raises(FetchError, match="the cached copy stays"):
        resolve(handle, refresh=True)
    assert resolve(handle) == path and left_in(bucket) == set()


def test_a_pin_is_kept(bucket: Bucket, handle: str, origin: Origin) -> None:
    right = hashlib.sha256(tar_gz()).hexdigest()
    with pytest.raises(IntegrityError, match="another sha256"):
        resolve(handle, sha256="0" * 64)
    assert trees_in(bucket) == left_in(bucket) == set()
    path = resolve(handle, sha256=right)
    assert resolve(handle, sha256=right) == resolve(handle) == path and len(origin.asked) == 2
    with pytest.raises(IntegrityError, match=f"cached {right}"):
        resolve(handle, sha256="0" * 64)


def test_a_second_level_brings_a_copy_and_is_not_asked_again(
    gcs: Gcs, bucket: Bucket, copied: Path, handle: str, origin: Origin
) -> None:
    path = resolve(handle)
    assert path == f"{copied}/{entry_name_for_key(handle)}" and files_in(path) == MODEL
    record = record_in(bucket, handle)
    assert record and below(bucket, f"{ROOT}/{record.tree}") == MODEL
    asked = len(gcs.log)
    assert resolve(handle) == path and since(gcs, asked) == []
    assert sorted(one.name for one in copied.iterdir()) == [
        entry_name_for_key(handle),
        entry_name_for_key(handle) + DESCRIPTOR_SUFFIX,
    ]


def test_a_hit_on_this_machine_loads_nothing_for_the_bucket_behind_it(copied: Path, handle: str) -> None:
    resolve(handle)
    code = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1]); print(*sys.modules)"
    loaded = set(run(code, handle).split())
    assert loaded.isdisjoint({*HEAVY, "tempfile", *(f"tfimm_resolver.{name}" for name in ("transfer", "claims", "objects"))})


def test_another_machine_copies_what_is_there_in_as_many_requests_as_there_are_files(
    gcs: Gcs, bucket: Bucket, copied: Path, handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve(handle)
    asked = len(gcs.log)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "there"))
    assert files_in(resolve(handle)) == MODEL
    assert sorted(since(gcs, asked)) == sorted([f"get {DESCRIPTOR_SUFFIX}", *(one for one in since(gcs, asked) if "/" in one)])
    assert len(gcs.log) - asked == 1 + len(MODEL) and len(origin.asked) == 1


def test_damage_on_this_machine_heals_from_the_bucket(copied: Path, handle: str, origin: Origin) -> None:
    path = Path(resolve(handle))
    origin.pages.clear()
    (path / "saved_model.pb").unlink()
    assert resolve(handle) == str(path) and files_in(path) == MODEL and len(origin.asked) == 1


def test_a_second_level_keeps_pins_and_refreshes_both(bucket: Bucket, copied: Path, handle: str, origin: Origin) -> None:
    right = hashlib.sha256(tar_gz()).hexdigest()
    old = resolve(handle, sha256=right)
    with pytest.raises(IntegrityError, match="another sha256"):
        resolve(handle, sha256="0" * 64)
    origin.put_model("/google/model/1", tar_gz(NEWER))
    assert resolve(handle) == old
    new = resolve(handle, refresh=True)
    record = record_in(bucket, handle)
    assert files_in(new) == NEWER and record and below(bucket, f"{ROOT}/{record.tree}") == NEWER
    assert files_in(old) == MODEL and len(origin.asked) == 2


def test_a_copy_is_as_old_as_what_it_is_a_copy_of(
    bucket: Bucket, here: Path, handle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    resolve(handle)
    origin.put_model("/google/model/1", tar_gz(NEWER))
    with monkeypatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "extra"))
        newer = resolve(handle)
    monkeypatch.setenv(COPY, "1")
    copy = resolve(handle)
    assert files_in(copy) == MODEL
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    assert resolve(handle) == newer, "the copy counts from when it was made"


@pytest.mark.parametrize("is_copied", [False, True], ids=["in place", "copied"])
def test_an_extra_root_comes_first_also_when_the_bucket_is_out_of_reach(
    is_copied: bool, gcs: Gcs, handle: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    resolve(handle)
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(cache_dir))
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    monkeypatch.setenv(COPY, str(int(is_copied)))
    lent = f"{cache_dir}/{entry_name_for_key(handle)}"
    assert resolve(handle) == lent
    for variable, value in {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1", "TFIMM_RESOLVER_OFFLINE": "1"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert resolve(handle) == lent
            assert ran("resolve", handle)[:2] == (0, f"{lent}\n")
    gcs.on(times=None).answer(403)
    assert resolve(handle) == lent and len(origin.asked) == 1


def test_what_lies_on_this_machine_is_listed_when_the_bucket_is_out_of_reach(copied: Path, handle: str) -> None:
    path = resolve(handle)
    for environment in ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}, {"TFIMM_RESOLVER_OFFLINE": "1"}):
        code, out, err = ran("--json", "ls", **environment)
        (model,) = json.loads(out)["models"]
        assert (code, model["path"], model["state"]) == (0, path, "whole") and f"passed over: {ROOT}" in err


def damage(bucket: Bucket, handle: str) -> str:
    """Give the model's graph in the bucket other bytes; returns its name there."""
    record = record_in(bucket, handle)
    assert record
    bucket.put(f"cache/{record.tree}/saved_model.pb", b"b graph")
    return record.tree


def test_the_command_line_lists_verifies_repairs_and_removes_in_a_bucket(bucket: Bucket, here: Path, handle: str) -> None:
    code, out, _ = ran("resolve", handle)
    path = out.strip()
    assert code == 0 and below(bucket, path) == MODEL
    (model,) = json.loads(ran("--json", "ls")[1])["models"]
    assert (model["handle"], model["path"], model["state"], model["bucket"]) == (handle, path, "whole", None)
    assert ran("verify")[0] == 0
    damage(bucket, handle)
    code, out, _ = ran("verify")
    assert code == 6 and "saved_model.pb has other bytes than were fetched" in out
    assert ran("verify", "--repair")[0] == 0 and below(bucket, resolve(handle)) == MODEL
    code, _, err = ran("rm", handle)
    assert code == 0 and "removed" in err and trees_in(bucket) == left_in(bucket) == set()
    assert record_in(bucket, handle) is None and ran("rm", handle)[0] == 2
    assert json.loads(ran("--json", "ls")[1])["models"] == [] and ran("path", "-q")[1] == f"{ROOT}\n"


def test_the_command_line_lists_verifies_repairs_and_removes_on_both_levels(bucket: Bucket, copied: Path, handle: str) -> None:
    path = resolve(handle)
    both = json.loads(ran("--json", "ls")[1])["models"]
    assert [(model["handle"], model["bucket"]) for model in both] == [(handle, None), (handle, ROOT)]
    assert both[0]["path"] == path and ran("verify")[0] == 0
    damage(bucket, handle)
    (Path(path) / "variables/variables.index").write_bytes(b"an_index")
    code, out, _ = ran("verify")
    assert code == 6 and "saved_model.pb has other bytes" in out and "variables.index has other bytes" in out
    code, out, err = ran("verify", "--repair")
    assert code == 0, out + err
    assert files_in(path) == MODEL and ran("verify")[0] == 0
    facts = json.loads(ran("--json", "path")[1])
    assert (facts["urls"]["path"], facts["copies"]["path"]) == (ROOT, str(copied))
    assert ran("rm", handle)[0] == 0
    assert record_in(bucket, handle) is None and trees_in(bucket) == set() and [*copied.iterdir()] == []


def test_a_model_that_is_going_up_is_none_yet(bucket: Bucket, here: Path, handle: str) -> None:
    bucket.put(f"cache/{entry_name_for_key(handle)}.{'a' * 64}-00000000/saved_model.pb", b"x")
    bucket.put(f"cache/{entry_name_for_key(handle)}{LEASE_SUFFIX}", b"host.1.1")
    assert json.loads(ran("--json", "ls")[1])["models"] == [] and ran("verify")[0] == 0


def test_a_root_of_s3_gives_a_copy_on_this_machine(
    s3: S3, here: Path, handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "s3://bucket/cache")
    path = resolve(handle)
    assert path == f"{here}/{entry_name_for_key(handle)}" and files_in(path) == MODEL
    asked = len(s3.asked())
    assert resolve(handle) == path and len(s3.asked()) == asked
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "there"))
    assert files_in(resolve(handle)) == MODEL and len(origin.asked) == 1
    assert [method for method, _, _ in s3.asked()[asked:]] == ["GET"] * (1 + len(MODEL))


def test_an_s3_directory_may_go_through_a_bucket_too(s3: S3, gcs: Gcs, bucket: Bucket, here: Path) -> None:
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})
    path = resolve("s3://bucket/m")
    assert path.startswith(ROOT) and below(bucket, path) == MODEL


def test_a_root_with_a_file_scheme_is_a_directory(
    gcs: Gcs, handle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"file://{tmp_path}/a%20b")
    path = resolve(handle)
    assert path == f"{tmp_path}/a b/{entry_name_for_key(handle)}" and files_in(path) == MODEL and gcs.log == []


def test_a_root_in_memory_lasts_as_long_as_the_process(handle: str, here: Path, origin: Origin) -> None:
    code = """
        import shutil, sys, tfimm_resolver
        for _ in range(2):
            path = tfimm_resolver.resolve(sys.argv[1])
            print(path)
            shutil.rmtree(sys.argv[2])
    """
    for count in (1, 2):
        assert (
            run(code, handle, str(here), TFHUB_CACHE_DIR="memory://cache").split()
            == [f"{here}/{entry_name_for_key(handle)}"] * 2
        )
        assert len(origin.asked) == count


def test_the_root_may_be_a_whole_bucket_and_spelt_with_a_slash(
    bucket: Bucket, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("gs://bucket", "gs://bucket/", "gs://bucket/a/b/", "gs://bucket/größe %20+&"):
        monkeypatch.setenv("TFHUB_CACHE_DIR", root)
        path = resolve(handle)
        assert path.startswith(f"{root.rstrip('/')}/{entry_name_for_key(handle)}.") and below(bucket, path) == MODEL


def test_a_root_that_no_store_has_is_refused(handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "ftp://host/cache")
    with pytest.raises(CacheError, match="a cache cannot live at ftp://host/cache"):
        resolve(handle)
