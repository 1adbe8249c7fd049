"""Pins: which archives match, and what the error says about those that do not."""

from __future__ import annotations

import pytest

from tfimm_resolver.errors import IntegrityError
from tfimm_resolver.handles.pin import NO_PIN, Pin
from tfimm_resolver.manifest import Origin

RIGHT, WRONG, HANDLE = "a" * 64, "b" * 64, "https://h/m.tar.gz"


@pytest.mark.parametrize(
    ("pin", "sha256", "expected"),
    [
        (NO_PIN, RIGHT, True),
        (NO_PIN, "", True),
        (Pin(RIGHT), RIGHT, True),
        (Pin(RIGHT), WRONG, False),
        (Pin(RIGHT), "", False),  # it may match, but that is not known
    ],
)
def test_which_archives_are_known_to_match(pin: Pin, sha256: str, expected: bool) -> None:
    assert pin.is_known_to_match(Origin(sha256=sha256)) is expected


@pytest.mark.parametrize(
    ("pin", "origin"),
    [
        (NO_PIN, Origin(sha256=WRONG, size_bytes=7)),
        (Pin(RIGHT, 7), Origin(sha256=RIGHT, size_bytes=7)),
        (Pin(RIGHT, 7), Origin()),  # what is not recorded is not compared
        (Pin(size_bytes=7), Origin(sha256=WRONG)),
    ],
)
def test_a_cached_model_that_may_match_is_accepted(pin: Pin, origin: Origin) -> None:
    pin.check_cached(origin, HANDLE)


def test_a_cached_model_of_another_hash_is_an_error_with_both_hashes_and_a_way_out() -> None:
    with pytest.raises(IntegrityError, match=f"cached {WRONG}\n  pinned {RIGHT}") as caught:
        Pin(RIGHT).check_cached(Origin(sha256=WRONG), HANDLE)
    assert HANDLE in caught.value.text and "refresh=True" in caught.value.fix and "--refresh" in caught.value.advice.command


def test_a_cached_model_of_another_size_is_an_error_with_both_sizes() -> None:
    with pytest.raises(IntegrityError, match="cached 8 bytes\n  pinned 7 bytes"):
        Pin(RIGHT, 7).check_cached(Origin(sha256=RIGHT, size_bytes=8), HANDLE)


@pytest.mark.parametrize("sha256", [WRONG, ""])
def test_a_download_must_be_known_to_match(sha256: str) -> None:
    with pytest.raises(IntegrityError, match=f"pinned   {RIGHT}") as caught:
        Pin(RIGHT).check_received(Origin(sha256=sha256), HANDLE)
    assert "The download was discarded" in caught.value.fix


def test_a_matching_download_is_accepted() -> None:
    Pin(RIGHT).check_received(Origin(sha256=RIGHT), HANDLE)
    NO_PIN.check_received(Origin(), HANDLE)


def test_an_error_does_not_show_the_secrets_of_the_handle() -> None:
    with pytest.raises(IntegrityError) as caught:
        Pin(RIGHT).check_received(Origin(sha256=WRONG), "https://ada:hunter22@h/m?sig=hunter22")
    assert "hunter22" not in str(caught.value)
