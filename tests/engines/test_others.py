"""The recipes of the documentation for other engines: Spark, Dask, gunicorn, Airflow and TensorFlow's own strategies."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.examples import list_examples, run_example
from tests.fakes.origin import Origin
from tests.fakes.processes import wait_until
from tests.fakes.saved_models import make_half_plus_two

HANDLE = "https://tfhub.dev/ada/half_plus_two/1"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a model that computes x / 2 + 2."""
    return make_half_plus_two(tmp_path_factory.mktemp("model"))


@pytest.fixture
def mirror(origin: Origin, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """A mirror that has the model, and is asked by this process and all that it starts."""
    origin.put("/tfhub.dev/ada/half_plus_two/1?tf-hub-format=compressed", archive)
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url)
    return origin


def get_recipe(how: str) -> str:
    """Return the only recipe that is run in this way."""
    (block,) = list_examples(how)
    return block.text


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_spark_gives_each_row_the_result_of_the_model(archive: bytes, tmp_path: Path) -> None:
    (block,) = list_examples("with Spark")
    environment = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    assert ast.literal_eval(run_example(block, archive, tmp_path, **environment)) == [2.0, 2.5, 3.0, 3.5]


def test_dask_gives_all_workers_of_a_host_one_copy_of_the_model(archive: bytes, tmp_path: Path) -> None:
    (block,) = list_examples("with Dask")
    run_example(block, archive, tmp_path)


def test_gunicorn_fetches_the_model_before_it_starts_workers(mirror: Origin, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(get_recipe("with gunicorn"))
    (tmp_path / "app.py").write_text("def app(environ, start):\n    start('200 OK', [])\n    return [b'']\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "app:app"]
    log = tmp_path / "log"
    with log.open("w") as file, subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file) as server:
        try:
            wait_until(lambda: log.read_text().count("the model is in") == 2 or server.poll() is not None)
        finally:
            server.terminate()
    assert log.read_text().count(f"the model is in {tmp_path / 'cache'}") == 2, log.read_text()
    assert len(mirror.requests) == 1


def test_the_function_of_an_airflow_task_can_be_sent_to_a_worker_and_run(mirror: Origin) -> None:
    names: dict[str, object] = {}
    exec(get_recipe("as a function"), names)
    predict = names["predict"]
    assert callable(predict) and predict(HANDLE, [1.0, 2.0]) == [2.5, 3.0]


def test_workers_of_a_strategy_resolve_before_they_meet(mirror: Origin, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(get_recipe("in two processes"))
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                [sys.executable, "worker.py"],
                cwd=tmp_path,
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        printed = [worker.communicate(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [out.strip().splitlines()[-1:] for out, _ in printed] == [["6.0"], ["6.0"]], printed
    assert len(mirror.requests) == 1
