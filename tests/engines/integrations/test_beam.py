"""Tests of ``integrations.beam``: pipelines with several worker processes, and a worker pool without our environment."""

from __future__ import annotations

import gc
import json
import os
import pickle
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.engines.beam_pipeline import Job
from tests.fakes.origin import Origin
from tests.fakes.pages import REPOSITORY
from tests.fakes.processes import wait_until
from tests.fakes.saved_models import make_half_plus_two
from tfimm_resolver.errors import HandleError, LoadError
from tfimm_resolver.integrations.beam import SavedModelHandler

MULTI_PROCESSING = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
ROWS = 40


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a model that computes x / 2 + 2."""
    return make_half_plus_two(tmp_path_factory.mktemp("model"))


@pytest.fixture
def handle(origin: Origin, archive: bytes) -> str:
    """The handle of that model."""
    return origin.put("/half_plus_two.tar.gz", archive)


def run_pipeline(job: Job) -> dict[int, list[tuple[float, float, str]]]:
    """Run a pipeline in a process of its own; return the rows of each worker, by its process id."""
    Path(job.folder).mkdir()
    command = [sys.executable, "-m", "tests.engines.beam_pipeline", json.dumps(asdict(job))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    rows = {}
    for path in Path(job.folder).iterdir():
        rows[int(path.stem)] = [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    return rows


def check_rows(rows: dict[int, list[tuple[float, float, str]]], handle: str, slope: float = 0.5, offset: float = 2.0) -> None:
    """Check that each row was given to the model once, and that the values are right."""
    found = sorted(row for some in rows.values() for row in some)
    assert found == [(x, slope * x + offset, handle) for x in map(float, range(ROWS))]


def test_two_processes_of_the_direct_runner_share_one_download(handle: str, origin: Origin, tmp_path: Path) -> None:
    rows = run_pipeline(Job(handle, MULTI_PROCESSING, str(tmp_path / "rows"), ROWS, workers=2))
    check_rows(rows, handle)
    assert len(rows) == 2 and all(rows.values())
    assert len(origin.requests) == 1


@pytest.fixture
def worker_pool(tmp_path: Path) -> Iterator[str]:
    """The address of a worker pool that was started with an empty environment, in a directory without a models file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "pool").mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    settings = [f"PATH={path}", f"TFHUB_CACHE_DIR={tmp_path / 'pool' / 'cache'}", f"PYTHONPATH={REPOSITORY}"]
    command = ["env", "-i", *settings, sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    with (tmp_path / "pool.log").open("w") as log:
        pool = subprocess.Popen([*command, f"--service_port={port}"], cwd=tmp_path / "pool", stdout=log, stderr=log)
        try:
            wait_until(lambda: "Started worker pool" in (tmp_path / "pool.log").read_text())
            yield f"localhost:{port}"
        finally:
            pool.send_signal(2)  # it ends its workers
            pool.wait(60)


def test_a_worker_pool_without_our_environment_uses_its_own_cache_and_the_models_file_of_the_driver(
    handle: str, origin: Origin, worker_pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.toml").write_text(f'[models.half]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(tmp_path / "models.toml"))
    job = Job("half", ["--direct_num_workers=2"], str(tmp_path / "rows"), ROWS, workers=2, pool=worker_pool)
    rows = run_pipeline(job)
    check_rows(rows, "half")
    assert len(rows) == 2 and all(rows.values())
    assert Counter(origin.requests) == {"/half_plus_two.tar.gz": 1}
    assert list((tmp_path / "pool" / "cache").glob("*/saved_model.pb")) and not (tmp_path / "cache").exists()


def test_a_side_input_replaces_the_model(handle: str, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "newer").mkdir()
    newer = origin.put("/newer.tar.gz", make_half_plus_two(tmp_path / "newer", 3.0, 1.0))
    rows = run_pipeline(Job(handle, ["--runner=DirectRunner"], str(tmp_path / "rows"), ROWS, refresh=newer))
    check_rows(rows, newer, 3.0, 1.0)
    assert origin.requests == ["/newer.tar.gz"]


def test_a_large_model_is_loaded_once_for_all_processes(handle: str, origin: Origin, tmp_path: Path) -> None:
    job = Job(handle, MULTI_PROCESSING, str(tmp_path / "rows"), ROWS, workers=2, handler={"large_model": True})
    rows = run_pipeline(job)
    check_rows(rows, handle)
    assert len(rows) == 2 and len(origin.requests) == 1


@pytest.mark.parametrize("signature", [None, "serving_default"])
def test_the_values_are_those_of_the_model(signature: str | None, handle: str) -> None:
    handler = SavedModelHandler(handle, signature)
    batch = [np.float32(1), np.float32(2)] if signature is None else [{"x": 1.0}, {"x": 2.0}]
    results = [*handler.run_inference(batch, handler.load_model())]
    assert [(one.example, one.inference, one.model_id) for one in results] == [
        (batch[0], {"y": 2.5}, handle),
        (batch[1], {"y": 3.0}, handle),
    ]


def test_an_example_of_one_array_is_the_only_input_of_a_signature(handle: str) -> None:
    handler = SavedModelHandler(handle, "serving_default")
    loaded = handler.load_model()
    gc.collect()
    assert [one.inference for one in handler.run_inference([1.0, 2.0], loaded)] == [{"y": 2.5}, {"y": 3.0}]


def test_a_signature_of_several_inputs_gets_them_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.string, "b")])
        def double(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"a": 2 * a, "b": b + b}

    model = Twice()
    tf.saved_model.save(model, str(tmp_path / "twice"), signatures={"double": model.double})
    handler = SavedModelHandler(tmp_path / "twice")  # its only signature
    loaded = handler.load_model()
    batch = [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]
    assert [one.inference for one in handler.run_inference(batch, loaded)] == [{"a": 2.0, "b": b"xx"}, {"a": 4.0, "b": b"yy"}]
    assert handler.run_inference([], loaded) == [] and handler.get_num_bytes([np.float32(1), {"a": np.zeros(3)}]) == 28
    with pytest.raises(LoadError, match="the signature has the inputs a, b, and an example is one array"):
        handler.run_inference([1.0], loaded)


def test_a_signature_that_the_model_does_not_have_is_reported_with_those_that_it_has(handle: str) -> None:
    with pytest.raises(LoadError, match="has no signature predict; its signatures: serving_default"):
        SavedModelHandler(handle, "predict").load_model()


def test_a_handle_that_cannot_be_parsed_is_reported_where_the_pipeline_is_built(handle: str) -> None:
    with pytest.raises(HandleError):
        SavedModelHandler("https://")
    with pytest.raises(HandleError):
        SavedModelHandler(handle).update_model_path("https://")


def test_a_pickled_handler_names_its_class(handle: str) -> None:
    data = pickle.dumps(SavedModelHandler(handle))
    assert b"tfimm_resolver.integrations.beam" in data and len(data) < 2000
    assert pickle.loads(data).load_model()([1.0], {}) == [{"y": 2.5}]


@pytest.mark.filterwarnings("ignore")  # what Beam and tensorflow_hub import
def test_the_handler_of_beam_still_cannot_load_a_saved_model(handle: str, tmp_path: Path) -> None:
    """Notice when it can: the documentation says that it fails under Keras 3 (beam#30288, beam#30616)."""
    from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy

    with pytest.raises(ValueError, match=r"not supported by .*Keras 3|File format not supported"):
        TFModelHandlerNumpy(handle).load_model()
