"""Models in a bucket: TensorFlow reads them there with its own gs:// client; nothing is listed or cached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tests.tensorflow.cluster import workers
from tfimm_resolver import resolve
from tfimm_resolver.errors import ResolverError

pytest.importorskip("tensorflow")

HANDLE = "gs://bucket/models/line/1"


@pytest.fixture
def uploaded(gcs: Gcs, line: Path) -> str:
    """The handle of a model that was uploaded to the bucket, without folder objects."""
    for name, data in files_in(line).items():
        gcs.buckets["bucket"].put(f"models/line/1/{name}", data)
    return HANDLE


def list_read_files(gcs: Gcs) -> set[str]:
    """Return the names of the model's files that were read."""
    return {
        operation.name.removeprefix("models/line/1/")
        for operation in gcs.find_operations("get")
        if operation.status in (200, 206)
    }


def test_an_uncompressed_model_is_read_in_its_bucket(
    uploaded: str,
    line: Path,
    origin: Origin,
    gcs: Gcs,
    gcs_for_tensorflow: dict[str, str],
    cache_dir: Path,
    server: ForkServer,
) -> None:
    origin.put("/line/1?tf-hub-format=uncompressed", f"{uploaded}\n".encode(), status=303)
    output = server.run(
        """
        import sys
        import tensorflow as tf
        import tensorflow_hub as hub
        import tfimm_resolver

        handle = sys.argv[1]
        x = tf.constant([1.0, 2.0])
        print(tfimm_resolver.resolve(handle), hub.resolve(handle))
        for load in (tfimm_resolver.load, hub.load, hub.KerasLayer):
            print(load(handle)(x).numpy().tolist())
        """,
        f"{origin.url}/line/1",
        TFHUB_MODEL_LOAD_FORMAT="UNCOMPRESSED",
        **gcs_for_tensorflow,
    )
    assert output.splitlines() == [f"{uploaded} {uploaded}", *["[3.0, 5.0]"] * 3]
    assert set(origin.requests) == {"/line/1?tf-hub-format=uncompressed"} and len(origin.requests) == 5
    assert list_read_files(gcs) >= {*files_in(line)} - {"fingerprint.pb"}
    assert not cache_dir.exists() and gcs.broken == []


def test_a_directory_is_loaded_in_place_and_resolve_sends_no_request(
    uploaded: str,
    gcs: Gcs,
    front: Front,
    gcs_for_tensorflow: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    cache_dir: Path,
    server: ForkServer,
) -> None:
    for variable, value in gcs_for_tensorflow.items():
        monkeypatch.setenv(variable, value)
    assert resolve(uploaded) == uploaded
    assert gcs.log == [] and front.rejected_hosts == []
    output = server.run(
        "import sys, tfimm_resolver; print(tfimm_resolver.load(sys.argv[1])([1.0, 2.0]).numpy().tolist())",
        uploaded,
    )
    assert output == "[3.0, 5.0]" and "saved_model.pb" in list_read_files(gcs)
    assert not cache_dir.exists()


def test_a_directory_that_cannot_be_read_is_not_reported_as_empty(
    gcs: Gcs, gcs_for_tensorflow: dict[str, str], server: ForkServer
) -> None:
    gcs.bucket("private", token="secret").put("line/1/saved_model.pb", b"a graph")
    code = """
        import sys, tfimm_resolver
        for handle in sys.argv[1:]:
            try:
                tfimm_resolver.load(handle)
            except tfimm_resolver.errors.LoadError as error:
                print(type(error).__name__, error.text.splitlines()[0])
        """
    output = server.run(code, "gs://private/line/1", "gs://bucket/line/1", **gcs_for_tensorflow).splitlines()
    assert output[0].startswith("LoadError TensorFlow cannot read gs://private/line/1: PermissionDeniedError: ")
    assert output[1].startswith("NotASavedModelError gs://bucket/line/1 is not a SavedModel")
    unreachable = {**gcs_for_tensorflow, "https_proxy": "http://127.0.0.1:1"}
    # In a new process: TensorFlow's client reads how often it retries when it is imported.
    output = run(code, "gs://bucket/line/1", **unreachable).splitlines()
    assert output[0].startswith("LoadError TensorFlow cannot read gs://bucket/line/1: ")


def test_a_model_in_a_root_in_a_bucket_is_read_there_by_tensorflow_and_by_a_worker(
    gcs: Gcs,
    gcs_for_tensorflow: dict[str, str],
    line: Path,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: ForkServer,
) -> None:
    handle = origin.put("/line.tar.gz", tar_gz(files_in(line)))
    for variable, value in gcs_for_tensorflow.items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "unseen").mkdir()
    with workers(tmp_path / "unseen", server=server) as cluster:
        output = cluster.run(
            """
            import gc, weakref

            tfimm_resolver.set_dir("gs://bucket/cache")
            path = tfimm_resolver.resolve(arguments[0])
            print(path)
            gc.disable()
            here = load(path)
            here.itself = here  # a cycle, so that the model itself waits for garbage collection
            print(here(tf.constant([1.0, 2.0])).numpy().tolist())
            connect_worker()
            seen = weakref.ref(here)
            del here
            with tf.device("/job:worker"):
                model = load(path)
                print(load_options(path).experimental_io_device, model(tf.constant([1.0, 2.0])).numpy().tolist())
                print(model.slope.device, seen() is None)
            """,
            arguments=[handle],
        )
    path, here, there, device = output.splitlines()
    assert path.startswith("gs://bucket/cache/") and here == "[3.0, 5.0]" and there == "None [3.0, 5.0]"
    assert device.startswith("/job:worker") and device.endswith(" True"), "a model collected later would fail on the worker"
    assert origin.requests == ["/line.tar.gz"]
    assert {*gcs.buckets["bucket"].files(path.removeprefix("gs://bucket/") + "/")} >= {"saved_model.pb"}


def test_an_archive_is_fetched_from_a_public_bucket(gcs: Gcs, cache_dir: Path) -> None:
    gcs.bucket("public", token="secret", public=True).put("models/line 1.tar.gz", tar_gz())
    path = resolve("gs://public/models/line 1.tar.gz")
    assert Path(path).parent == cache_dir and {*files_in(path)} >= {"saved_model.pb"}
    before = len(gcs.log)
    assert resolve("gs://public/models/line 1.tar.gz") == path and len(gcs.log) == before


def test_an_archive_is_fetched_from_google_where_no_emulator_is_named(
    gcs: Gcs, front: Front, gcs_for_tensorflow: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gcs.buckets["bucket"].put("line.tar.gz", tar_gz())
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    for variable, value in gcs_for_tensorflow.items():
        monkeypatch.setenv(variable, value)
    assert {*files_in(resolve("gs://bucket/line.tar.gz"))} >= {"saved_model.pb"}
    assert {operation.headers["host"] for operation in gcs.log} == {"storage.googleapis.com"} and front.rejected_hosts == []


@pytest.mark.parametrize("bucket", ["private", "missing"])
def test_an_archive_that_cannot_be_read_is_an_error(bucket: str, gcs: Gcs, cache_dir: Path) -> None:
    gcs.bucket("private", token="secret").put("line.tar.gz", tar_gz())
    with pytest.raises(ResolverError, match=f"{bucket}/line"):
        resolve(f"gs://{bucket}/line.tar.gz")
    assert not cache_dir.exists() or files_in(cache_dir) == {}
