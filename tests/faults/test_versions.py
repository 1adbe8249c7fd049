"""Backends that disagree about the version of a page, and pages that change without a word: one version, never two in one."""

from __future__ import annotations

import hashlib
import io
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.archives import files_in, member, tar_gz, tar_of, zip_of
from tests.faults import NOTHING, RANGE_BYTES, WHOLE, archive, files, left_in
from tests.faults.origin import Fault, Host, Reply, after, cut, gone, paced, page, says
from tfimm_resolver import hub, resolve
from tfimm_resolver.errors import FetchError, IntegrityError

CONNECTIONS = 8
MOST_ASKED = 2 * (2 + CONNECTIONS) + 1
LATER = "Sat, 01 Nov 2025 10:00:05 GMT"

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


def in_turn(*pages: dict[str, object]) -> Fault:
    """Each request is answered by the next backend."""
    return lambda reply: reply.answer(**pages[reply.number % len(pages)])


def by_connection(*pages: dict[str, object]) -> Fault:
    """Each connection is taken by the next backend, and stays with it."""
    known: list[int] = []

    def fault(reply: Reply) -> None:
        with reply.host.lock:
            if reply.asked.connection not in known:
                known.append(reply.asked.connection)
            backend = known.index(reply.asked.connection) % len(pages)
        reply.answer(**pages[backend])

    return fault


BACKENDS: dict[str, tuple[dict[str, object], ...]] = {
    "two ETags": ({"etag": '"a"'}, {"etag": '"b"'}),
    "three ETags": ({"etag": '"a"'}, {"etag": '"b"'}, {"etag": '"c"'}),
    "two dates": ({"etag": None}, {"etag": None, "modified": LATER}),
    "an ETag, and none": ({"etag": '"a"'}, {"etag": None}),
    "an ETag, and neither ETag nor date": ({"etag": '"a"'}, {"etag": None, "modified": None}),
    "a strong ETag, and a weak one": ({"etag": '"a"'}, {"etag": 'W/"a"'}),
    "ranges, and none": ({}, {"ranges": False}),
    "two ETags, and ranges in spite of If-Range": ({"heeds_if_range": False}, {"etag": '"b"', "heeds_if_range": False}),
    "If-Range is always answered in full": ({"etag": '"a"'}, {"etag": '"b"', "ranges": False}),
    "two lengths": ({}, {"body": tar_gz({**files(), "more": b"more"}), "etag": '"b"'}),
}


