"""What is known of a received body: its origin, its digests, its encoding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.http.errors import redact_url
from tfimm_resolver.http.range_headers import get_strong_validator, parse_content_range
from tfimm_resolver.http.response import Response
from tfimm_resolver.manifest import Origin
from tfimm_resolver.transfer.content_encoding import decode_body, parse_encodings
from tfimm_resolver.transfer.streams import HashingReader


def make_origin(response: Response) -> Origin:
    """Return where a body is from, and what identifies its version."""
    etag = response.headers.get("ETag", "")
    return Origin(redact_url(response.url), etag, modified="" if etag else get_strong_validator(response) or "")


def open_hashed(
    read: Callable[[int], bytes], response: Response, size_bytes: int | None, *, is_archive: bool
) -> tuple[HashingReader, int | None]:
    """Return a reader that decodes a body if necessary and hashes it, and the size of what it reads, if that is known."""
    expected = ServerDigests(response.headers, is_complete=_is_complete(response))

    def read_and_digest(size: int) -> bytes:
        chunk = read(size)
        expected.update(chunk)
        return chunk

    header = response.headers.get("Content-Encoding", "")
    decoded, is_decoded = decode_body(read_and_digest, header, response.url, is_archive=is_archive)

    def read_decoded(size: int) -> bytes:
        chunk = decoded(size)
        expected.update_decoded(chunk)
        return chunk

    if is_decoded:
        return HashingReader(read_decoded, expected, is_updated=True), None
    return HashingReader(decoded, expected, is_updated=True), size_bytes


@contextlib.contextmanager
def explain_encoding(response: Response) -> Iterator[None]:
    """Name the Content-Encoding in the error of an archive that cannot be read, since it may be the reason."""
    try:
        yield
    except ArchiveError as error:
        header = response.headers.get("Content-Encoding", "")
        if not parse_encodings(header) or "Content-Encoding" in error.text:
            raise
        raise error.with_message(f"{error.text}\n  the server states Content-Encoding: {header}") from error


def _is_complete(response: Response) -> bool:
    """Whether a response holds the complete body."""
    if response.status_code == 200:
        return True
    received = parse_content_range(response)
    return received is not None and (received.start, received.stop) == (0, received.size_bytes)
