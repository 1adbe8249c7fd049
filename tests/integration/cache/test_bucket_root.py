"""A bucket as the cache root, and as the remote tier behind a local root: requests, repair, listing and order of look-up."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.buckets import ROOT, fill_s3, list_leftovers, list_objects_below, list_prefixes, make_older, read_record
from tests.fakes.cli import run_cli
from tests.fakes.light_start import HEAVY
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.objects import Blob, Bucket
from tests.fakes.stores.s3 import S3
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import resolve
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError
from tfimm_resolver.maintenance.inventory import list_models
from tfimm_resolver.maintenance.pruning import prune

NEWER = {"saved_model.pb": b"a newer graph"}
COPY = "TFIMM_RESOLVER_LOCAL_COPY"


@pytest.fixture
def handle(origin: Origin) -> str:
    return origin.put_model("/google/model/1", tar_gz())


@pytest.fixture
def local_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local root, while the bucket is the cache."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    return tmp_path / "here"


@pytest.fixture
def bucket(gcs: Gcs, local_root: Path) -> Bucket:
    """The bucket that is the cache."""
    return gcs.buckets["bucket"]


@pytest.fixture
def copied(bucket: Bucket, local_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local root, with the bucket as a remote tier behind it."""
    monkeypatch.setenv(COPY, "1")
    return local_root


def list_requests_since(gcs: Gcs, start: int) -> list[str]:
    """Return the requests since that index of the log, each with the part of the object's name after the model's sha1."""
    return [f"{one.kind} {one.name.partition('cache/')[2][40:]}".strip() for one in gcs.log[start:]]


def test_a_warm_resolve_makes_one_request(gcs: Gcs, bucket: Bucket, handle: str, origin: Origin, local_root: Path) -> None:
    path = resolve(handle)
    assert path.startswith(f"{ROOT}/{entry_name_for_key(handle)}.{hashlib.sha256(tar_gz()).hexdigest()}-")
    request_count = len(gcs.log)
    assert resolve(handle) == path
    assert list_requests_since(gcs, request_count) == [f"get {DESCRIPTOR_SUFFIX}"] and len(origin.requests) == 1
    assert [*local_root.iterdir()] == [], "staged files are removed"


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
    assert len(paths) == 16 and len({*paths}) == len(list_prefixes(bucket)) == len(origin.requests) == 1
    assert len(gcs.find_operations("put", f"*{LEASE_SUFFIX}")) == 1 and list_leftovers(bucket) == set()


def test_the_requests_of_a_cold_resolve_do_not_depend_on_the_number_of_models(
    gcs: Gcs, bucket: Bucket, origin: Origin
) -> None:
    resolve(origin.put("/first.tar.gz", tar_gz()))  # collects garbage, once a day
    for number in range(1500):
        name = f"cache/{number:040x}"
        bucket.put(f"{name}{DESCRIPTOR_SUFFIX}", b"Module: x")
        bucket.put(f"{name}.{'a' * 64}-00000000/saved_model.pb", b"x")
    request_count = len(gcs.log)
    resolve(origin.put("/m.tar.gz", tar_gz()))
    kinds = [kind.split()[0] for kind in list_requests_since(gcs, request_count)]
    assert sorted(kinds) == ["delete"] + ["get"] * 5 + ["head", "list"] + ["put"] * (2 + len(MODEL))


def test_unused_objects_are_removed_once_a_day(gcs: Gcs, bucket: Bucket, handle: str) -> None:
    left, claim, hubs = "1" * 40, f"cache/{'2' * 40}{LEASE_SUFFIX}", entry_name_for_key(handle)
    for name in (f"cache/{left}.{'a' * 64}-00000000/saved_model.pb", claim, f"cache/{hubs}/saved_model.pb", "cache/other/x"):
        bucket.put(name, b"x")
    path = resolve(handle)
    assert claim in bucket and len(list_prefixes(bucket)) == 4
    make_older(bucket, hours=25)
    request_count = len(gcs.log)
    assert resolve(handle, refresh=True) == path and list_objects_below(bucket, path) == MODEL
    # Prefixes that were put there by plain tensorflow_hub or by hand stay.
    assert claim not in bucket and list_prefixes(bucket) == {path.rpartition("/")[2], hubs, "other"}
    assert list_requests_since(gcs, request_count).count("list") > 1
    request_count = len(gcs.log)
    resolve(handle, refresh=True)
    assert list_requests_since(gcs, request_count).count("list") == 2, "before and after it is fetched"


