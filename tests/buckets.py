"""Buckets as tests fill them, look into them, and make them older."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import timedelta

import botocore.session

from tests.stores.objects import Bucket
from tests.stores.s3 import S3
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record

ROOT = "gs://bucket/cache"
MOST_S = 30


def until(is_so: Callable[[], object]) -> None:
    """Wait, though not for ever."""
    until_s = time.monotonic() + MOST_S
    while not is_so():
        assert time.monotonic() < until_s, "nothing happens"
        time.sleep(0.01)


def below(bucket: Bucket, place: str) -> dict[str, bytes]:
    """Every object below a ``gs://`` path, by its name behind that."""
    return bucket.files(place.partition(f"{bucket.name}/")[2] + "/")


def record_in(bucket: Bucket, handle: str) -> Record | None:
    """The record of a handle in the root, if there is one that names files."""
    name = entry_name_for_key(handle)
    texts = bucket.files(f"cache/{name}{DESCRIPTOR_SUFFIX}")
    found = Record.parse(texts[""].decode(), name) if texts else None
    return found if found and found.files is not None else None


def left_in(bucket: Bucket) -> set[str]:
    """What lies in the root beside records and what is below a prefix."""
    names = [name for name in bucket.files("cache/") if "/" not in name]
    return {name for name in names if not name.endswith((DESCRIPTOR_SUFFIX, "tfimm_resolver.tidied"))}


def trees_in(bucket: Bucket) -> set[str]:
    """The prefixes in the root."""
    return {name.partition("/")[0] for name in bucket.files("cache/") if "/" in name}


def make_older(bucket: Bucket, *, hours: float, prefix: str = "") -> None:
    """Have every object below a prefix look as if it had been put there so much sooner."""
    for name in bucket.files(prefix):
        blob = bucket.get(prefix + name)
        bucket._blobs[blob.name] = dataclasses.replace(blob, updated=blob.updated - timedelta(hours=hours))


def fill_s3(files: dict[str, bytes]) -> None:
    """Put objects into the bucket of S3, under any names at all, which obstore would not let pass."""
    client = botocore.session.Session().create_client("s3")
    for name, data in files.items():
        client.put_object(Bucket="bucket", Key=name, Body=data)


def paths_asked(s3: S3, method: str) -> list[str]:
    """What S3 was asked for by a method since the bucket was made, without queries."""
    return [path.partition("?")[0] for asked, path, _ in s3.asked() if asked == method]
