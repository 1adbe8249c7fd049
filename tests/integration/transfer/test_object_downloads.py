"""Downloads from buckets, called as the downloader does: what is expected, known, and reported as progress."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.buckets import fill_s3
from tests.fakes.stores.s3 import S3
from tfimm_resolver.errors import IntegrityError, NotFoundError
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.transfer import object_downloads
from tfimm_resolver.transfer.revalidation import NotModifiedError

URL = "s3://bucket/m"


class Meter:
    """Notes the total and the bytes that are reported."""

    def __init__(self) -> None:
        self.total_bytes = self.done_bytes = 0

    @contextlib.contextmanager
    def report_progress(self, total_bytes: int) -> Iterator[Meter]:
        self.total_bytes = total_bytes
        yield self

    def advance(self, size_bytes: int) -> None:
        self.done_bytes += size_bytes

    def finish(self, succeeded: bool) -> None:
        pass


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def _bucket(s3: S3) -> None:
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})


def expect(**changes: bytes) -> tuple[FileEntry, ...]:
    """Return the files of the model as a record lists them; ``changes`` replace the bytes that are hashed."""
    files = {**MODEL, **changes}
    return tuple(FileEntry(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items()))


@pytest.mark.usefixtures("_bucket")
def test_every_object_is_downloaded_hashed_and_counted(tmp_path: Path, meter: Meter) -> None:
    reserved: list[int] = []
    assert object_downloads.download_objects("h", URL, tmp_path, None, meter.report_progress, reserved.append) == expect()
    assert files_in(tmp_path) == MODEL
    assert meter.total_bytes == meter.done_bytes == sum(map(len, MODEL.values())) == sum(reserved)


@pytest.mark.usefixtures("_bucket")
def test_an_object_that_is_not_as_recorded_is_an_error(tmp_path: Path, meter: Meter) -> None:
    other = MODEL["saved_model.pb"][::-1] + b""
    files = expect(**{"saved_model.pb": other})
    with pytest.raises(IntegrityError, match=r"does not match its recorded sha256: saved_model\.pb"):
        object_downloads.download_objects("h", URL, tmp_path, files, meter.report_progress, int)


@pytest.mark.usefixtures("_bucket")
def test_a_prefix_without_objects_is_an_error(tmp_path: Path, meter: Meter) -> None:
    with pytest.raises(NotFoundError, match="h: found no objects below s3://bucket/none"):
        object_downloads.download_objects("h", "s3://bucket/none", tmp_path, None, meter.report_progress, int)


@pytest.mark.usefixtures("_bucket")
def test_an_archive_is_streamed_unless_it_is_the_known_one(meter: Meter) -> None:
    url = f"{URL}/saved_model.pb"
    with object_downloads.open_archive(url, None, meter.report_progress) as (etag, size_bytes, hashed, stream):
        data = b"".join(iter(lambda: stream.read(7), b""))
    assert (data, size_bytes) == (MODEL["saved_model.pb"], len(data))
    assert hashed.digest.hexdigest() == hashlib.sha256(data).hexdigest()
    known = Origin(url, etag, size_bytes)
    with pytest.raises(NotModifiedError), object_downloads.open_archive(url, known, meter.report_progress):
        pass
