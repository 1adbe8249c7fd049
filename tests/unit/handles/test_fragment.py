"""Tests of ``handles.fragment``: what may follow a handle."""

from __future__ import annotations

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.fragment import format_subdirectory, has_own_fragment, split_fragment
from tfimm_resolver.handles.handle import Handle

PIN = "ab" * 32
URL = "https://h/m.tar.gz"


@pytest.mark.parametrize(
    ("fragment", "sha256", "subdirectory"),
    [
        ("", None, ""),
        (f"#sha256={PIN.upper()}", PIN, ""),
        ("#subdirectory=export/1", None, "export/1"),
        (f"#sha256={PIN}&subdirectory=export/1", PIN, "export/1"),
        (f"#subdirectory=export/1&sha256={PIN}", PIN, "export/1"),
        ("#subdirectory=a%20b%2F1%26%25%C3%A9", None, "a b/1&%é"),
        ("#subdirectory=a=b#c", None, "a=b#c"),
    ],
)
@pytest.mark.parametrize("text", [URL, "/a/b.zip", "name", "hf://o/m@v1", "file:///a%20b", "gs://b/m", "https://h/m?a=b"])
def test_a_fragment_has_a_pin_and_a_subdirectory(text: str, fragment: str, sha256: str | None, subdirectory: str) -> None:
    assert split_fragment(text + fragment) == (text, sha256, subdirectory)
    handle, plain = Handle.parse(text + fragment), Handle.parse(text)
    assert (handle.sha256, handle.subdirectory) == (sha256, subdirectory)
    assert (handle.text, handle.key, str(handle)) == (plain.text, plain.key, str(plain))


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        ("#subdirectory=", "is empty"),
        ("#subdirectory=a&subdirectory=b", "subdirectory twice"),
        (f"#sha256={PIN}&sha256={PIN}", "sha256 twice"),
        ("#subdirectory=a&egg=b", "cannot have 'egg=b'"),
        (f"#sha256={PIN}&", "cannot have ''"),
        ("#subdirectory=%ff", "UTF-8"),
        ("#sha256=abc&subdirectory=a", "64 hexadecimal digits"),
        ("#egg=a&subdirectory=b", "has a fragment"),
        ("#Subdirectory=a", "has a fragment"),
    ],
)
def test_any_other_fragment_of_a_url_is_an_error(fragment: str, reason: str) -> None:
    with pytest.raises(HandleError, match=reason):
        Handle.parse(URL + fragment)


@pytest.mark.parametrize("text", [f"#sha256={PIN}", "#subdirectory=a", "  #subdirectory=a"])
def test_a_fragment_alone_is_not_a_handle(text: str) -> None:
    with pytest.raises(HandleError, match="the handle is empty"):
        Handle.parse(text)


@pytest.mark.parametrize("directory", ["export/1", "a b/é&%#", "a=b"])
def test_a_formatted_subdirectory_is_parsed_as_it_was(directory: str) -> None:
    assert Handle.parse(URL + format_subdirectory(directory)).subdirectory == directory
    assert format_subdirectory("export/Servo/1") == "#subdirectory=export/Servo/1"


def test_a_debugger_shows_the_subdirectory() -> None:
    assert "subdirectory='export/1'" in repr(Handle.parse(f"{URL}#subdirectory=export/1"))


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", False),
        ("#part", False),
        ("#sha256", False),
        ("#sha256=xyz", True),
        ("#sha256=", True),
        ("#subdirectory=", True),
        (f"#sha256:{PIN}&x=y", True),
    ],
)
def test_a_fragment_of_this_package_is_recognized_even_if_it_is_not_valid(fragment: str, expected: bool) -> None:
    assert has_own_fragment(URL + fragment) is expected
