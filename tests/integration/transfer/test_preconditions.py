"""Backends that disagree about the version of a page, and pages that change unannounced: two versions are never mixed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import itertools
import json
import lzma
import random
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.archives import files_in, member, tar_gz, tar_of, zip_of
from tests.fakes.compression import WITHOUT_CHECKSUM, compress_lzma, compress_zstd, make_skippable, make_xz_of_blocks
from tests.fakes.faults import COMPLETE, NOTHING, RANGE_BYTES, archive, files, list_kinds
from tests.fakes.faults.origin import (
    Fault,
    Host,
    Response,
    after_request,
    answer_with,
    change_page,
    cut,
    pace_body,
    reset_connection,
    wait_for_requests,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import hub, resolve
from tfimm_resolver.errors import FetchError, IntegrityError

CONNECTIONS = 8
MAX_REQUESTS = 2 * (2 + CONNECTIONS) + 1
LATER = "Sat, 01 Nov 2025 10:00:05 GMT"

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def rotate(*pages: dict[str, object]) -> Fault:
    """Let the next backend respond to each request."""
    return lambda response: response.rebuild(**pages[response.number % len(pages)])


def rotate_connections(*pages: dict[str, object]) -> Fault:
    """Let the next backend accept each connection, and respond to all its requests."""
    known: list[int] = []

    def fault(response: Response) -> None:
        with response.host.lock:
            if response.request.connection not in known:
                known.append(response.request.connection)
            backend = known.index(response.request.connection) % len(pages)
        response.rebuild(**pages[backend])

    return fault


BACKENDS: dict[str, tuple[dict[str, object], ...]] = {
    "two ETags": ({"etag": '"a"'}, {"etag": '"b"'}),
    "three ETags": ({"etag": '"a"'}, {"etag": '"b"'}, {"etag": '"c"'}),
    "two dates": ({"etag": None}, {"etag": None, "modified": LATER}),
    "an ETag, and none": ({"etag": '"a"'}, {"etag": None}),
    "an ETag, and neither ETag nor date": ({"etag": '"a"'}, {"etag": None, "modified": None}),
    "a strong ETag, and a weak one": ({"etag": '"a"'}, {"etag": 'W/"a"'}),
    "ranges, and none": ({}, {"ranges": False}),
    "two ETags, and ranges in spite of If-Range": ({"honors_if_range": False}, {"etag": '"b"', "honors_if_range": False}),
    "If-Range is always answered in full": ({"etag": '"a"'}, {"etag": '"b"', "ranges": False}),
    "two lengths": ({}, {"body": tar_gz({**files(), "more": b"more"}), "etag": '"b"'}),
}


@pytest.mark.parametrize("backends", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("connections", ["1", "8"])
@pytest.mark.parametrize("balance", [rotate, rotate_connections])
def test_backends_that_disagree_cost_few_requests_and_no_retries(
    balance: Callable[..., Fault],
    connections: str,
    backends: tuple[dict[str, object], ...],
    host: Host,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECTIONS", connections)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    received = files_in(resolve(host.put("/m.tar.gz", archive(), balance(*backends))))
    received.pop("more", None)
    assert received == files() and list_kinds(cache_dir) == COMPLETE
    ranges = sum(request.status == 206 for request in host.requests)
    assert len(host.requests) - ranges <= MAX_REQUESTS, [
        (request.status, request.headers.get("range")) for request in host.requests
    ]


def test_slow_backends_that_disagree_by_connection_are_read_in_one_stream(host: Host) -> None:
    def overlap(response: Response) -> None:
        if response.status == 206 and response.first == 0:
            wait_for_requests(len(host.requests) + 1)(response)

    backends = rotate_connections({"etag": '"a"'}, {"etag": '"b"'})
    assert files_in(resolve(host.put("/m.tar.gz", archive(), backends, overlap, pace_body(1 << 14, 0.005)))) == files()
    assert len(host.requests) <= MAX_REQUESTS and host.requests[-1].headers.get("range") is None


OTHER = {**files(), "variables/variables.data-00000-of-00001": files()["variables/variables.data-00000-of-00001"][::-1]}


def make_tar(files: dict[str, bytes]) -> bytes:
    """Pack files into a plain tar."""
    return tar_of(*(member(name, data) for name, data in files.items()))


def replace_after(requests: int) -> Fault:
    """After so many requests, serve another file of the same length under the same ETag and date."""
    return after_request(requests, change_page(body=make_tar(OTHER)))


def put(host: Host, path: str, body: bytes, *faults: Fault) -> str:
    """Serve an archive, without a suffix by TensorFlow Hub's protocol, and return its handle."""
    if "." in path:
        return host.put(path, body, *faults)
    host.put(f"{path}?tf-hub-format=compressed", body, *faults)
    return host.url + path


