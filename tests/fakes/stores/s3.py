"""A fake of Amazon's S3: moto, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import requests

_TIMEOUT_S = 60
_SERVER_CODE = """
import io, os, sys, threading
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

def exit_with_parent():
    sys.stdin.read()
    os._exit(0)

def serve_one_at_a_time(environ, start_response):
    # moto checks a condition and puts the object in two steps, without a lock
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with turn:
        return moto(environ, start_response)

turn, moto = threading.Lock(), DomainDispatcherApplication(create_backend_app)
threading.Thread(target=exit_with_parent, daemon=True).start()
run_simple("127.0.0.1", 0, serve_one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
"""
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REQUEST_LINE = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d{3})')


class S3:
    """Moto's server on a free port; ``with`` starts and ends it. It enforces conditions, but no credentials."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "moto.log"
        self._start_index = 0
        self.bucket = "bucket"
        self.url = ""

    def __enter__(self) -> S3:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER_CODE], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        until_s = time.monotonic() + _TIMEOUT_S
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

    def reset(self) -> None:
        """Remove all buckets and create an empty one; start an empty log."""
        requests.post(f"{self.url}/moto-api/reset", timeout=_TIMEOUT_S).raise_for_status()
        scope = "testing/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        requests.put(f"{self.url}/{self.bucket}", headers=headers, timeout=_TIMEOUT_S).raise_for_status()
        self._start_index = len(self._list_all_requests())

    def environment(self) -> dict[str, str]:
        """Return the variables that point Amazon's clients, and others that read the same variables, here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def list_requests(self) -> list[tuple[str, str, int]]:
        """Return the requests since the bucket was created: method, path with query, status."""
        return self._list_all_requests()[self._start_index :]

    def _list_all_requests(self) -> list[tuple[str, str, int]]:
        text = _COLOUR.sub("", self._log.read_text(errors="replace"))
        return [(method, path, int(status)) for method, path, status in _REQUEST_LINE.findall(text)]
