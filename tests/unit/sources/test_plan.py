"""Tests of ``sources.plan``: what each kind of plan downloads."""

from __future__ import annotations

from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation


def test_each_plan_tells_what_it_downloads() -> None:
    fetch = Fetch("zoo://lion", lambda into, fetcher: None)
    assert fetch.download is fetch
    assert RemoteLocation(lambda fetcher: None, fetch).download is fetch
    assert InPlace("/mnt/m").download is None
    assert MutableRef(lambda fetcher: "zoo://lion/1").download is None


def test_the_text_of_a_plan_shows_no_secret() -> None:
    assert "hidden" not in repr(InPlace("https://ada:hidden@host/m"))
    assert "zoo://lion" in repr(Fetch("zoo://lion", lambda into, fetcher: None))