@pytest.mark.parametrize("backends", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("connections", ["1", "8"])
@pytest.mark.parametrize("balanced", [in_turn, by_connection])
def test_backends_that_disagree_cost_few_requests_and_no_try(
    balanced: Callable[..., Fault],
    connections: str,
    backends: tuple[dict[str, object], ...],
    host: Host,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECTIONS", connections)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    got = files_in(resolve(host.put("/m.tar.gz", archive(), balanced(*backends))))
    got.pop("more", None)
    assert got == files() and left_in(cache_dir) == WHOLE
    ranges = sum(asked.status == 206 for asked in host.asked)
    assert len(host.asked) - ranges <= MOST_ASKED, [(asked.status, asked.headers.get("range")) for asked in host.asked]


def test_slow_backends_that_disagree_by_connection_are_read_in_one_stream(host: Host) -> None:
    backends = by_connection({"etag": '"a"'}, {"etag": '"b"'})
    assert files_in(resolve(host.put("/m.tar.gz", archive(), backends, paced(1 << 14, 0.005)))) == files()
    assert len(host.asked) <= MOST_ASKED and host.asked[-1].headers.get("range") is None


OTHER = {**files(), "variables/variables.data-00000-of-00001": files()["variables/variables.data-00000-of-00001"][::-1]}


def tar(of: dict[str, bytes]) -> bytes:
    """A plain tar of files."""
    return tar_of(*(member(name, data) for name, data in of.items()))


def replaced(requests: int) -> Fault:
    """After so many requests another file of the same length lies there, under the same ETag and date."""
    return after(requests, page(body=tar(OTHER)))


def put(host: Host, path: str, body: bytes, *faults: Fault) -> str:
    """The handle of an archive; without a suffix, TensorFlow Hub's protocol asks for it."""
    if "." in path:
        return host.put(path, body, *faults)
    host.put(f"{path}?tf-hub-format=compressed", body, *faults)
    return host.url + path


@pytest.mark.parametrize("requests", [1, 2, 3, 6])
@pytest.mark.parametrize("path", ["/m.tar", "/M.TAR", "/m", "/m.tar.gz", "/m.zip", "/m.tar?version=2"])
def test_a_plain_tar_that_is_replaced_meanwhile_comes_from_one_answer(
    path: str, requests: int, host: Host, cache_dir: Path
) -> None:
    assert files_in(resolve(put(host, path, tar(files()), replaced(requests)))) in (files(), OTHER)
    assert left_in(cache_dir) == WHOLE
    # A name that promises a checksum costs the ranges that were asked for before the first bytes were looked at.
    assert len(host.asked) <= 5 and host.asked[-1].sent == len(tar(files()))


def test_a_plain_tar_is_asked_for_once_and_not_in_ranges(host: Host) -> None:
    assert files_in(resolve(host.put("/m.tar", tar(files())))) == files()
    assert [(asked.headers["range"], asked.sent) for asked in host.asked] == [("bytes=0-", len(tar(files())))]


def test_a_plain_tar_behind_a_redirect_comes_from_one_answer(host: Host) -> None:
    host.put("/real", tar(files()), replaced(1))
    handle = host.put("/m.tar.gz", b"", says(302, b"", Location="/real"))
    assert files_in(resolve(handle)) in (files(), OTHER)
    asked = [asked.headers.get("range") for asked in host.asked if asked.path == "/real"]
    assert asked[0] == f"bytes=0-{RANGE_BYTES - 1}" and asked[-1] is None and len(asked) <= 5


def weights(name: str) -> bytes:
    """A file of weights whose format has no checksum that is compared when it is fetched."""
    numbers = np.frombuffer(files()["variables/variables.data-00000-of-00001"], np.uint8)
    if name.endswith("safetensors"):
        header = json.dumps({"w": {"dtype": "U8", "shape": [len(numbers)], "data_offsets": [0, len(numbers)]}}).encode()
        return len(header).to_bytes(8, "little") + header + numbers.tobytes()
    out = io.BytesIO()
    np.savez(out, w=numbers)
    return out.getvalue()


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_a_file_of_weights_that_is_replaced_meanwhile_comes_from_one_answer(name: str, host: Host, tmp_path: Path) -> None:
    body = weights(name)
    other = body[:-1000] + bytes(1000)
    url = host.put(f"/{name}", body, after(2, page(body=other)))
    hub.download_url_to_file(url, tmp_path / name, progress=False)
    assert (tmp_path / name).read_bytes() == body and len(host.asked) == 1


def test_a_hash_in_the_name_of_a_file_lets_it_come_in_ranges(host: Host, tmp_path: Path) -> None:
    body = weights("w.safetensors")
    name = f"w-{hashlib.sha256(body).hexdigest()[:8]}.safetensors"
    url = host.put(f"/{name}", body)
    assert len(hub.load_state_dict_from_url(url, str(tmp_path / "kept"), check_hash=True, progress=False)["w"])
    assert len(host.asked) > 1
    before = len(host.asked)
    hub.download_url_to_file(url, tmp_path / name, hashlib.sha256(body).hexdigest()[:7], progress=False)
    assert len(host.asked) - before == 1, "seven digits are fewer than a CRC has"


def repr_digest(body: bytes) -> dict[str, str]:
    """A hash as of RFC 9530."""
    return {"Repr-Digest": f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"}


def goog_hash(body: bytes) -> dict[str, str]:
    """A hash as Google Cloud Storage states it."""
    return {"x-goog-hash": f"md5={b64encode(hashlib.md5(body).digest()).decode()}"}


def no_digest(body: bytes) -> dict[str, str]:
    """What may not count: hashes that cannot be read, or of the part that an answer holds."""
    whole, part = (b64encode(hashlib.md5(some).digest()).decode() for some in (body, body[:RANGE_BYTES]))
    return {"Repr-Digest": "sha-256=nonsense", "Content-MD5": whole, "Content-Digest": f"md5=:{part}:", "Digest": "unixsum=1"}


def stating(headers: dict[str, str]) -> Fault:
    """Answers state these hashes."""

    def fault(reply: Reply) -> None:
        for name, value in headers.items():
            reply.put(name, value)

    return fault


@pytest.mark.parametrize(("state", "in_ranges"), [(repr_digest, True), (goog_hash, True), (no_digest, False)])
@pytest.mark.parametrize("path", ["/m.tar", "/m"])
def test_a_digest_lets_a_plain_tar_come_in_ranges(
    path: str, state: Callable[[bytes], dict[str, str]], in_ranges: bool, host: Host, cache_dir: Path
) -> None:
    body = tar(files())
    assert files_in(resolve(put(host, path, body, stating(state(body))))) == files()
    assert (host.asked[-1].sent <= RANGE_BYTES) == in_ranges and left_in(cache_dir) == WHOLE


def test_a_pin_or_a_digest_notices_a_plain_tar_of_two_versions(host: Host, cache_dir: Path) -> None:
    body = tar(files())
    with pytest.raises(IntegrityError):
        resolve(host.put("/m.tar", body, replaced(4)), sha256=hashlib.sha256(body).hexdigest())
    with pytest.raises(IntegrityError):
        resolve(host.put("/n.tar", body, replaced(4), stating(repr_digest(body))))
    assert left_in(cache_dir) == NOTHING


@pytest.mark.parametrize("make", [tar_gz, zip_of])
def test_formats_with_checksums_still_come_in_ranges(make: Callable[[dict[str, bytes]], bytes], host: Host) -> None:
    assert files_in(resolve(host.put("/m?tf-hub-format=compressed", make(files())))) == files()
    assert len(host.asked) == -(-len(make(files())) // RANGE_BYTES)


def broken_off(host: Host, cache_dir: Path, path: str, body: bytes, pin: str | None) -> str:
    """A handle of whose body an earlier call left parts, as it had a pin."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FetchError):
        patch.setenv("TFIMM_RESOLVER_RETRIES", "0")
        resolve(host.put(path, body, after(8, gone)), sha256=pin)
    assert left_in(cache_dir) == {"parts"}
    return host.url + path


def test_parts_of_a_plain_tar_are_continued_only_with_a_pin_or_a_digest(host: Host, cache_dir: Path) -> None:
    body = tar(files())
    pin = hashlib.sha256(body).hexdigest()
    for has_pin, digest, is_continued in ((True, {}, True), (False, repr_digest(body), True), (False, {}, False)):
        path = f"/{len(host.asked)}.tar"
        handle = broken_off(host, cache_dir, path, body, pin)
        before = host.sent_bytes()
        host.put(path, body if is_continued else tar(OTHER), stating(digest))  # under the same ETag and date
        assert files_in(resolve(handle, sha256=pin if has_pin else None)) == (files() if is_continued else OTHER)
        assert (host.sent_bytes() - before < len(body)) == is_continued, (has_pin, digest)
        assert left_in(cache_dir) == WHOLE
        for left in (*cache_dir.glob("*.txt"), *cache_dir.glob("*/*.pb")):
            left.unlink()
        for left in cache_dir.iterdir():
            left.rename(cache_dir.parent / f"{left.name}.{len(host.asked)}")


def test_one_stream_of_a_plain_tar_that_breaks_off_leaves_no_parts(host: Host, cache_dir: Path) -> None:
    with pytest.raises(FetchError, match="broke off"):
        resolve(host.put("/m.tar", tar(files()), cut(0.5)))
    assert left_in(cache_dir) == NOTHING


def test_a_tar_gz_under_the_name_of_a_tar_comes_from_one_answer(host: Host) -> None:
    assert files_in(resolve(host.put("/m.tar", archive()))) == files() and len(host.asked) == 1


def test_a_server_that_caps_what_it_sends_is_asked_without_a_range(host: Host) -> None:
    def capped(reply: Reply) -> None:
        if reply.status == 206:
            reply.body = reply.body[:1000]
            reply.put("Content-Range", f"bytes 0-999/{len(reply.page.body)}")

    assert files_in(resolve(host.put("/m.tar", tar(files()), capped))) == files()
    assert [asked.headers.get("range") for asked in host.asked] == ["bytes=0-", None]
