"""Symbolic links between members: what they lead to, by the names in the archive alone."""

from __future__ import annotations

import pytest

from tfimm_resolver.archives.link_targets import resolve_link

FILES = {"a", "d/b", "d/e/c"}


@pytest.mark.parametrize(
    ("path", "links", "found"),
    [
        ("l", {"l": "a"}, "a"),
        ("d/l", {"d/l": "b"}, "d/b"),
        ("d/l", {"d/l": "../a"}, "a"),
        ("d/e/l", {"d/e/l": ".././b"}, "d/b"),
        ("l", {"l": "d//e/../b"}, "d/b"),
        ("l", {"l": "m", "m": "d/n", "d/n": "e/c"}, "d/e/c"),
        ("l", {"l": "f/b", "f": "d"}, "d/b"),
        ("l", {"l": "f/../b", "f": "d/e"}, "d/b"),
        ("l", {"l": "d"}, None),
        ("l", {"l": ""}, None),
        ("l", {"l": "."}, None),
        ("l", {"l": "/a"}, None),
        ("l", {"l": "../a"}, None),
        ("l", {"l": "../../into/a"}, None),
        ("l", {"l": "a/x"}, None),
        ("l", {"l": "x"}, None),
        ("l", {"l": "l"}, None),
        ("l", {"l": "m", "m": "l"}, None),
        ("l", {"l": "l/a"}, None),
        ("l", {"l": "m/a", "m": "/"}, None),
        ("l", {"l": "m", "m": "/a"}, None),
    ],
    ids=str,
)
def test_follows_a_link(path: str, links: dict[str, str], found: str | None) -> None:
    assert resolve_link(path, links, FILES) == found


def test_forty_links_in_a_row_are_followed_and_no_more() -> None:
    links = {f"l{number}": f"l{number + 1}" for number in range(40)} | {"l40": "a"}
    assert resolve_link("l1", links, FILES) == "a" and resolve_link("l0", links, FILES) is None


@pytest.mark.timeout(5)
@pytest.mark.parametrize("target", ["l/l/" * 1000, "./" * 10**6 + "a", "m" * 10**6], ids=["itself", "dots", "long"])
def test_a_hostile_target_takes_no_time(target: str) -> None:
    assert resolve_link("l", {"l": target}, FILES) is None