def test_a_removed_model_stays_readable_for_the_grace_time(bucket: Bucket, handle: str, local_root: Path) -> None:
    path = resolve(handle)
    assert run_cli("rm", handle)[0] == 0
    assert read_record(bucket, handle) is None and list_models() == []
    assert list_objects_below(bucket, path).items() >= MODEL.items()
    again = resolve(handle)
    assert again != path and list_objects_below(bucket, again) == MODEL
    make_older(bucket, hours=23)
    assert prune().removed == () and list_objects_below(bucket, path).items() >= MODEL.items()
    make_older(bucket, hours=2)
    before = sorted(bucket.files(""))
    (planned,) = prune(dry_run=True).removed
    assert (planned.path, planned.kind) == (path, "replaced copy") and sorted(bucket.files("")) == before
    assert prune().removed[0].path == path
    assert list_prefixes(bucket) == {again.rpartition("/")[2]} and list_objects_below(bucket, again) == MODEL


def test_the_grace_time_of_a_bucket_can_be_set(bucket: Bucket, handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = resolve(handle)
    assert run_cli("rm", handle)[0] == 0
    make_older(bucket, hours=2)
    assert prune().removed == ()
    monkeypatch.setenv("TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS", "1h")
    assert [item.path for item in prune().removed] == [path] and list_prefixes(bucket) == set()


def test_an_upload_that_takes_longer_than_the_grace_time_stays(
    bucket: Bucket, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS", "0s")
    resolve(handle)
    growing = f"cache/{'1' * 40}.{'a' * 64}-00000000/saved_model.pb"
    bucket.put(growing, b"x")
    assert prune().removed == () and growing in bucket


def test_nothing_is_removed_because_this_machines_clock_is_ahead(
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


def test_garbage_collection_makes_no_request_per_model(gcs: Gcs, bucket: Bucket, handle: str) -> None:
    for number in range(600):
        name = f"cache/{number:040x}"
        bucket.put(f"{name}{DESCRIPTOR_SUFFIX}", b"Module: x")
        bucket.put(f"{name}.{'a' * 64}-00000000/saved_model.pb", b"x")
    resolve(handle)
    assert len(list_prefixes(bucket)) == 601 and len(gcs.log) < 30


def test_a_refresh_with_the_same_content_changes_only_the_time(bucket: Bucket, handle: str) -> None:
    path, record = resolve(handle), read_record(bucket, handle)
    assert resolve(handle, refresh=True) == path and list_objects_below(bucket, path) == MODEL
    again = read_record(bucket, handle)
    assert record and again and again.fetched_at > record.fetched_at and again.files == record.files


def test_a_refresh_that_fails_keeps_the_copy_and_says_so(bucket: Bucket, handle: str, origin: Origin) -> None:
    path = resolve(handle)
    origin.pages.clear()
    with pytest.raises(FetchError, match="the cached copy is unchanged"):
        resolve(handle, refresh=True)
    assert resolve(handle) == path and list_leftovers(bucket) == set()


def test_a_pin_is_enforced(bucket: Bucket, handle: str, origin: Origin) -> None:
    right = hashlib.sha256(tar_gz()).hexdigest()
    with pytest.raises(IntegrityError, match="a different sha256"):
        resolve(handle, sha256="0" * 64)
    assert list_prefixes(bucket) == list_leftovers(bucket) == set()
    path = resolve(handle, sha256=right)
    assert resolve(handle, sha256=right) == resolve(handle) == path and len(origin.requests) == 2
    with pytest.raises(IntegrityError, match=f"cached {right}"):
        resolve(handle, sha256="0" * 64)


def test_a_remote_tier_is_copied_once_and_not_requested_again(
    gcs: Gcs, bucket: Bucket, copied: Path, handle: str, origin: Origin
) -> None:
    path = resolve(handle)
    assert path == f"{copied}/{entry_name_for_key(handle)}" and files_in(path) == MODEL
    record = read_record(bucket, handle)
    assert record and list_objects_below(bucket, f"{ROOT}/{record.tree}") == MODEL
    request_count = len(gcs.log)
    assert resolve(handle) == path and list_requests_since(gcs, request_count) == []
    assert sorted(one.name for one in copied.iterdir()) == [
        entry_name_for_key(handle),
        entry_name_for_key(handle) + DESCRIPTOR_SUFFIX,
    ]


def test_a_local_hit_does_not_import_the_bucket_modules(copied: Path, handle: str) -> None:
    resolve(handle)
    code = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1]); print(*sys.modules)"
    loaded = set(run(code, handle).split())
    assert loaded.isdisjoint(
        {*HEAVY, "tempfile", *(f"tfimm_resolver.{name}" for name in ("transfer", "cache.bucket_lease", "object_store.client"))}
    )


def test_another_machine_copies_a_model_with_one_request_per_file(
    gcs: Gcs, bucket: Bucket, copied: Path, handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve(handle)
    request_count = len(gcs.log)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "there"))
    assert files_in(resolve(handle)) == MODEL
    assert sorted(list_requests_since(gcs, request_count)) == sorted(
        [f"get {DESCRIPTOR_SUFFIX}", *(one for one in list_requests_since(gcs, request_count) if "/" in one)]
    )
    assert len(gcs.log) - request_count == 1 + len(MODEL) and len(origin.requests) == 1


