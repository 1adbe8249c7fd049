"""Targets: what servers answer with, and what a download leaves for the next one: refs, headers, listings, part lists."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast

import urllib3

from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.errors import FetchError, HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.http import errors, session
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.http.range_headers import get_strong_validator, parse_content_range
from tfimm_resolver.http.response import Response, SentRequest, get_content_length
from tfimm_resolver.hub import refs as hub_refs
from tfimm_resolver.saved_model import recognition
from tfimm_resolver.sources import github, hugging_face_cache, kaggle, kaggle_mounts
from tfimm_resolver.sources.github_refs import Refs
from tfimm_resolver.sources.plan import Fetcher
from tfimm_resolver.transfer.content_encoding import parse_encodings
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore, get_boot_id

_A, _B = "a" * 40, "b" * 40
_URL = "https://h/ada/models"


def _make_pkt_line(text: bytes) -> bytes:
    return b"%04x%s\n" % (len(text) + 5, text)


def _make_refs() -> list[bytes]:
    """Return advertisements as git sends them."""
    service = _make_pkt_line(b"# service=git-upload-pack") + b"0000"
    capabilities = b"multi_ack side-band-64k symref=HEAD:refs/heads/trunk agent=git/2.39.5"
    names = (
        b"refs/heads/trunk",
        b"refs/heads/dev/x",
        b"refs/pull/1/head",
        b"refs/tags/v1",
        b"refs/tags/v1^{}",
        b"refs/tags/trunk",
    )
    lines = [b"%s %s" % (_A.encode(), name) for name in names]
    first = b"%s HEAD\0%s" % (_A.encode(), capabilities)
    empty = b"0" * 40 + b" capabilities^{}\0agent=git"
    return [
        service + b"".join(map(_make_pkt_line, (first, *lines))) + b"0000",
        service + _make_pkt_line(empty) + b"0000",
        service
        + _make_pkt_line(first.replace(b"a" * 40, b"c" * 64))
        + _make_pkt_line(b"c" * 64 + b" refs/heads/trunk")
        + b"0000",
    ]


def correct_lengths(data: bytes) -> bytes:
    """Return pkt-lines whose lengths are right, for one line of text each."""
    out, parts = b"", data.replace(b"0000", b"\n").split(b"\n")
    for part in parts:
        text = part[4:]
        out += _make_pkt_line(text[:65000]) if text else b""
        out += b"0000" if text.startswith(b"# service") else b""
    return out + b"0000"


def _parse_refs(data: bytes, _: Path) -> None:
    refs = Refs.parse(correct_lengths(data) if len(data) % 4 else data, _URL)
    failures = 0
    for ref in ("", "trunk", "v1", "refs/heads/dev/x", _A, _A[:7], "nonsense"):
        try:
            tip = refs.find_tip(ref, _URL)
        except FetchError as error:
            failures += 1
            if len(error.text) > 5000:
                raise ViolationError("a long message") from error
        else:
            if not ref and not Handle.parse(f"github://h/a/b:{tip.name}"):
                raise ViolationError("a default branch that no handle can hold")
    if failures > 3:
        raise FetchError("most refs are not there")


def _make_headers() -> list[bytes]:
    day = format_datetime(datetime(2026, 1, 1, tzinfo=timezone.utc), usegmt=True)
    later = format_datetime(datetime(2026, 1, 2, tzinfo=timezone.utc), usegmt=True)
    digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    return [
        f"Content-Range: bytes 5-9/20\nLast-Modified: {day}\nDate: {later}\nContent-Length: 5".encode(),
        f'ETag: W/"a"\nRepr-Digest: sha-256=:{digest}:, md5=:1B2M2Y8AsgTpgAmY7PhCfg==:\nRetry-After: 7'.encode(),
        f"Digest: SHA-256={digest},crc32c=AAAAAA==\nx-goog-hash: crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==".encode(),
        b"X-Checksum-Sha256: " + b"e3" * 32 + b"\nX-Checksum-Md5: " + b"d4" * 16 + b"\nContent-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==",
        b"x-amz-checksum-crc32: AAAAAA==\nx-amz-checksum-type: FULL_OBJECT\nContent-Encoding: gzip, br",
        f"Location: https://user:pw@other:8443/a?b#c\nRetry-After: {day}\nx-goog-stored-content-encoding: gzip".encode(),
        b"Location: //h\\x/../y\nContent-Type: text/html; charset=utf-7\nTransfer-Encoding: chunked",
    ]


def _parse_headers(data: bytes, _: Path) -> None:
    pairs = [line.partition(":") for line in data.decode("latin-1").split("\n")]
    headers = {name.strip() or "X": value.strip() for name, _, value in pairs}
    response = Response(SentRequest("https://h/m", {}), (), urllib3.HTTPResponse(b"", headers, 206))
    found = parse_content_range(response)
    if found is not None and not (isinstance(found.start, int) and found.size_bytes >= 0):
        raise ViolationError(f"{found}")
    get_strong_validator(response)
    get_content_length(response)
    errors._parse_retry_after(response)
    parse_encodings(headers.get("Content-Encoding", ""))
    for is_complete in (True, False):
        digests = ServerDigests(response.headers, is_complete=is_complete)
        digests.update(b"x")
        if digests:
            digests.check("https://h/m")
    if location := headers.get("Location"):
        session._join_redirect("https://h/m", location)


_HEADER_TOKENS = (
    *(
        b"\nContent-Range: bytes ",
        b"\nETag: ",
        b"\nDigest: sha-256=",
        b"\nRetry-After: ",
        b"\nDate: ",
        b"\nLast-Modified: ",
        b"/*",
    ),
    *(
        b"=",
        b":",
        b",",
        b"-",
        b" GMT",
        b" +9999",
        b"99999999999",
        b"\nLocation: ",
        b"//",
        b"[",
        b"@",
        b"%",
        b"\nContent-Length: ",
    ),
)


def _load_parts(data: bytes, into: Path) -> None:
    """Load the list of parts of a download, and count what is missing."""
    folder = into / "m.parts"
    folder.mkdir(mode=0o700)
    (folder / "of.json").write_bytes(data)
    for name, size in (("0", 3), ("10", 11), ("9" * 300, 0)):
        if len(name) < 250:
            (folder / name).write_bytes(bytes(size))
    store = PartStore(folder)
    info = store.load()
    if info is None:
        raise FetchError("nothing to resume")
    if len(info.starts) > 200_000:
        raise ViolationError(f"{len(info.starts)} parts")
    if any(not 0 <= start < stop <= info.size_bytes for start, stop in store.find_missing(info)):
        raise ViolationError("a part outside of the body")


def _make_part_lists() -> list[bytes]:
    sizes = ((100, 10), (25, 10), (10, 10), (1 << 33, 8 << 20))
    infos = [PartialDownloadInfo("https://h/m.tar.gz", '"tag"', size, length, get_boot_id()) for size, length in sizes]
    return [info.to_json().encode() for info in infos]


class _FakeFetcher:
    """Answers every request with the same bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def get_bytes(self, url: str, **_: Any) -> bytes:
        return self._data


