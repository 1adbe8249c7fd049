"""Tests of ``maintenance.filters``: what a filter lets pass, and which text is not a filter."""

from __future__ import annotations

import time

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.maintenance.filters import SORTS, parse_filters

DAY_S, GB = 86400, 10**9
NOW_S = time.time()
MODELS = [
    CachedModel("google/nnlm/2", "/c/a", 2 * GB, "ok", NOW_S - 40 * DAY_S),
    CachedModel("resnet50", "/c/b", 5 * 10**7, "damaged", NOW_S - 60, is_protected=True),
    CachedModel("hub:ada/models:main", "/h/c", 1000, "ok", NOW_S - 2 * DAY_S, kind="repository"),
    CachedModel("unknown", "gs://b/d", 3 * GB, "unverified", 0.0),
]
A, B, C, D = range(4)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], [A, B, C, D]),
        (["used>30d"], [A]),
        (["used<1h"], [B]),
        (["used >= 30d  size > 1GB"], [A]),
        (["size>1GB"], [A, D]),
        (["size>1GB used>30d"], [A]),
        (["size>1GB", "used>30d"], [A]),
        (["size<=1000B"], [C]),
        (["state=damaged"], [B]),
        (["state!=ok"], [B, D]),
        (["kept"], [B]),
        (["!kept"], [A, C, D]),
        (["kind=repository"], [C]),
        (["!kind=repository state=ok"], [A]),
        (["name=google/*"], [A]),
        (["name!=hub:*"], [A, B, D]),
        (["!!kept"], [B]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_filters(texts: list[str], expected: list[int]) -> None:
    filters = parse_filters(texts)
    assert [number for number, model in enumerate(MODELS) if all(matches(model) for matches in filters)] == expected


@pytest.mark.parametrize(
    "text",
    [
        *("used", "used>", "used=1d", "used>big", "size>", "size>20%", "size=1GB", "state=broken", "state>ok", "kind=file"),
        *("kept=yes", "colour=red", "!", "name", "!used", "Used>1d", "__class__=x", "path=/c/a"),
    ],
)
def test_what_is_not_a_filter_is_an_error(text: str) -> None:
    with pytest.raises(HandleError) as caught:
        parse_filters([text])
    assert "filter" in caught.value.text


def test_the_advice_names_the_quotes_that_a_shell_needs() -> None:
    with pytest.raises(HandleError, match="filter 'used' is not known") as caught:
        parse_filters(["used"])  # what a shell passes on of used>30d
    assert "Quote them" in caught.value.advice.command
    assert "shell" not in caught.value.fix and "kept" in caught.value.fix, "Python needs no quotes of a shell"


@pytest.mark.parametrize(("sort", "expected"), [("name", [A, C, B, D]), ("size", [D, A, B, C]), ("used", [D, A, C, B])])
def test_orders(sort: str, expected: list[int]) -> None:
    assert sorted(range(4), key=lambda number: SORTS[sort](MODELS[number])) == expected
