"""Tests of ``transfer.single_stream``: one response, read to its end or broken."""

from __future__ import annotations

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin, Page
from tfimm_resolver import resolve
from tfimm_resolver.http.response import get_content_length
from tfimm_resolver.http.retry import RestartDownloadError
from tfimm_resolver.http.session import Session, get
from tfimm_resolver.transfer.single_stream import SingleStreamDownload

BODY = b"weights " * 10000


def open_stream(url: str) -> SingleStreamDownload:
    """Request a URL, and return its body as a download."""
    session = Session()
    response = get(session, url)
    return SingleStreamDownload(session, response, get_content_length(response))


def test_the_body_arrives_in_parts_that_are_counted(origin: Origin) -> None:
    download = open_stream(origin.put("/m.tgz", BODY))
    received = b"".join(iter(lambda: download.read(1000), b""))
    download.close()
    assert received == BODY and download.received_bytes == download.size_bytes == len(BODY)
    assert (download.resumed_bytes, download.is_checked_by_member) == (0, False)


def test_a_body_that_a_proxy_has_changed_on_the_way_is_one_like_any_other(origin: Origin) -> None:
    assert files_in(resolve(origin.put("/m.tar.gz", tar_gz(MODEL), status=203))) == MODEL


def test_a_broken_connection_asks_for_a_restart_and_says_how_much_arrived(origin: Origin) -> None:
    def send_half() -> Page:
        return Page(BODY[:-1], length=len(BODY), headers={"Connection": "close"})

    origin.pages["/m.tgz"] = send_half
    download = open_stream(f"{origin.url}/m.tgz")
    with pytest.raises(RestartDownloadError) as caught:
        while download.read(1 << 20):
            pass
    download.close()
    assert caught.value.received_bytes == download.received_bytes < len(BODY)
