"""Models that Colab mounts on request, from a loopback server in place of Colab's."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults.origin import Host, Response, answer_with
from tests.fakes.kaggle import Kaggle
from tests.fakes.named_models import put_model
from tfimm_resolver import resolve

PATH = "google/nnlm/tensorFlow2/en-dim50"
SUPPORTED, MOUNT = "/kagglehub/models/is_supported", "/kagglehub/models/mount"


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """Kaggle on loopback, with one version."""
    with Kaggle() as server:
        monkeypatch.setenv("TFIMM_KAGGLE_URL", server.url)
        server.publish(PATH, 3, tar_gz())
        yield server


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """The host that mounts models, which offers one."""
    with Host() as host:
        monkeypatch.setenv("TBE_RUNTIME_ADDR", f"127.0.0.1:{host.port}")
        monkeypatch.setenv("COLAB_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
        monkeypatch.setenv("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "30")
        monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "30")
        monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        host.put(SUPPORTED, b"")
        host.put(MOUNT, b'{"slug": "nnlm/en-dim50/3"}')
        yield host


@pytest.fixture
def mounted(tmp_path: Path) -> str:
    """The directory at which the model is mounted."""
    return str(put_model(tmp_path / "input/nnlm/en-dim50/3"))


def test_a_mounted_model_is_used_in_place(
    colab: Host, mounted: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789")
    assert resolve(f"kaggle://{PATH}/3") == mounted
    assert [(request.method, request.path) for request in colab.requests] == [("POST", SUPPORTED), ("POST", MOUNT)]
    expected = {"owner": "google", "model": "nnlm", "framework": "tensorFlow2", "variation": "en-dim50", "version": 3}
    assert all(json.loads(request.posted) == expected for request in colab.requests)
    assert {request.headers["authorization"] for request in colab.requests} == {"Bearer KGAT_0123456789"}
    assert kaggle.api.requests == [] and not cache_dir.exists()


def test_without_a_version_the_newest_is_mounted(colab: Host, mounted: str, kaggle: Kaggle) -> None:
    assert resolve(f"kaggle://{PATH}") == mounted and kaggle.list_requests() == [f"{PATH}/get"]


def test_a_mount_that_takes_a_moment_is_awaited(colab: Host, tmp_path: Path, kaggle: Kaggle) -> None:
    timer = threading.Timer(0.3, lambda: os.renames(put_model(tmp_path / "made"), tmp_path / "input/nnlm/en-dim50/3"))

    def start(_: Response) -> None:
        timer.start()

    colab.put(MOUNT, b'{"slug": "nnlm/en-dim50/3"}', start)
    try:
        assert resolve(f"kaggle://{PATH}/3") == f"{tmp_path}/input/nnlm/en-dim50/3"
    finally:
        timer.join()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        (SUPPORTED, 404, b""),
        (SUPPORTED, 500, b"oh"),
        (MOUNT, 404, b""),
        (MOUNT, 403, b"no"),
        (MOUNT, 200, b""),
        (MOUNT, 200, b"<html>"),
        (MOUNT, 200, b"[]"),
        (MOUNT, 200, b'{"slug": 7}'),
        (MOUNT, 200, b'{"slug": "../outside"}'),
        (MOUNT, 200, b'{"slug": "/etc"}'),
        (MOUNT, 200, b'{"slug": ""}'),
    ],
)
def test_whatever_else_colab_answers_the_model_is_downloaded(
    path: str, status: int, body: bytes, colab: Host, mounted: str, kaggle: Kaggle, cache_dir: Path, tmp_path: Path
) -> None:
    put_model(tmp_path / "outside")
    colab.put(path, b"", answer_with(status, body))
    found = resolve(f"kaggle://{PATH}/3")
    assert found.startswith(str(cache_dir)) and files_in(found) == MODEL


def test_a_model_that_is_not_mounted_in_time_is_downloaded(
    colab: Host, kaggle: Kaggle, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "0.2")
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.5")
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "9")  # Kaggle itself may need longer, too
    assert resolve(f"kaggle://{PATH}/3").startswith(str(cache_dir))
    assert "Colab did not mount" in caplog.text


def test_colab_is_not_asked_where_that_is_turned_off_or_a_hash_is_required(
    colab: Host, mounted: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve(f"kaggle://{PATH}/3", sha256=hashlib.sha256(tar_gz()).hexdigest()) != mounted
    monkeypatch.setenv("DISABLE_COLAB_CACHE", "True")
    assert resolve(f"kaggle://{PATH}/3") != mounted
    monkeypatch.delenv("DISABLE_COLAB_CACHE")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve(f"kaggle://{PATH}/3") != mounted, "offline it comes from the cache"
    assert colab.requests == []


def test_a_host_that_is_not_there_does_not_matter(kaggle: Kaggle, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBE_RUNTIME_ADDR", "127.0.0.1:1")
    assert resolve(f"kaggle://{PATH}/3").startswith(str(cache_dir))
