"""What is sent to one origin, or to one URL, only."""

from __future__ import annotations

from tfimm_resolver.http.authorization import PostRequest, make_auth


def test_the_header_goes_to_one_origin_only() -> None:
    auth = make_auth("https://h.example/a?x=1", "Bearer t")
    assert auth is not None and auth.get_post_data("https://h.example/a?x=1") is None
    values = {url: auth.get_value(url) for url in ("https://h.example/b", "https://h.example:443/", "https://H.example/")}
    assert set(values.values()) == {"Bearer t"}
    for url in ("http://h.example/a", "https://h.example:8443/a", "https://other.example/a", "https://h.example.org/a"):
        assert auth.get_value(url) is None


def test_the_body_goes_to_one_url_only() -> None:
    auth = make_auth("https://h.example/a", "Bearer t", b"{}")
    assert isinstance(auth, PostRequest) and auth.get_post_data("https://h.example/a") == b"{}"
    assert auth.get_post_data("https://h.example/b") is None and auth.get_value("https://h.example/b") == "Bearer t"


def test_a_body_needs_no_header_and_nothing_needs_nothing() -> None:
    auth = make_auth("https://h.example/a", "", b"{}")
    assert auth is not None and auth.get_value("https://h.example/a") is None
    assert make_auth("https://h.example/a", "") is None
