"""TensorFlow's own gs:// client works on the stand-in, by way of the proxy, and reaches nobody else."""

from __future__ import annotations

import pytest
import requests

from tests.processes import run
from tests.stores.front import Front
from tests.stores.gcs import Gcs

SIZE_BYTES = 3_000_000


def test_google_is_the_store_and_everybody_else_is_refused(gcs: Gcs, front: Front) -> None:
    session = requests.Session()
    session.trust_env = False
    session.proxies, session.verify = {"https": front.url}, str(front.bundle)
    gcs.buckets["bucket"].put("x", b"one")
    assert session.get("https://storage.googleapis.com/bucket/x", timeout=30).content == b"one"
    assert session.get("https://www.googleapis.com/storage/v1/b/bucket/o/x", timeout=30).json()["size"] == "3"
    assert session.post("https://oauth2.googleapis.com/token", timeout=30).json()["access_token"] == gcs.token
    assert front.refused == []
    with pytest.raises(requests.exceptions.ProxyError):
        session.get("https://tfhub.dev/", timeout=30)
    assert front.refused == ["tfhub.dev:443"]
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get("https://storage.googleapis.com/bucket/y", timeout=30)
    assert gcs.asked("*", "y") == []


def test_tensorflow_writes_lists_reads_and_renames(gcs: Gcs, front: Front, gcs_for_tensorflow: dict[str, str]) -> None:
    pytest.importorskip("tensorflow")
    said = run(
        """
        import sys
        import tensorflow as tf

        here, data = "gs://bucket/models", bytes(range(256)) * (int(sys.argv[1]) // 256)
        tf.io.gfile.makedirs(f"{here}/1")
        with tf.io.gfile.GFile(f"{here}/1/größe & co.bin", "wb") as file:
            file.write(data)
        with tf.io.gfile.GFile(f"{here}/1/empty", "wb") as file:
            file.write(b"")
        for number in range(3):
            tf.io.gfile.copy(f"{here}/1/empty", f"{here}/1/part/{number}")
        names = sorted(tf.io.gfile.listdir(f"{here}/1"))
        assert names == ["empty", "größe & co.bin", "part/"], names
        assert len(tf.io.gfile.glob(f"{here}/1/part/*")) == 3
        with tf.io.gfile.GFile(f"{here}/1/größe & co.bin", "rb") as file:
            assert file.read() == data
            file.seek(1000)
            assert file.read(10) == data[1000:1010]
        tf.io.gfile.rename(f"{here}/1", f"{here}/2")
        assert not tf.io.gfile.exists(f"{here}/1") and tf.io.gfile.isdir(f"{here}/2")
        tf.io.gfile.remove(f"{here}/2/empty")
        for place in ("gs://private/x", "gs://nobody/x", "gs://bucket/nothing"):
            try:
                tf.io.gfile.GFile(place, "rb").read()
            except tf.errors.OpError as error:
                print(type(error).__name__)
        """,
        str(SIZE_BYTES),
        **_with_private_bucket(gcs, gcs_for_tensorflow),
    )
    data = bytes(range(256)) * (SIZE_BYTES // 256)
    files = {name: data for name, data in gcs.buckets["bucket"].files("models/2/").items() if not name.endswith("/") and name}
    assert files == {"größe & co.bin": data, "part/0": b"", "part/1": b"", "part/2": b""}
    assert said.split() == ["PermissionDeniedError", "NotFoundError", "NotFoundError"]
    assert gcs.broken == [] and front.refused == []
    assert gcs.asked("unknown") == []


def _with_private_bucket(gcs: Gcs, variables: dict[str, str]) -> dict[str, str]:
    gcs.bucket("private", token="secret").put("x", b"one")
    return variables
