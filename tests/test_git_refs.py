"""What git advertises, read; and which ref is meant."""

from __future__ import annotations

import logging

import pytest

from tfimm_resolver.errors import FetchError, UnknownRefError
from tfimm_resolver.sources.github_refs import Refs, Tip

A, B, C, TAG = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
PLACE = "https://github.com/ada/models"
ABILITIES = "multi_ack side-band-64k symref=HEAD:refs/heads/trunk agent=git/2.39.5"


def line(text: str) -> bytes:
    """A pkt-line."""
    return f"{len(text) + 5:04x}{text}\n".encode()


def advertisement(*refs: str, abilities: str = ABILITIES) -> bytes:
    """What a server says of such refs, ``<hash> <name>``."""
    first, *rest = refs
    service = line("# service=git-upload-pack") + b"0000"
    return service + line(f"{first}\0{abilities}") + b"".join(map(line, rest)) + b"0000"


REFS = Refs.parse(
    advertisement(
        f"{A} HEAD",
        f"{B} refs/heads/dev/x",
        f"{A} refs/heads/trunk",
        f"{B} refs/heads/v2",
        f"{C} refs/pull/1/head",
        f"{TAG} refs/tags/v1",
        f"{B} refs/tags/v1^{{}}",
        f"{A} refs/tags/v2",
    ),
    PLACE,
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
def test_means(ref: str, tip: Tip) -> None:
    assert REFS.tip(ref, PLACE) == tip


@pytest.mark.parametrize(
    "ref", ["nonsense", C, C[:10], TAG, A[:6], "refs/pull/1/head", "pull/1/head", "HEAD", "refs/heads/v1"]
)
def test_refuses_what_is_no_tip_of_a_branch_or_tag(ref: str) -> None:
    with pytest.raises(UnknownRefError, match="If it's a commit from a forked repo, please call") as caught:
        REFS.tip(ref, PLACE)
    assert caught.value.text.startswith(f"Cannot find {ref} in {PLACE}") and "dev/x, trunk, v1, v2" in caught.value.text
    assert isinstance(caught.value, (ValueError, FileNotFoundError)) and "skip_validation" in caught.value.fix


def test_a_name_that_is_both_is_the_branch_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tfimm_resolver"):
        assert REFS.tip("v2", PLACE) == Tip("refs/heads/v2", B)
        assert REFS.tip("v1", PLACE).ref == "refs/tags/v1"
    assert [record.getMessage() for record in caplog.records] == [f"{PLACE} has several refs v2: refs/heads/v2 is taken"]


def test_few_digits_that_mean_several_commits_are_refused() -> None:
    refs = Refs({"refs/heads/a": "abcdef0" + "1" * 33, "refs/heads/b": "abcdef0" + "2" * 33})
    with pytest.raises(UnknownRefError, match="may mean several commits"):
        refs.tip("abcdef0", PLACE)
    assert refs.tip("abcdef01", PLACE).ref == "refs/heads/a"


def test_a_repository_without_a_default_branch_names_its_branches() -> None:
    detached = Refs.parse(advertisement(f"{A} HEAD", f"{A} refs/heads/a", abilities="agent=git"), PLACE)
    with pytest.raises(UnknownRefError, match="no default branch") as caught:
        detached.tip("", PLACE)
    assert caught.value.fix == "Name one: a."
    empty = Refs.parse(advertisement(f"{'0' * 40} capabilities^{{}}", abilities="agent=git"), PLACE)
    with pytest.raises(UnknownRefError, match="is empty"):
        empty.tip("", PLACE)


WHOLE = advertisement(f"{A} HEAD", f"{A} refs/heads/trunk")


BROKEN = {
    "nothing": b"",
    "a page": b"<html>Log in",
    "a length that is none": b"0003",
    "no end": WHOLE[:-4],
    "a cut line": WHOLE[:-10],
    "rubbish behind it": WHOLE + b"00zz",
    "too long a line": b"fff0" + WHOLE,
    "another service": line("# service=git-receive-pack") + b"0000",
    "no service": WHOLE.replace(b"# service", b"# Service"),
    "a hash that is none": WHOLE.replace(A.encode(), b"x" * 40),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_refuses_what_is_no_whole_advertisement(data: bytes) -> None:
    with pytest.raises(FetchError, match="does not list its refs as git does") as caught:
        Refs.parse(data, PLACE)
    assert not isinstance(caught.value, UnknownRefError)
