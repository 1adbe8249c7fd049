"""Requests for small responses: bodies in memory, redirects that are not followed, posts."""

from __future__ import annotations

import pytest

from tests.fakes.faults.origin import Host
from tests.fakes.origin import Origin
from tfimm_resolver.errors import FetchError, NotFoundError, OfflineError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.transfer.small_requests import get_bytes, get_redirect_target

HANDLE = Handle.parse("https://models.example/m/1")


def test_returns_a_body_and_the_target_of_a_redirect_that_it_does_not_follow(origin: Origin) -> None:
    assert get_bytes(HANDLE, origin.put("/facts", b"{}")) == b"{}"
    assert get_redirect_target(HANDLE, origin.put("/where", b" gs://bucket/m \n", status=303)) == "gs://bucket/m"
    assert get_redirect_target(HANDLE, origin.put("/page", b"gs://bucket/m")) is None
    with pytest.raises(NotFoundError):
        get_bytes(HANDLE, f"{origin.url}/missing")


def test_posts_with_the_header_and_without(origin: Origin) -> None:
    with Host() as host:
        url = host.put("/call", b"{}")
        for authorization in ("Bearer t", ""):
            assert get_bytes(HANDLE, url, authorization, b'{"a": 1}') == b"{}"
    sent = [(request.method, request.posted, request.headers.get("authorization")) for request in host.requests]
    assert sent == [("POST", b'{"a": 1}', "Bearer t"), ("POST", b'{"a": 1}', None)]


def test_nothing_is_sent_offline_and_no_post_to_a_mirror(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url)
    with pytest.raises(FetchError, match="calls of an API"):
        get_bytes(HANDLE, "https://models.example/call", "", b"{}")
    monkeypatch.delenv("TFIMM_RESOLVER_MIRRORS")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for data in (None, b"{}"):
        with pytest.raises(OfflineError):
            get_bytes(HANDLE, f"{origin.url}/facts", "", data)
    with pytest.raises(OfflineError):
        get_redirect_target(HANDLE, f"{origin.url}/facts")
    assert origin.requests == []
