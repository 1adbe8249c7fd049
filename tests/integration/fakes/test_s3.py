"""Moto's S3 does what the tests of buckets rely on: conditional puts are safe under races, and nothing is left behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fakes.stores.s3 import S3

obstore = pytest.importorskip("obstore")
pytest.importorskip("moto.server", reason="pip install 'moto[server]'")

from obstore import exceptions  # noqa: E402
from obstore.store import S3Store  # noqa: E402

THREADS, RACES = 16, 5
HTTP: Any = {"allow_http": True}


def make_client(**options: Any) -> S3Store:
    """Return a client that takes endpoint and credentials from the environment, and does not retry."""
    return S3Store("bucket", client_options=HTTP, retry_config={"max_retries": 0}, **options)


def make_condition(result: Any) -> Any:
    """Return the condition for the next put from a put's result: obstore rejects the None values that it returns itself."""
    return {field: value for field, value in result.items() if value is not None}


def test_an_object_exists_until_it_is_deleted(s3: S3) -> None:
    store, name = make_client(), "models/1/größe & co.txt"
    obstore.put(store, name, b"one")
    assert obstore.get(store, name).bytes() == b"one"
    assert [entry["path"] for entry in obstore.list(store).collect()] == [name]
    obstore.delete(store, name)
    obstore.delete(store, name)
    with pytest.raises(FileNotFoundError):
        obstore.get(store, name)
    assert [(method, status) for method, _, status in s3.list_requests()] == [
        ("PUT", 200), ("GET", 200), ("GET", 200), ("POST", 200), ("POST", 200), ("GET", 404)
    ]  # fmt: skip


@pytest.mark.parametrize("is_there", [False, True], ids=["create", "update"])
def test_of_many_conditional_writes_at_once_one_wins(is_there: bool, s3: S3) -> None:
    store = make_client()

    def claim(number: int, name: str, mode: Any) -> bool:
        try:
            obstore.put(store, name, b"%d" % number, mode=mode)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        return True

    with ThreadPoolExecutor(THREADS) as threads:
        for race in range(RACES):
            mode = make_condition(obstore.put(store, f"claim {race}", b"before")) if is_there else "create"
            claims = [threads.submit(claim, number, f"claim {race}", mode) for number in range(THREADS)]
            (winner,) = [number for number, claim in enumerate(claims) if claim.result()]
            assert obstore.get(store, f"claim {race}").bytes() == b"%d" % winner


def test_a_stale_condition_is_rejected(s3: S3) -> None:
    store = make_client()
    old = make_condition(obstore.put(store, "x", b"old"))
    obstore.put(store, "x", b"new", mode=old)
    with pytest.raises(exceptions.PreconditionError, match="412"):
        obstore.put(store, "x", b"newer", mode=old)
    with pytest.raises(exceptions.AlreadyExistsError):
        obstore.put(store, "x", b"newer", mode="create")
    with pytest.raises(exceptions.PreconditionError):
        obstore.get(store, "x", options={"if_match": old["e_tag"]})
    assert obstore.get(store, "x").bytes() == b"new"


def test_a_multipart_upload_is_complete(s3: S3) -> None:
    data, store = random.Random(3).randbytes(11_000_003), make_client()
    obstore.put(store, "big", data)
    assert obstore.get(store, "big").bytes() == data
    assert obstore.get_range(store, "big", start=10_000_000, length=7) == data[10_000_000:10_000_007]


def test_more_than_a_thousand_names_are_listed(s3: S3) -> None:
    store = make_client()
    expected = [f"a/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: obstore.put(store, name, b""), expected))
    before = len(s3.list_requests())
    assert [entry["path"] for entry in obstore.list(store).collect()] == expected
    assert len(s3.list_requests()) - before == 2


@pytest.mark.parametrize("test", ["one", "another"])
def test_each_test_starts_with_an_empty_bucket(test: str, s3: S3) -> None:
    assert obstore.list(make_client()).collect() == [] and s3.list_requests() == [("GET", "/bucket?list-type=2", 200)]
    obstore.put(make_client(), test, b"")


def test_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from tests.fakes.stores.s3 import S3; store = S3(pathlib.Path(sys.argv[1])); "
        "store.__enter__(); "
        "print(store.url, flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, env=os.environ, check=False
    )
    url, until_s = ran.stdout.strip(), time.monotonic() + 30
    assert url.startswith("http://127.0.0.1:")
    with pytest.raises(requests.ConnectionError):
        while time.monotonic() < until_s:
            requests.get(f"{url}/moto-api/data.json", timeout=30)
            time.sleep(0.02)
