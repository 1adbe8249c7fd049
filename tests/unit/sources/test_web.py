"""Tests of ``sources.web``: archives on the web."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import web
from tfimm_resolver.transfer.downloader import Downloader


@pytest.mark.parametrize("url", ["https://host/m", "https://host/m.zip/1", "https://host/m?name=m.tgz"])
def test_other_urls_are_left_to_other_sources(url: str) -> None:
    assert web.plan(Handle.parse(url)) is None


def test_an_archive_is_requested_under_its_own_url_and_unpacked(origin: Origin, tmp_path: Path) -> None:
    handle = Handle.parse(origin.put("/m.tgz?version=2", tar_gz()))
    plan = web.plan(handle)
    assert plan is not None and plan.key == handle.key
    (into := tmp_path / "into").mkdir()
    plan.fill(into, Downloader(handle))
    assert files_in(into) == MODEL and origin.requests == ["/m.tgz?version=2"]
