"""Amazon's S3, played by moto in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import requests

_MOST_S = 60
_SERVE = """
import io, os, sys, threading
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

def end_with_the_parent():
    sys.stdin.read()
    os._exit(0)

def one_after_the_other(environ, start_response):
    # moto looks at a condition and puts the object in two steps, and has no lock of its own
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with turn:
        return moto(environ, start_response)

turn, moto = threading.Lock(), DomainDispatcherApplication(create_backend_app)
threading.Thread(target=end_with_the_parent, daemon=True).start()
run_simple("127.0.0.1", 0, one_after_the_other, threaded=True, request_handler=MotoRequestHandler)
"""
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ASKED = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d{3})')


class S3:
    """Moto's server on a free port; ``with`` starts and ends it. It enforces conditions, but no credentials."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "moto.log"
        self._first = 0
        self.bucket = "bucket"
        self.url = ""

    def __enter__(self) -> S3:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=log, stderr=log)
        until_s = time.monotonic() + _MOST_S
        while not (running := _RUNNING.search(self._log.read_text())):
            if self._process.poll() is not None or time.monotonic() > until_s:
                self.__exit__()
                raise RuntimeError(f"moto did not start: {self._log.read_text()}")
            time.sleep(0.02)
        self.url = running[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def empty(self) -> None:
        """Forget all buckets and make one, empty; begin an empty log."""
        requests.post(f"{self.url}/moto-api/reset", timeout=_MOST_S).raise_for_status()
        scope = "testing/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        requests.put(f"{self.url}/{self.bucket}", headers=headers, timeout=_MOST_S).raise_for_status()
        self._first = len(self._all())

    def environment(self) -> dict[str, str]:
        """What points Amazon's clients, and those that read the same variables, here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def asked(self) -> list[tuple[str, str, int]]:
        """What was asked since the bucket was made: method, path with its query, status."""
        return self._all()[self._first :]

    def _all(self) -> list[tuple[str, str, int]]:
        text = _COLOUR.sub("", self._log.read_text(errors="replace"))
        return [(method, path, int(status)) for method, path, status in _ASKED.findall(text)]