@pytest.mark.parametrize("requests", [1, 2, 3, 6])
@pytest.mark.parametrize("path", ["/m.tar", "/M.TAR", "/m", "/m.tar.gz", "/m.zip", "/m.tar?version=2"])
def test_a_plain_tar_that_is_replaced_meanwhile_comes_from_one_response(
    path: str, requests: int, host: Host, cache_dir: Path
) -> None:
    assert files_in(resolve(put(host, path, make_tar(files()), replace_after(requests)))) in (files(), OTHER)
    assert list_kinds(cache_dir) == COMPLETE
    # A name that suggests a checksum costs the ranges that were requested before the first bytes were checked.
    assert len(host.requests) <= MAX_REQUESTS and max(request.sent for request in host.requests) == len(make_tar(files()))


def test_a_plain_tar_is_requested_once_and_not_in_ranges(host: Host) -> None:
    assert files_in(resolve(host.put("/m.tar", make_tar(files())))) == files()
    assert [(request.headers["range"], request.sent) for request in host.requests] == [("bytes=0-", len(make_tar(files())))]


def test_a_plain_tar_after_a_redirect_comes_from_one_response(host: Host) -> None:
    host.put("/real", make_tar(files()), replace_after(1))
    handle = host.put("/m.tar.gz", b"", answer_with(302, b"", Location="/real"))
    assert files_in(resolve(handle)) in (files(), OTHER)
    ranges = [request.headers.get("range") for request in host.requests if request.path == "/real"]
    # The ranges that were requested before the first bytes were checked come on top.
    assert ranges[0] == f"bytes=0-{RANGE_BYTES - 1}" and ranges.count(None) == 1 and len(ranges) <= MAX_REQUESTS


def make_weights(name: str) -> bytes:
    """Return a file of weights, of a format without a checksum that is verified during a download."""
    numbers = np.frombuffer(files()["variables/variables.data-00000-of-00001"], np.uint8)
    if name.endswith("safetensors"):
        header = json.dumps({"w": {"dtype": "U8", "shape": [len(numbers)], "data_offsets": [0, len(numbers)]}}).encode()
        return len(header).to_bytes(8, "little") + header + numbers.tobytes()
    out = io.BytesIO()
    np.savez(out, w=numbers)
    return out.getvalue()


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_a_file_of_weights_that_is_replaced_meanwhile_comes_from_one_response(name: str, host: Host, tmp_path: Path) -> None:
    body = make_weights(name)
    other = body[:-1000] + bytes(1000)
    url = host.put(f"/{name}", body, after_request(2, change_page(body=other)))
    hub.download_url_to_file(url, tmp_path / name, progress=False)
    assert (tmp_path / name).read_bytes() == body and len(host.requests) == 1


def test_a_hash_in_the_name_of_a_file_allows_range_requests(host: Host, tmp_path: Path) -> None:
    body = make_weights("w.safetensors")
    name = f"w-{hashlib.sha256(body).hexdigest()[:8]}.safetensors"
    url = host.put(f"/{name}", body)
    assert len(hub.load_state_dict_from_url(url, str(tmp_path / "kept"), check_hash=True, progress=False)["w"])
    assert len(host.requests) > 1
    before = len(host.requests)
    hub.download_url_to_file(url, tmp_path / name, hashlib.sha256(body).hexdigest()[:7], progress=False)
    assert len(host.requests) - before == 1, "seven digits are fewer than a CRC has"