def test_a_damaged_local_copy_is_restored_from_the_bucket(copied: Path, handle: str, origin: Origin) -> None:
    path = Path(resolve(handle))
    origin.pages.clear()
    (path / "saved_model.pb").unlink()
    assert resolve(handle) == str(path) and files_in(path) == MODEL and len(origin.requests) == 1


def test_a_remote_tier_enforces_pins_and_a_refresh_updates_both(
    bucket: Bucket, copied: Path, handle: str, origin: Origin
) -> None:
    right = hashlib.sha256(tar_gz()).hexdigest()
    old = resolve(handle, sha256=right)
    with pytest.raises(IntegrityError, match="a different sha256"):
        resolve(handle, sha256="0" * 64)
    origin.put_model("/google/model/1", tar_gz(NEWER))
    assert resolve(handle) == old
    new = resolve(handle, refresh=True)
    record = read_record(bucket, handle)
    assert files_in(new) == NEWER and record and list_objects_below(bucket, f"{ROOT}/{record.tree}") == NEWER
    assert files_in(old) == MODEL and len(origin.requests) == 2


def test_a_copy_has_the_age_of_its_original(
    bucket: Bucket, local_root: Path, handle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
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
    assert resolve(handle) == newer, "the copy's age is that of the original fetch"


@pytest.mark.parametrize("is_copied", [False, True], ids=["in place", "copied"])
def test_an_extra_root_is_used_first_even_if_the_bucket_is_unreachable(
    is_copied: bool, gcs: Gcs, handle: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    resolve(handle)
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(cache_dir))
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    monkeypatch.setenv(COPY, str(int(is_copied)))
    extra_path = f"{cache_dir}/{entry_name_for_key(handle)}"
    assert resolve(handle) == extra_path
    for variable, value in {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1", "TFIMM_RESOLVER_OFFLINE": "1"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert resolve(handle) == extra_path
            assert run_cli("resolve", handle)[:2] == (0, f"{extra_path}\n")
    gcs.on(times=None).answer(403)
    assert resolve(handle) == extra_path and len(origin.requests) == 1


def test_local_copies_are_listed_when_the_bucket_is_unreachable(copied: Path, handle: str) -> None:
    path = resolve(handle)
    for environment in ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}, {"TFIMM_RESOLVER_OFFLINE": "1"}):
        code, out, err = run_cli("--json", "ls", **environment)
        (model,) = json.loads(out)["models"]
        assert (code, model["path"], model["state"]) == (0, path, "ok") and f"skipped: {ROOT}" in err


def damage(bucket: Bucket, handle: str) -> str:
    """Overwrite the model's graph in the bucket; return its prefix."""
    record = read_record(bucket, handle)
    assert record
    bucket.put(f"cache/{record.tree}/saved_model.pb", b"b graph")
    return record.tree


def test_the_command_line_lists_verifies_repairs_and_removes_in_a_bucket(
    bucket: Bucket, local_root: Path, handle: str
) -> None:
    code, out, _ = run_cli("resolve", handle)
    path = out.strip()
    assert code == 0 and list_objects_below(bucket, path) == MODEL
    (model,) = json.loads(run_cli("--json", "ls")[1])["models"]
    assert (model["handle"], model["path"], model["state"], model["bucket"]) == (handle, path, "ok", None)
    assert run_cli("verify")[0] == 0
    damage(bucket, handle)
    code, out, _ = run_cli("verify")
    assert code == 6 and "saved_model.pb does not match its recorded sha256" in out
    assert run_cli("verify", "--repair")[0] == 0 and list_objects_below(bucket, resolve(handle)) == MODEL
    code, _, err = run_cli("rm", "--force", handle)
    assert code == 0 and "Removed 1 model" in err and list_prefixes(bucket) == list_leftovers(bucket) == set()
    assert read_record(bucket, handle) is None and run_cli("rm", handle)[0] == 2
    assert json.loads(run_cli("--json", "ls")[1])["models"] == [] and run_cli("path", "-q")[1] == f"{ROOT}\n"


