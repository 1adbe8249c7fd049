"""Content-Encoding that was not asked for: undone where it was applied on top, ignored where it describes the file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import NOTHING, archive, files, list_kinds
from tests.fakes.faults.origin import Host, set_header
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import ArchiveError, IntegrityError

pytestmark = pytest.mark.timeout(60)

TAR = gzip.decompress(archive())


def make_zip() -> bytes:
    """Return the model as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files().items():
            packed.writestr(name, data)
    return out.getvalue()


ZIP = make_zip()
IN_TWO = gzip.compress(archive()[:999]) + gzip.compress(archive()[999:])
RAW_DEFLATE = zlib.compressobj(wbits=-15)
BODIES = {
    "a .tar.gz that is only called gzip": ("/m.tar.gz", archive(), "gzip", archive()),
    "a .tar.gz that is only called x-gzip": ("/m.tar.gz", archive(), "x-gzip", archive()),
    "a .tar.gz, packed once more": ("/m.tar.gz", gzip.compress(archive()), "gzip", archive()),
    "a .tar.gz, packed twice more": ("/m.tar.gz", gzip.compress(gzip.compress(archive())), "gzip, gzip", archive()),
    "a .tar.gz, in two members": ("/m.tar.gz", IN_TWO, "gzip", archive()),
    "a .tar.gz, with deflate": ("/m.tar.gz", zlib.compress(archive()), "deflate", archive()),
    "a .tar.gz, with bare deflate": (
        "/m.tar.gz",
        RAW_DEFLATE.compress(archive()) + RAW_DEFLATE.flush(),
        "deflate",
        archive(),
    ),
    "a .tar, packed": ("/m.tar", gzip.compress(TAR), "gzip", TAR),
    "a .zip, packed": ("/m.zip", gzip.compress(ZIP), "gzip", ZIP),
    "a .zip that is only called gzip": ("/m.zip", ZIP, "gzip", ZIP),
    "an unknown encoding of what is not encoded": ("/m.tar.gz", archive(), "br", archive()),
    "identity": ("/m.tar.gz", archive(), "identity", archive()),
}


@pytest.mark.parametrize("ranges", [True, False], ids=["in ranges", "as a stream"])
@pytest.mark.parametrize("name", BODIES)
def test_the_model_comes_and_its_pin_is_that_of_the_file(name: str, ranges: bool, host: Host) -> None:
    path, body, encoding, original = BODIES[name]
    handle = host.put(path, body, set_header("Content-Encoding", encoding), ranges=ranges)
    assert files_in(resolve(handle, sha256=hashlib.sha256(original).hexdigest())) == files()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "x" * 200, "gzip, gzip, gzip, gzip"])
def test_an_encoding_that_cannot_be_undone_is_named(encoding: str, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", b"\x0b\x02encoded" * 1000, set_header("Content-Encoding", encoding))
    with pytest.raises(ArchiveError, match="Content-Encoding: "):
        resolve(handle)
    assert list_kinds(cache_dir) == NOTHING


TWICE = gzip.compress(archive())


@pytest.mark.parametrize(
    "body",
    [TWICE[:-9], TWICE[:-4] + b"\0\0\0\0", TWICE[: len(TWICE) // 2], TWICE + b"rubbish", TWICE[:-8] + bytes(8)],
    ids=["cut", "another length", "half", "rubbish behind it", "another CRC"],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_damaged_outer_layer_is_an_error(ranges: bool, body: bytes, host: Host, cache_dir: Path) -> None:
    with pytest.raises(ArchiveError, match="Content-Encoding"):
        resolve(host.put("/m.tar.gz", body, set_header("Content-Encoding", "gzip"), ranges=ranges))
    assert list_kinds(cache_dir) == NOTHING


def test_digests_are_compared_with_what_was_sent(host: Host) -> None:
    encoding = set_header("Content-Encoding", "gzip")
    right = set_header("X-Checksum-Sha256", hashlib.sha256(TWICE).hexdigest())
    assert files_in(resolve(host.put("/m.tar.gz", TWICE, encoding, right))) == files()
    wrong = set_header("X-Checksum-Sha256", hashlib.sha256(b"").hexdigest())
    with pytest.raises(IntegrityError, match="X-Checksum-Sha256"):
        resolve(host.put("/n.tar.gz", TWICE, encoding, wrong))


@pytest.mark.parametrize("ranges", [True, False])
def test_digests_may_be_those_of_the_stored_file(ranges: bool, host: Host) -> None:
    """A proxy encodes the body, and passes on what the server states of its file."""
    encoding = set_header("Content-Encoding", "gzip")
    right = set_header("X-Checksum-Sha256", hashlib.sha256(archive()).hexdigest())
    assert files_in(resolve(host.put("/m.tar.gz", TWICE, encoding, right, ranges=ranges))) == files()
    sent = set_header("Content-MD5", base64.b64encode(hashlib.md5(TWICE).digest()).decode())
    assert files_in(resolve(host.put("/n.tar.gz", TWICE, encoding, right, sent, ranges=False))) == files()


def test_a_bomb_in_the_outer_layer_is_refused(host: Host, cache_dir: Path) -> None:
    inner = gzip.compress(TAR[:512] + bytes(1 << 20), 0) + bytes(300 << 20)
    with pytest.raises(ArchiveError):
        resolve(host.put("/m.tar.gz", gzip.compress(inner, 9), set_header("Content-Encoding", "gzip")))
    assert list_kinds(cache_dir) == NOTHING