def make_repr_digest(body: bytes) -> dict[str, str]:
    """State a hash as in RFC 9530."""
    return {"Repr-Digest": f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"}


def make_goog_hash(body: bytes) -> dict[str, str]:
    """State a hash as Google Cloud Storage does."""
    return {"x-goog-hash": f"md5={b64encode(hashlib.md5(body).digest()).decode()}"}


def make_invalid_digests(body: bytes) -> dict[str, str]:
    """State what does not count: malformed hashes, and hashes of the range in a response."""
    complete, part = (b64encode(hashlib.md5(some).digest()).decode() for some in (body, body[:RANGE_BYTES]))
    return {
        "Repr-Digest": "sha-256=nonsense",
        "Content-MD5": complete,
        "Content-Digest": f"md5=:{part}:",
        "Digest": "unixsum=1",
    }


def add_headers(headers: dict[str, str]) -> Fault:
    """Add headers to all responses."""

    def fault(response: Response) -> None:
        for name, value in headers.items():
            response.put(name, value)

    return fault


@pytest.mark.parametrize(
    ("state", "in_ranges"), [(make_repr_digest, True), (make_goog_hash, True), (make_invalid_digests, False)]
)
@pytest.mark.parametrize("path", ["/m.tar", "/m"])
def test_a_digest_of_a_plain_tar_allows_range_requests(
    path: str, state: Callable[[bytes], dict[str, str]], in_ranges: bool, host: Host, cache_dir: Path
) -> None:
    body = make_tar(files())
    assert files_in(resolve(put(host, path, body, add_headers(state(body))))) == files()
    assert (host.requests[-1].sent <= RANGE_BYTES) == in_ranges and list_kinds(cache_dir) == COMPLETE


def test_a_pin_or_a_digest_detects_a_plain_tar_of_two_versions(host: Host, cache_dir: Path) -> None:
    body = make_tar(files())
    with pytest.raises(IntegrityError):
        resolve(host.put("/m.tar", body, replace_after(4)), sha256=hashlib.sha256(body).hexdigest())
    with pytest.raises(IntegrityError):
        resolve(host.put("/n.tar", body, replace_after(4), add_headers(make_repr_digest(body))))
    assert list_kinds(cache_dir) == NOTHING


@pytest.mark.parametrize("make", [tar_gz, zip_of])
def test_formats_with_checksums_are_downloaded_in_ranges(make: Callable[[dict[str, bytes]], bytes], host: Host) -> None:
    assert files_in(resolve(host.put("/m?tf-hub-format=compressed", make(files())))) == files()
    assert len(host.requests) == -(-len(make(files())) // RANGE_BYTES)


def leave_parts(host: Host, cache_dir: Path, path: str, body: bytes, pin: str | None) -> str:
    """Let a download with a pin fail, so that it leaves parts; return the handle."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put(path, body, after_request(8, reset_connection)), sha256=pin)
    assert list_kinds(cache_dir) == {"parts"}
    return host.url + path


def test_parts_of_a_plain_tar_are_resumed_only_with_a_pin_or_a_digest(host: Host, cache_dir: Path) -> None:
    body = make_tar(files())
    pin = hashlib.sha256(body).hexdigest()
    for has_pin, digest, is_resumed in ((True, {}, True), (False, make_repr_digest(body), True), (False, {}, False)):
        path = f"/{len(host.requests)}.tar"
        handle = leave_parts(host, cache_dir, path, body, pin)
        before = host.count_sent_bytes()
        host.put(path, body if is_resumed else make_tar(OTHER), add_headers(digest))  # under the same ETag and date
        assert files_in(resolve(handle, sha256=pin if has_pin else None)) == (files() if is_resumed else OTHER)
        assert (host.count_sent_bytes() - before < len(body)) == is_resumed, (has_pin, digest)
        assert list_kinds(cache_dir) == COMPLETE
        for entry in (*cache_dir.glob("*.txt"), *cache_dir.glob("*/*.pb")):
            entry.unlink()
        for entry in cache_dir.iterdir():
            entry.rename(cache_dir.parent / f"{entry.name}.{len(host.requests)}")


def test_an_interrupted_stream_of_a_plain_tar_leaves_no_parts(host: Host, cache_dir: Path) -> None:
    with pytest.raises(FetchError, match="connection broke"):
        resolve(host.put("/m.tar", make_tar(files()), cut(0.5)))
    assert list_kinds(cache_dir) == NOTHING


def test_a_tar_gz_under_the_name_of_a_tar_comes_from_one_response(host: Host) -> None:
    assert files_in(resolve(host.put("/m.tar", archive()))) == files() and len(host.requests) == 1


def test_a_server_that_shortens_ranges_gets_a_request_without_a_range(host: Host) -> None:
    def cap_range(response: Response) -> None:
        if response.status == 206:
            response.body = response.body[:1000]
            response.put("Content-Range", f"bytes 0-999/{len(response.page.body)}")

    assert files_in(resolve(host.put("/m.tar", make_tar(files()), cap_range))) == files()
    assert [request.headers.get("range") for request in host.requests] == ["bytes=0-", None]


def split_tar(files: dict[str, bytes]) -> list[bytes]:
    """Return the pieces of a tar that parallel packers compress on their own."""
    tar = make_tar(files)
    return [tar[at : at + 65536] for at in range(0, len(tar), 65536)]


def pack_in_members(files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of many gzip members, each stored with a checksum of its own, as parallel packers write them."""
    return b"".join(gzip.compress(one, 0, mtime=0) for one in split_tar(files))


IN_STREAMS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "/m.tar.gz": pack_in_members,
    "/m.tar.bz2": lambda files: b"".join(map(bz2.compress, split_tar(files))),
    "/m.tar.zst": lambda files: b"".join(map(compress_zstd, split_tar(files))),
    "/frames.tar.zst": lambda files: b"".join(make_skippable() + compress_zstd(one) for one in split_tar(files)),
    "/m.tar.xz": lambda files: b"".join(lzma.compress(one, preset=0) for one in split_tar(files)),
    "/blocks.tar.xz": lambda files: make_xz_of_blocks(*split_tar(files)),
}
"""Several streams or blocks, by the path of the archive; each has a checksum of its own, so a mixture passes them all."""


def make_versions(pack: Callable[[dict[str, bytes]], bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return two versions of a model whose archives have the same length, and differ only at their beginning and end."""
    same = {"saved_model.pb": b"a graph", "m": random.Random(7).randbytes(1 << 19)}  # the borders of all ranges lie in m
    known: dict[tuple[int, bytes], dict[str, bytes]] = {}
    for letters in itertools.permutations(b"ABCD"):
        data = b"".join(bytes([letter]) * 10_000 for letter in letters)
        files = {"a": data, **same, "z": data}
        archive_ = pack(files)
        other = known.setdefault((len(archive_), archive_[RANGE_BYTES : 3 * RANGE_BYTES]), files)
        if other is not files:
            return other, files
    raise AssertionError("no two versions have the same length")


@pytest.mark.parametrize("path", IN_STREAMS)
def test_an_archive_of_several_streams_that_is_replaced_meanwhile_comes_from_one_response(path: str, host: Host) -> None:
    pack = IN_STREAMS[path]
    old, new = make_versions(pack)
    handle = put(host, path, pack(old), after_request(1, change_page(body=pack(new))))
    assert files_in(resolve(handle)) in (old, new)


@pytest.mark.parametrize(
    ("path", "compress"),
    [("/m.tar.zst", WITHOUT_CHECKSUM["zstd"]), ("/m.tar.xz", WITHOUT_CHECKSUM["xz"]), ("/m.tar.lzma", compress_lzma)],
)
def test_a_compressed_tar_without_a_checksum_comes_from_one_response_without_a_pin(
    path: str, compress: Callable[[bytes], bytes], host: Host
) -> None:
    body = compress(make_tar(files()))
    assert files_in(resolve(host.put(path, body))) == files()
    assert sum(request.status == 200 or request.headers.get("range") == "bytes=0-" for request in host.requests) == 1
    assert len(host.requests) <= MAX_REQUESTS  # all ranges may arrive before the first bytes show that there is no checksum
    before = len(host.requests)
    assert files_in(resolve(host.put(f"/pinned{path[1:]}", body), sha256=hashlib.sha256(body).hexdigest())) == files()
    assert len(host.requests) - before > 2 and all(request.status == 206 for request in host.requests[before:])


@pytest.mark.parametrize("path", ["/m.tar.bz2", "/m.tar.xz", "/m.tar.zst"])
def test_one_stream_with_a_checksum_is_downloaded_in_ranges(path: str, host: Host) -> None:
    compress = {"/m.tar.bz2": bz2.compress, "/m.tar.xz": lzma.compress, "/m.tar.zst": compress_zstd}[path]
    body = compress(make_tar(files()))
    assert files_in(resolve(host.put(path, body))) == files()
    assert len(host.requests) == -(-len(body) // RANGE_BYTES)


def test_a_gzip_of_several_members_with_a_pin_is_downloaded_in_ranges(host: Host) -> None:
    files = {"saved_model.pb": b"a graph", "a": bytes(1 << 20)}
    body = pack_in_members(files)
    assert files_in(resolve(put(host, "/m.tar.gz", body), sha256=hashlib.sha256(body).hexdigest())) == files
    assert all(request.status == 206 for request in host.requests) and len(host.requests) > 2


def test_a_directory_of_archives_is_one_version_after_ranges_of_another_mirror_failed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"saved_model.pb": b"a graph", "a": bytes(1 << 20)}
    body = pack_in_members(files)
    host.put("/models.example/m.tar.gz", body[:-100] + bytes(100))
    (tmp_path / "models.example").mkdir()
    (tmp_path / "models.example/m.tar.gz").write_bytes(body)
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{host.url}|file://{tmp_path}")
    assert files_in(resolve("https://models.example/m.tar.gz")) == files
    assert [request.status for request in host.requests][:2] == [206, 206]
