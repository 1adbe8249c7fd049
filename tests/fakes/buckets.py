"""Helpers for tests with buckets: fill them, inspect them, and age their objects."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import timedelta

import botocore.session

from tests.fakes.stores.objects import Bucket
from tests.fakes.stores.s3 import S3
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record

ROOT = "gs://bucket/cache"
TIMEOUT_S = 60


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, for ``TIMEOUT_S`` at most."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "the condition does not come true"
        time.sleep(0.01)


def list_objects_below(bucket: Bucket, url: str) -> dict[str, bytes]:
    """Return the contents of every object below a ``gs://`` URL, by its name relative to that."""
    return bucket.files(url.partition(f"{bucket.name}/")[2] + "/")


def read_record(bucket: Bucket, handle: str) -> Record | None:
    """Return the record of a handle in the root, if there is one that lists files."""
    name = entry_name_for_key(handle)
    texts = bucket.files(f"cache/{name}{DESCRIPTOR_SUFFIX}")
    found = Record.parse(texts[""].decode(), name) if texts else None
    return found if found and found.files is not None else None


def list_leftovers(bucket: Bucket) -> set[str]:
    """Return the names of objects at the root's top level that are neither records nor the marker of a collection."""
    names = [name for name in bucket.files("cache/") if "/" not in name]
    return {name for name in names if not name.endswith((DESCRIPTOR_SUFFIX, "tfimm_resolver.tidied"))}


def list_prefixes(bucket: Bucket) -> set[str]:
    """Return the prefixes at the root's top level."""
    return {name.partition("/")[0] for name in bucket.files("cache/") if "/" in name}


def make_older(bucket: Bucket, *, hours: float, prefix: str = "") -> None:
    """Move the times of all objects below a prefix back by so many hours."""
    for name in bucket.files(prefix):
        blob = bucket.get(prefix + name)
        bucket._blobs[blob.name] = dataclasses.replace(blob, updated=blob.updated - timedelta(hours=hours))


def fill_s3(files: dict[str, bytes]) -> None:
    """Put objects into the S3 bucket, also under names that obstore would reject."""
    client = botocore.session.Session().create_client("s3")
    for name, data in files.items():
        client.put_object(Bucket="bucket", Key=name, Body=data)


def list_requested_paths(s3: S3, method: str) -> list[str]:
    """Return the paths, without queries, that were requested from S3 with a method since the bucket was created."""
    return [path.partition("?")[0] for request_method, path, _ in s3.list_requests() if request_method == method]