def test_the_command_line_lists_verifies_repairs_and_removes_on_both_levels(bucket: Bucket, copied: Path, handle: str) -> None:
    path = resolve(handle)
    both = json.loads(run_cli("--json", "ls")[1])["models"]
    assert [(model["handle"], model["bucket"]) for model in both] == [(handle, None), (handle, ROOT)]
    assert both[0]["path"] == path and run_cli("verify")[0] == 0
    damage(bucket, handle)
    (Path(path) / "variables/variables.index").write_bytes(b"an_index")
    code, out, _ = run_cli("verify")
    assert (
        code == 6
        and "saved_model.pb does not match its recorded sha256" in out
        and "variables.index does not match its recorded sha256" in out
    )
    give_up_all()
    code, out, err = run_cli("verify", "--repair")
    assert code == 0, out + err
    assert files_in(path) == MODEL and run_cli("verify")[0] == 0
    facts = json.loads(run_cli("--json", "path")[1])
    assert (facts["urls"]["path"], facts["copies"]["path"]) == (ROOT, str(copied))
    assert run_cli("rm", "--force", handle)[0] == 0
    assert read_record(bucket, handle) is None and list_prefixes(bucket) == set() and [*copied.iterdir()] == []


def test_a_model_that_is_being_uploaded_is_not_listed(bucket: Bucket, local_root: Path, handle: str) -> None:
    bucket.put(f"cache/{entry_name_for_key(handle)}.{'a' * 64}-00000000/saved_model.pb", b"x")
    bucket.put(f"cache/{entry_name_for_key(handle)}{LEASE_SUFFIX}", b"host.1.1")
    assert json.loads(run_cli("--json", "ls")[1])["models"] == [] and run_cli("verify")[0] == 0


def test_a_root_in_s3_is_copied_to_this_machine(
    s3: S3, local_root: Path, handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "s3://bucket/cache")
    path = resolve(handle)
    assert path == f"{local_root}/{entry_name_for_key(handle)}" and files_in(path) == MODEL
    request_count = len(s3.list_requests())
    assert resolve(handle) == path and len(s3.list_requests()) == request_count
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "there"))
    assert files_in(resolve(handle)) == MODEL and len(origin.requests) == 1
    assert [method for method, _, _ in s3.list_requests()[request_count:]] == ["GET"] * (1 + len(MODEL))


def test_an_s3_directory_may_go_through_a_bucket_too(s3: S3, gcs: Gcs, bucket: Bucket, local_root: Path) -> None:
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})
    path = resolve("s3://bucket/m")
    assert path.startswith(ROOT) and list_objects_below(bucket, path) == MODEL


def test_a_root_with_a_file_scheme_is_a_directory(
    gcs: Gcs, handle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"file://{tmp_path}/a%20b")
    path = resolve(handle)
    assert path == f"{tmp_path}/a b/{entry_name_for_key(handle)}" and files_in(path) == MODEL and gcs.log == []


def test_a_root_in_memory_lasts_as_long_as_the_process(handle: str, local_root: Path, origin: Origin) -> None:
    code = """
        import shutil, sys, tfimm_resolver
        for _ in range(2):
            path = tfimm_resolver.resolve(sys.argv[1])
            print(path)
            shutil.rmtree(sys.argv[2])
    """
    for count in (1, 2):
        assert (
            run(code, handle, str(local_root), TFHUB_CACHE_DIR="memory://cache").split()
            == [f"{local_root}/{entry_name_for_key(handle)}"] * 2
        )
        assert len(origin.requests) == count


def test_the_root_may_be_an_entire_bucket_and_end_in_a_slash(
    bucket: Bucket, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("gs://bucket", "gs://bucket/", "gs://bucket/a/b/", "gs://bucket/größe %20+&"):
        monkeypatch.setenv("TFHUB_CACHE_DIR", root)
        path = resolve(handle)
        assert (
            path.startswith(f"{root.rstrip('/')}/{entry_name_for_key(handle)}.") and list_objects_below(bucket, path) == MODEL
        )


def test_a_root_with_an_unsupported_scheme_is_an_error(handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "ftp://host/cache")
    with pytest.raises(CacheError, match="ftp://host/cache cannot hold a cache"):
        resolve(handle)
