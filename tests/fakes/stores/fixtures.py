"""Fixtures of object stores; each test starts with an empty bucket. The root conftest registers them for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.s3 import S3
from tfimm_resolver.cache import bucket_lease


@pytest.fixture
def patient_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases in this process that no test sees renewed by chance, and that are removed even if the machine is busy."""
    monkeypatch.setattr(bucket_lease, "_TTL_S", 600.0)
    monkeypatch.setattr(bucket_lease, "_JOIN_TIMEOUT_S", 30.0)


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch, patient_leases: None) -> Iterator[Gcs]:
    """Google Cloud Storage with an empty bucket named "bucket" that needs no credentials; STORAGE_EMULATOR_HOST is set."""
    with Gcs() as store:
        store.bucket()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
        yield store


@pytest.fixture
def front(gcs: Gcs, tmp_path: Path) -> Iterator[Front]:
    """The same store behind Google's own host names: a proxy that terminates TLS."""
    (tmp_path / "front").mkdir()
    with Front(gcs, tmp_path / "front") as proxy:
        yield proxy


@pytest.fixture
def gcs_for_tensorflow(front: Front) -> dict[str, str]:
    """Variables by which TensorFlow's own gs:// client, in another process, reads and writes that store."""
    return front.environment()


@pytest.fixture(scope="session")
def _moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    with S3(tmp_path_factory.mktemp("moto")) as store:
        yield store


@pytest.fixture
def s3(_moto: S3, monkeypatch: pytest.MonkeyPatch, patient_leases: None) -> S3:
    """S3 with an empty bucket named "bucket"; AWS_ENDPOINT_URL and credentials are set."""
    _moto.reset()
    for variable, value in _moto.environment().items():
        monkeypatch.setenv(variable, value)
    return _moto
