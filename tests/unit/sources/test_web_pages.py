"""Tests of ``sources.web_pages``: pages are refused before any request."""

from __future__ import annotations

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.request import Request


def test_a_page_is_refused_with_the_handle_to_use() -> None:
    with pytest.raises(HandleError) as caught:
        rules.match_rule(Request.parse("https://user:secret@GitHub.com/ada/m/blob/main/m.tar.gz?token=secret"))
    assert "https://github.com/ada/m/raw/main/m.tar.gz" in caught.value.fix and "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://github.com/ada/m/raw/main/m.tar.gz", "https://tfhub.dev/google/nnlm/2"])
def test_a_download_is_planned(url: str) -> None:
    assert rules.match_rule(Request.parse(url)).plan.download is not None


def test_an_override_of_a_page_is_used() -> None:
    url = "https://github.com/ada/m"
    overrides.set_model_cache(url, "gs://bucket/m")
    assert rules.match_rule(Request(Handle.parse(url))).rule == "override"
