"""TensorFlow's own gs:// client works with the fake store through the proxy, and reaches no other host."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fakes.processes import run
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs

SIZE_BYTES = 3_000_000


def test_google_s_hosts_are_the_store_and_others_are_rejected(gcs: Gcs, front: Front) -> None:
    session = requests.Session()
    session.trust_env = False
    session.proxies, session.verify = {"https": front.url}, str(front.bundle)
    gcs.buckets["bucket"].put("x", b"one")
    assert session.get("https://storage.googleapis.com/bucket/x", timeout=30).content == b"one"
    assert session.get("https://www.googleapis.com/storage/v1/b/bucket/o/x", timeout=30).json()["size"] == "3"
    assert session.post("https://oauth2.googleapis.com/token", timeout=30).json()["access_token"] == gcs.token
    assert front.rejected_hosts == []
    with pytest.raises(requests.exceptions.ProxyError):
        session.get("https://tfhub.dev/", timeout=30)
    assert front.rejected_hosts == ["tfhub.dev:443"]
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get("https://storage.googleapis.com/bucket/y", timeout=30)
    assert gcs.find_operations("*", "y") == []


def test_the_server_process_serves_until_its_stdin_is_closed() -> None:
    command = [sys.executable, "-m", "tests.fakes.stores", "--latency-s", "0.1", "--bucket", "models"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        output, began_s = json.loads(process.stdout.readline()), time.monotonic()
        assert requests.put(f"{output['url']}/models/x", b"one", timeout=30).status_code == 200
        assert time.monotonic() - began_s >= 0.1
        proxied = {"proxies": {"https": output["tensorflow"]["https_proxy"]}, "verify": output["tensorflow"]["CURL_CA_BUNDLE"]}
        assert requests.get("https://storage.googleapis.com/models/x", timeout=30, **proxied).content == b"one"
        process.stdin.close()
        assert process.wait(30) == 0


def test_the_server_process_reports_its_operations_and_its_content() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.stores"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def send_command(*words: str) -> Any:
            assert process.stdin and process.stdout
            process.stdin.write(" ".join(words) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        assert process.stdout
        output = json.loads(process.stdout.readline())
        url, proxies = output["url"], {"https": output["tensorflow"]["https_proxy"]}
        for name in ("m/a/x", "m/y", "n"):
            assert requests.put(f"{url}/bucket/{name}", b"one", timeout=30).status_code == 200
        sha256 = hashlib.sha256(b"one").hexdigest()
        assert send_command("files", "m/") == {"a/x": sha256, "y": sha256}
        send_command("wait", "0.1", "0.2")
        began_s = time.monotonic()
        assert requests.get(f"{url}/bucket/n", timeout=30).content == b"one"
        assert time.monotonic() - began_s >= 0.1
        began_s, path = time.monotonic(), "https://storage.googleapis.com/bucket/n"
        assert requests.get(path, proxies=proxies, verify=output["tensorflow"]["CURL_CA_BUNDLE"], timeout=30).content == b"one"
        assert time.monotonic() - began_s >= 0.3
        assert send_command("count") == {"put": 3, "get": 2} and 0 < send_command("busy") < 60
        send_command("empty")
        assert send_command("files", "m/") == send_command("count") == {}
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.tensorflow
def test_tensorflow_writes_lists_reads_renames_and_shows_credentials(
    gcs: Gcs, front: Front, gcs_for_tensorflow: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    gcs.bucket("private", token=gcs.token).put("x", b"one")
    gcs.bucket("foreign", token="another user's").put("x", b"two")
    user = tmp_path / "user.json"
    fields = ("client_id", "client_secret", "refresh_token")
    user.write_text(json.dumps({"type": "authorized_user", **dict.fromkeys(fields, "ada")}))
    output = run(
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
        print(tf.io.gfile.GFile("gs://private/x", "rb").read().decode())
        for path in ("gs://foreign/x", "gs://missing/x", "gs://bucket/nothing"):
            try:
                tf.io.gfile.GFile(path, "rb").read()
            except tf.errors.OpError as error:
                print(type(error).__name__)
        """,
        str(SIZE_BYTES),
        **gcs_for_tensorflow,
        GOOGLE_APPLICATION_CREDENTIALS=str(user),
    )
    data = bytes(range(256)) * (SIZE_BYTES // 256)
    files = {name: data for name, data in gcs.buckets["bucket"].files("models/2/").items() if not name.endswith("/") and name}
    assert files == {"größe & co.bin": data, "part/0": b"", "part/1": b"", "part/2": b""}
    assert output.split() == ["one", "PermissionDeniedError", "NotFoundError", "NotFoundError"]
    assert len(gcs.find_operations("token")) == 1 and gcs.find_operations("get", "x")[0].authorization == f"Bearer {gcs.token}"
    assert gcs.broken == [] and front.rejected_hosts == []
    assert gcs.find_operations("unknown") == []