def _read_listings(data: bytes, into: Path) -> None:
    """Read answers of Kaggle, Colab and GitHub, and the listing that huggingface_hub stores."""
    fetcher = cast(Fetcher, _FakeFetcher(data))
    commit = "1" * 40
    (into / "trees").mkdir()
    (into / "trees" / f"{commit}.json").write_bytes(data)
    listed = hugging_face_cache._read_listing(str(into), HuggingFaceModel("ada", "models", commit, "export"))
    if listed is not None and not all(isinstance(name, str) and isinstance(size, int) for name, size in listed.items()):
        raise ViolationError(f"{listed}")
    repository = github.Repository("https://h", "ada", "models")
    hub_refs._load_default_branch(data.decode("utf-8", "replace"), repository)
    os.environ["GITHUB_TOKEN"], os.environ["TFIMM_GITHUB_URL"] = "x", "https://h"
    os.environ["TBE_RUNTIME_ADDR"] = "127.0.0.1:1"
    failures = 0
    model = kaggle._parse_model(Handle.parse("kaggle://google/mobilenet-v2/tensorFlow2/a"))
    calls = (
        lambda: kaggle._find_newest_remote(model, fetcher),
        lambda: kaggle_mounts._request_mount(model.with_version(1), fetcher),
        lambda: github._find_tip_by_api(repository, fetcher) or _raise_missing(),
    )
    for call in calls:
        try:
            call()
        except FetchError:
            failures += 1
    recognition.recognize(data, "model.bin")
    if failures == len(calls) and listed is None:
        raise FetchError("no answer is valid")


def _raise_missing() -> None:
    raise FetchError("GitHub's API did not answer")


def _make_listings() -> list[bytes]:
    sha = {"type": "commit", "sha": _B}
    values: list[object] = [
        {"versionNumber": 3, "id": 1, "url": "https://www.kaggle.com/models/x"},
        {"slug": "mobilenet-v2/tensorflow2/a/1"},
        {"format_version": 1, "files": {"export/saved_model.pb": {"size": 7}, "export/x": {"lfs_size": 9, "size": 1}}},
        {"default_branch": "trunk", "ref": "refs/heads/trunk", "object": sha, "asked_s": 1764500000.5},
        [{"ref": "refs/heads/trunk", "object": sha}, {"ref": "refs/tags/v1", "object": {"type": "tag", "sha": _A}}],
    ]
    return [json.dumps(value).encode() for value in values]


_JSON_TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b'""',
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"\\ud800",
        b"\\u0000",
        b"\xff",
    ),
    *(b'"versionNumber": ', b'"slug": ', b'"files": ', b'"object": ', b'"default_branch": ', b'"size": ', b'"../x"', b'"/"'),
    *(b'"place": ', b'"size_bytes": ', b'"range_bytes": ', b'"validator": ', b'"boot": '),
)

TARGETS = (
    Target(
        "refs",
        _parse_refs,
        _make_refs,
        (b"0000", b"0001", b"symref=HEAD:", b"refs/heads/", b"refs/tags/", b"^{}", b"\0", b" "),
    ),
    Target("headers", _parse_headers, _make_headers, _HEADER_TOKENS),
    Target("parts", _load_parts, _make_part_lists, _JSON_TOKENS),
    Target("listings", _read_listings, _make_listings, _JSON_TOKENS, (FetchError, HandleError)),
)
