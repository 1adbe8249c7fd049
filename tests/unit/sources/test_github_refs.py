"""Parsing of git's ref advertisement, and finding the ref that a text names."""

from __future__ import annotations

import logging

import pytest

from tfimm_resolver.errors import FetchError, UnknownRefError
from tfimm_resolver.sources import github_refs
from tfimm_resolver.sources.github_refs import Refs, Tip

A, B, C, TAG = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
URL = "https://github.com/ada/models"
CAPABILITIES = "multi_ack side-band-64k symref=HEAD:refs/heads/trunk agent=git/2.39.5"


def make_pkt_line(text: str) -> bytes:
    """Return a pkt-line."""
    return f"{len(text) + 5:04x}{text}\n".encode()


def make_advertisement(*refs: str, capabilities: str = CAPABILITIES) -> bytes:
    """Return a server's advertisement of refs, given as ``<hash> <name>``."""
    first, *rest = refs
    service = make_pkt_line("# service=git-upload-pack") + b"0000"
    return service + make_pkt_line(f"{first}\0{capabilities}") + b"".join(map(make_pkt_line, rest)) + b"0000"


REFS = Refs.parse(
    make_advertisement(
        f"{A} HEAD",
        f"{B} refs/heads/dev/x",
        f"{A} refs/heads/trunk",
        f"{B} refs/heads/v2",
        f"{C} refs/pull/1/head",
        f"{TAG} refs/tags/v1",
        f"{B} refs/tags/v1^{{}}",
        f"{A} refs/tags/v2",
    ),
    URL,
)


@pytest.mark.parametrize(
    ("ref", "tip"),
    [
        ("", Tip("refs/heads/trunk", A)),
        ("trunk", Tip("refs/heads/trunk", A)),
        ("dev/x", Tip("refs/heads/dev/x", B)),
        ("v1", Tip("refs/tags/v1", B)),
        ("refs/tags/v2", Tip("refs/tags/v2", A)),
        ("refs/heads/v2", Tip("refs/heads/v2", B)),
        (B, Tip("refs/heads/dev/x", B)),
        (A[:7], Tip("refs/heads/trunk", A)),
    ],
)
def test_a_ref_is_found_by_any_of_its_names(ref: str, tip: Tip) -> None:
    assert REFS.find_tip(ref, URL) == tip


@pytest.mark.parametrize(
    "ref", ["nonsense", C, C[:10], TAG, A[:6], "refs/pull/1/head", "pull/1/head", "HEAD", "refs/heads/v1"]
)
def test_rejects_what_is_not_the_tip_of_a_branch_or_tag(ref: str) -> None:
    with pytest.raises(UnknownRefError, match="If it's a commit from a forked repo, please call") as caught:
        REFS.find_tip(ref, URL)
    assert caught.value.text.startswith(f"Cannot find {ref} in {URL}") and "dev/x, trunk, v1, v2" in caught.value.text
    assert isinstance(caught.value, (ValueError, FileNotFoundError)) and "skip_validation" in caught.value.fix


def test_a_name_that_is_both_is_the_branch_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tfimm_resolver"):
        assert REFS.find_tip("v2", URL) == Tip("refs/heads/v2", B)
        assert REFS.find_tip("v1", URL).ref == "refs/tags/v1"
    assert [record.getMessage() for record in caplog.records] == [f"{URL} has several refs named v2: using refs/heads/v2"]


def test_an_ambiguous_abbreviation_is_rejected() -> None:
    refs = Refs({"refs/heads/a": "abcdef0" + "1" * 33, "refs/heads/b": "abcdef0" + "2" * 33})
    with pytest.raises(UnknownRefError, match="is ambiguous"):
        refs.find_tip("abcdef0", URL)
    assert refs.find_tip("abcdef01", URL).ref == "refs/heads/a"


def test_a_repository_without_a_default_branch_names_its_branches() -> None:
    detached = Refs.parse(make_advertisement(f"{A} HEAD", f"{A} refs/heads/a", capabilities="agent=git"), URL)
    with pytest.raises(UnknownRefError, match="no default branch") as caught:
        detached.find_tip("", URL)
    assert caught.value.fix == "Name one: a."
    empty = Refs.parse(make_advertisement(f"{'0' * 40} capabilities^{{}}", capabilities="agent=git"), URL)
    with pytest.raises(UnknownRefError, match="is empty"):
        empty.find_tip("", URL)


@pytest.mark.parametrize(("limit", "most"), [("_LINES_MAX", 4), ("_NAMES_BYTES_MAX", 700)])
def test_an_advertisement_of_too_many_refs_is_refused(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_advertisement(f"{A} HEAD", f"{A} refs/heads/trunk")
    monkeypatch.setattr(github_refs, limit, most)
    with pytest.raises(FetchError, match=r"does not list its refs as git does: it has (over 4 lines|too many)"):
        Refs.parse(make_advertisement(f"{A} HEAD", *(f"{A} refs/heads/{number}" for number in range(9))), URL)
    monkeypatch.setattr(github_refs, limit, 5 if limit == "_LINES_MAX" else most)
    assert Refs.parse(data, URL).find_tip("", URL).commit == A


@pytest.mark.parametrize("name", ["a..b", "a~1", "-x", "a:b", "a\u202eb", "a//b", "a\x1b[2J", "x.", "~" * 5000])
def test_an_invalid_default_branch_is_the_hosts_mistake(name: str) -> None:
    sent = Refs({f"refs/heads/{name}": A}, f"refs/heads/{name}")
    with pytest.raises(FetchError, match="sent an invalid name for its default branch") as caught:
        sent.find_tip("", URL)
    assert not isinstance(caught.value, UnknownRefError) and URL in caught.value.text
    assert caught.value.text.isprintable() and len(caught.value.text) < 1000 and "Name a branch" in caught.value.fix


COMPLETE = make_advertisement(f"{A} HEAD", f"{A} refs/heads/trunk")


BROKEN = {
    "nothing": b"",
    "a page": b"<html>Log in",
    "an invalid length": b"0003",
    "no end": COMPLETE[:-4],
    "a cut line": COMPLETE[:-10],
    "rubbish behind it": COMPLETE + b"00zz",
    "too long a line": b"fff0" + COMPLETE,
    "another service": make_pkt_line("# service=git-receive-pack") + b"0000",
    "no service": COMPLETE.replace(b"# service", b"# Service"),
    "an invalid hash": COMPLETE.replace(A.encode(), b"x" * 40),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_rejects_an_incomplete_or_invalid_advertisement(data: bytes) -> None:
    with pytest.raises(FetchError, match="does not list its refs as git does") as caught:
        Refs.parse(data, URL)
    assert not isinstance(caught.value, UnknownRefError)
