"""Failures between this machine and a bucket: interrupts, forks, refusals, silence, damage."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.buckets import ROOT, list_leftovers, list_objects_below, make_older, read_record, wait_until
from tests.fakes.cli import run_cli
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError, OfflineError

COMMAND = """
    import signal, sys
    from tfimm_resolver.cli.app import main
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not inherited by a background job of a shell
    sys.exit(main(["resolve", *sys.argv[1:]]))
"""
PATIENT = """
    from tfimm_resolver.cache import bucket_lease
    bucket_lease._JOIN_TIMEOUT_S = 15.0  # for the removal of its lease, which takes longer on a busy machine
"""
MAX_S = 20  # far less than any time limit that applies


@pytest.fixture
def handle(origin: Origin) -> str:
    return origin.put("/m.tar.gz", tar_gz())


@pytest.fixture(autouse=True)
def _root(gcs: Gcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use the bucket as the cache."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))


def interrupt(job: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """Interrupt a process, which has to end at once; return its exit code and stderr."""
    time.sleep(0.2)  # by now it is waiting
    job.send_signal(number)
    try:
        _, err = job.communicate(timeout=MAX_S)
    finally:
        job.kill()
        job.wait()
    return job.returncode, err


@pytest.mark.parametrize(
    ("kind", "name", "is_all"),
    [
        pytest.param("get", "*.descriptor.txt", True, id="look"),
        pytest.param("put", f"*{LEASE_SUFFIX}", False, id="lease"),
        pytest.param("put", "*/saved_model.pb", False, id="upload"),
        pytest.param("put", "*/saved_model.pb", True, id="upload, and all from there on"),
        pytest.param("list", "*", False, id="check"),
        pytest.param("put", "*.descriptor.txt", False, id="record"),
    ],
)
def test_ctrl_c_ends_at_once_whatever_stalls(kind: str, name: str, is_all: bool, handle: str, gcs: Gcs) -> None:
    gate = gcs.on(kind, name, times=None).hold(undone=True)
    job = start(COMMAND if is_all else PATIENT + COMMAND, handle)
    assert gate.reached.wait(60)
    if is_all:
        gcs.on(times=None).hold(undone=True)
    code, err = interrupt(job)
    assert code == 130 and "interrupted" in err and "Traceback" not in err
    assert is_all or list_leftovers(gcs.buckets["bucket"]) == set(), "its lease has to be gone"
    assert read_record(gcs.buckets["bucket"], handle) is None


@pytest.mark.parametrize(
    ("handle", "number"),
    [("s3://bucket/m", signal.SIGINT), ("s3://bucket/m.tar.gz", signal.SIGTERM)],
    ids=["directory", "archive"],
)
def test_ctrl_c_ends_a_source_that_stalls_at_once(handle: str, number: signal.Signals, gcs: Gcs, cache_dir: Path) -> None:
    gcs.buckets["bucket"].put("m/saved_model.pb", b"a graph")
    gcs.buckets["bucket"].put("m.tar.gz", tar_gz())
    gate = gcs.on("get", times=None).hold()
    keys = {"AWS_ENDPOINT_URL": gcs.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    job = start(COMMAND, handle, TFHUB_CACHE_DIR=str(cache_dir), **keys)
    assert gate.reached.wait(60)
    code, _ = interrupt(job, number)
    assert code == (130 if number == signal.SIGINT else 143) and [*cache_dir.iterdir()] == []


@pytest.mark.parametrize(("failing", "other"), [*itertools.permutations(["*/saved_model.pb", "*/variables/*"])])
def test_an_error_in_an_upload_does_not_wait_for_the_others(
    failing: str, other: str, handle: str, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    held = gcs.on("put", other, times=None).hold(undone=True)
    gcs.on("put", failing, times=None).answer(500, after=held)
    code, _, err = run_cli("resolve", handle)
    assert code == 4 and "cannot write the cache" in err and "HTTP 500" in err and held.reached.is_set()


@pytest.mark.parametrize("root", [ROOT, "memory://here"])
def test_a_forked_child_gets_an_error_and_does_not_hang(root: str, handle: str) -> None:
    code = """
        import multiprocessing, os, sys, warnings
        import tfimm_resolver
        from tfimm_resolver import errors
        warnings.simplefilter("ignore")  # newer Pythons warn about a fork in a process with threads

        def work():
            try:
                tfimm_resolver.resolve(sys.argv[1], refresh=True)
            except errors.ResolverError as error:
                print(error, flush=True)
                os._exit(7)

        tfimm_resolver.resolve(sys.argv[1])
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join(60)
        print(child.exitcode)
        child.kill()
    """
    out = run(code, handle, TFHUB_CACHE_DIR=root)
    assert out.splitlines()[-1] == "7" and "was forked from one that had used a bucket" in out and "spawn" in out


def test_a_child_that_was_forked_before_the_first_use_may_use_a_bucket(handle: str, gcs: Gcs) -> None:
    code = """
        import os, sys
        import tfimm_resolver, obstore
        for _ in range(2):
            if (child := os.fork()) == 0:
                print(tfimm_resolver.resolve(sys.argv[1]), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    (path,) = {*run(code, handle).split()}
    assert list_objects_below(gcs.buckets["bucket"], path) == MODEL


def test_a_forked_child_needs_no_bucket_on_a_hit_of_the_local_copy(handle: str) -> None:
    code = """
        import os, sys
        import tfimm_resolver
        path = tfimm_resolver.resolve(sys.argv[1])
        if (child := os.fork()) == 0:
            os._exit(0 if tfimm_resolver.resolve(sys.argv[1]) == path else 1)
        print(os.waitpid(child, 0)[1])
    """
    assert run(code, handle, TFIMM_RESOLVER_LOCAL_COPY="1") == "0"


@pytest.fixture
def read_only_bucket(gcs: Gcs, handle: str) -> Gcs:
    """A bucket that holds the model, and is read-only from now on."""
    resolve(handle)
    gcs.buckets["bucket"].token, gcs.buckets["bucket"].public = "secret", True
    return gcs


def test_a_read_only_bucket_serves_its_models(
    read_only_bucket: Gcs, origin: Origin, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = len(read_only_bucket.find_operations("put"))
    assert list_objects_below(read_only_bucket.buckets["bucket"], resolve(handle)) == MODEL
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    assert files_in(resolve(handle)) == MODEL
    assert len(read_only_bucket.find_operations("put")) == writes and len(origin.requests) == 1


def test_a_read_only_bucket_refuses_a_miss_before_the_download(read_only_bucket: Gcs, origin: Origin) -> None:
    other = origin.put("/other.tar.gz", tar_gz())
    with pytest.raises(CacheError, match=f"cannot write the cache at {ROOT}: .* cannot be written without credentials"):
        resolve(other)
    assert origin.requests == ["/m.tar.gz"]


def test_a_bucket_that_does_not_exist_is_an_error_before_the_download(origin: Origin, handle: str) -> None:
    for root in ("gs://nowhere", "gs://nowhere/cache"):
        code, _, err = run_cli("resolve", handle, TFHUB_CACHE_DIR=root)
        assert code == 4 and f"cannot write the cache at {root}" in err and "Check the bucket's name" in err
    assert origin.requests == []


@pytest.mark.parametrize(
    ("kind", "name", "fault"),
    [
        (kind, name, fault)
        for kind, name in [
            ("get", "*.descriptor.txt"), ("put", f"*{LEASE_SUFFIX}"), ("put", "*/saved_model.pb"), ("list", "*"),
            ("put", "*.descriptor.txt"), ("get", f"*{LEASE_SUFFIX}"), ("delete", f"*{LEASE_SUFFIX}"),
        ]
        for fault in ("503", "lost")
    ],
)  # fmt: skip
def test_one_transient_failure_costs_nothing(kind: str, name: str, fault: str, handle: str, gcs: Gcs, origin: Origin) -> None:
    rule = gcs.on(kind, name)
    rule.answer(503) if fault == "503" else rule.lose()
    assert list_objects_below(gcs.buckets["bucket"], resolve(handle)) == MODEL
    assert rule.seen >= 1 and len(origin.requests) == 1 and list_leftovers(gcs.buckets["bucket"]) == set()


@pytest.mark.parametrize(
    ("kind", "name", "fault"),
    [
        (kind, name, fault)
        for kind, name in [
            ("get", "*.descriptor.txt"), ("put", f"*{LEASE_SUFFIX}"), ("put", "*/saved_model.pb"), ("list", "*"),
            ("put", "*.descriptor.txt"),
        ]
        for fault in ("503", "silence")
        if (name, fault) != ("*/saved_model.pb", "silence")  # not a failure for ten minutes: the connection may be slow
    ],
)  # fmt: skip
def test_a_permanent_failure_is_an_error_in_bounded_time_and_nothing_is_published(
    kind: str, name: str, fault: str, handle: str, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "silence":
        monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.3")
    monkeypatch.setenv(
        "TFIMM_RESOLVER_LOCK_TIMEOUT_S", "1"
    )  # for a lease that is created after its process has stopped waiting
    rule = gcs.on(kind, name, times=None)
    rule.answer(503) if fault == "503" else rule.hold(undone=True)
    started_s = time.monotonic()
    with pytest.raises(CacheError, match="HTTP 503" if fault == "503" else "did not answer in time") as caught:
        resolve(handle)
    assert time.monotonic() - started_s < MAX_S and ROOT in str(caught.value) and caught.value.fix
    assert read_record(gcs.buckets["bucket"], handle) is None
    gcs.forget()
    monkeypatch.delenv("TFIMM_RESOLVER_READ_TIMEOUT_S", raising=False)
    assert list_objects_below(gcs.buckets["bucket"], resolve(handle)) == MODEL


def test_the_cleanup_may_fail(handle: str, gcs: Gcs) -> None:
    bucket = gcs.buckets["bucket"]
    bucket.put(f"cache/{'1' * 40}.{'a' * 64}-00000000/x", b"")
    record = gcs.on("get", f"cache/{'1' * 40}*", times=None).answer(503)
    path = resolve(handle)
    make_older(bucket, hours=25)
    root = gcs.on("list", nth=3, times=None).answer(503)  # the first two compare the model
    assert resolve(handle, refresh=True) == path and list_objects_below(bucket, path) == MODEL
    assert record.seen > 0 and root.seen > 1


def test_an_incomplete_upload_is_not_published(handle: str, gcs: Gcs) -> None:
    gate = gcs.on("put", "*/saved_model.pb").hold()
    job = start("import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1])", handle)
    assert gate.reached.wait(60)
    bucket = gcs.buckets["bucket"]
    wait_until(lambda: len(bucket.files("cache/")) == len(MODEL) + 1)
    bucket.delete(next(f"cache/{name}" for name in bucket.files("cache/") if name.endswith("saved_model.pb")))
    gate.go.set()
    _, err = job.communicate(timeout=60)
    assert job.returncode == 1 and "holds 2 objects instead of the 3 that were uploaded" in err
    assert read_record(bucket, handle) is None


def damage(bucket_files: dict[str, bytes], gcs: Gcs, how: str) -> None:
    """Remove or overwrite the graph in the bucket."""
    (name,) = (name for name in bucket_files if name.endswith("saved_model.pb"))
    if how == "missing":
        gcs.buckets["bucket"].delete(name)
    else:
        gcs.buckets["bucket"].put(name, {"changed": b"b graph", "short": b"a", "empty": b""}[how])


@pytest.mark.parametrize("how", ["missing", "changed", "short", "empty"])
def test_a_copy_of_a_damaged_model_is_refused_and_a_refresh_repairs_both(
    how: str, handle: str, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    resolve(handle)
    damage(gcs.buckets["bucket"].files(), gcs, how)
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    with pytest.raises(IntegrityError, match=r"saved_model\.pb") as caught:
        resolve(handle)
    assert "refresh=True" in caught.value.fix and [*(tmp_path / "here").iterdir()] == [] and len(origin.requests) == 1
    assert files_in(resolve(handle, refresh=True)) == MODEL
    monkeypatch.delenv("TFIMM_RESOLVER_LOCAL_COPY")
    assert list_objects_below(gcs.buckets["bucket"], resolve(handle)) == MODEL


def test_an_unreachable_bucket_is_an_error_at_once_and_offline_before_any_socket_is_opened(
    handle: str, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    resolve(handle)
    before = len(gcs.log)
    with monkeypatch.context() as patch:
        patch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
        with pytest.raises(OfflineError, match=f"{ROOT}.* cannot be reached: TFIMM_RESOLVER_OFFLINE is set") as caught:
            resolve(handle)
        assert "set_model_cache" in caught.value.fix
    with monkeypatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
        with pytest.raises(OfflineError, match="cannot be reached"):
            resolve(handle)
    assert len(gcs.log) == before and len(origin.requests) == 1


def test_a_malformed_record_counts_as_none(handle: str, gcs: Gcs, origin: Origin) -> None:
    path = f"cache/{entry_name_for_key(handle)}.descriptor.txt"
    for number, text in enumerate((b"", b"\xff\x00", b"Module: x\n\n{", b"Module: x\n\n[]"), 1):
        gcs.buckets["bucket"].put(path, text)
        assert list_objects_below(gcs.buckets["bucket"], resolve(handle)) == MODEL and len(origin.requests) == number


def test_a_record_cannot_name_another_prefix(handle: str, gcs: Gcs) -> None:
    first = resolve(handle)
    path, bucket = f"cache/{entry_name_for_key(handle)}.descriptor.txt", gcs.buckets["bucket"]
    bucket.put(path, bucket[path].replace(first.rpartition("/")[2].encode(), b"../elsewhere"))
    assert resolve(handle).startswith(f"{ROOT}/{entry_name_for_key(handle)}")


def test_a_failed_source_leaves_neither_lease_nor_prefix(gcs: Gcs, origin: Origin) -> None:
    handle = origin.put("/broken.tar.gz", tar_gz()[:-10])
    with pytest.raises(FetchError):
        resolve(handle)
    assert gcs.buckets["bucket"].files() == {}
