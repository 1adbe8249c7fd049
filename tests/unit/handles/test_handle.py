"""Parsing of handles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver import resolve
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle

PIN = "ab" * 32


@pytest.mark.parametrize(
    "text", ["", "  ", "a\0b", "https://h/a\nb", "https://", "gs://", "file://elsewhere/x", "file://", "https://h/m#x"]
)
def test_rejects_a_text_without_a_host_or_path(text: str) -> None:
    with pytest.raises(HandleError):
        Handle.parse(text)


@pytest.mark.parametrize("text", [b"https://h/m", 7, None, ["https://h/m"]])
def test_rejects_what_is_not_text(text: object) -> None:
    with pytest.raises(HandleError, match="a handle is a str or a path"):
        Handle.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "variant",
    [
        "https://tfhub.dev/google/nnlm/2/",
        "HTTPS://tfhub.dev/google/nnlm/2",
        "https://TFHUB.dev/google/nnlm/2",
        "https://tfhub.dev/google/nnlm/2?tf-hub-format=compressed",
        "https://tfhub.dev/google/nnlm/2/?tf-hub-format=uncompressed",
        f"https://tfhub.dev/google/nnlm/2#sha256={PIN}",
    ],
)
def test_spelling_variants_share_the_key_that_tensorflow_hub_would_use(variant: str) -> None:
    assert Handle.parse(variant).key == "https://tfhub.dev/google/nnlm/2"


@pytest.mark.parametrize(
    "other", ["https://tfhub.dev/Google/nnlm/2", "http://tfhub.dev/google/nnlm/2", "https://tfhub.dev/google/nnlm/2?a=b"]
)
def test_possibly_different_models_have_different_keys(other: str) -> None:
    assert Handle.parse(other).key == other


def test_the_owner_of_another_scheme_keeps_its_case() -> None:
    assert Handle.parse("hf://Owner/Model").key == "hf://Owner/Model"


def test_a_pin_is_read_from_the_fragment_and_from_the_argument() -> None:
    assert Handle.parse(f"https://h/m#sha256={PIN.upper()}").sha256 == PIN
    assert Handle.parse("https://h/m", sha256=PIN).sha256 == PIN
    assert Handle.parse(f"/a/b.tar.gz#sha256={PIN}").path == "/a/b.tar.gz"


def test_rejects_a_pin_that_is_not_a_hash_or_contradicts_the_other() -> None:
    with pytest.raises(HandleError, match="64 hexadecimal digits"):
        Handle.parse("https://h/m", sha256="abc")
    with pytest.raises(HandleError, match="64 hexadecimal digits"):
        Handle.parse("https://h/m#sha256=" + "z" * 64)
    with pytest.raises(HandleError, match="another sha256"):
        Handle.parse(f"https://h/m#sha256={PIN}", sha256="cd" * 32)


def test_the_text_of_a_handle_contains_neither_credentials_nor_query() -> None:
    handle = Handle.parse("https://user:secret@h/m.tar.gz?X-Goog-Signature=secret")
    assert str(handle) == "https://h/m.tar.gz?…"
    assert "secret" in handle.url()


@pytest.mark.parametrize(
    "text",
    ["https://user:secret@h/m\n?sig=secret", "https:///m?sig=secret", "http://[/?sig=secret", "https://h/m?sig=secret#x"],
)
def test_the_error_for_a_malformed_handle_does_not_show_its_secrets(text: str) -> None:
    with pytest.raises(HandleError) as caught:
        Handle.parse(text)
    assert "secret" not in str(caught.value)


def test_the_url_to_request_has_the_format_in_addition_to_the_query() -> None:
    assert Handle.parse("https://h/m/1/").url(tf_hub_format="compressed") == "https://h/m/1?tf-hub-format=compressed"
    assert Handle.parse("https://h/m?a=b").url(tf_hub_format="compressed") == "https://h/m?a=b&tf-hub-format=compressed"


@pytest.mark.parametrize(
    ("text", "is_name"), [("resnet18", True), ("..", False), ("a/b", False), ("./a", False), ("gs://a/b", False)]
)
def test_a_name_is_a_bare_word(text: str, is_name: bool) -> None:
    assert Handle.parse(text).is_name is is_name


def test_a_path_object_and_a_file_url_are_paths() -> None:
    assert Handle.parse(Path("/a/b")).path == "/a/b"
    assert Handle.parse("file:///a/b%20c").path == "/a/b c"
    assert Handle.parse("file://localhost/a").path == "/a"


BLANKS = (" {} ", "\t{}\n", "{}\r\n", "\xa0{}", "\u200b{}\ufeff", "\u3000{}")


@pytest.mark.parametrize("form", BLANKS)
@pytest.mark.parametrize("text", ["https://h/m.tar.gz", "resnet18", "/data/m", f"https://h/m#sha256={PIN}"])
def test_blanks_around_a_pasted_handle_are_removed(form: str, text: str) -> None:
    assert Handle.parse(form.format(text)) == Handle.parse(text)


def test_the_name_of_an_existing_file_and_a_path_object_keep_their_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / " m ").mkdir()
    assert Handle.parse(" m ").path == " m "
    assert Handle.parse(" n ").path == "n"
    assert Handle.parse(Path(" n ")).path == " n "


UNSEEN = ("\x80", "\x85", "\x9b", "\xad", "\u061c", "\u200b", "\u200e", "\u202e", "\u2028", "\u2066", "\ufeff", "\U000e0041")


@pytest.mark.parametrize("character", UNSEEN, ids=lambda character: f"U+{ord(character):04X}")
@pytest.mark.parametrize(
    "form",
    [
        "https://h{}x/m",
        "https://h/m{}m.zip",
        "https://h/m.zip?a={}b",
        "https://u:{}p@h/m",
        "gs://b/{}m",
        "hf://ada/m{}m",
        "zoo://{}m",
        "kaggle://ada/m{}x/f/v",
        "ram://a{}m",
    ],
)
def test_a_character_that_is_not_seen_is_refused_in_a_url_and_named(form: str, character: str) -> None:
    with pytest.raises(HandleError) as caught:
        Handle.parse(form.format(character))
    assert f"U+{ord(character):04X}" in str(caught.value) and character not in str(caught.value)


@pytest.mark.parametrize("character", UNSEEN, ids=lambda character: f"U+{ord(character):04X}")
def test_a_local_path_may_have_one(character: str, tmp_path: Path) -> None:
    (tmp_path / f"a{character}m").mkdir()
    for text in (f"{tmp_path}/a{character}m", (tmp_path / f"a{character}m").as_uri()):
        assert resolve(text) == f"{tmp_path}/a{character}m"


@pytest.mark.parametrize(
    "text",
    [
        "https://h/\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "gs://b/\U0001f3f3\ufe0f\u200d\U0001f308",
        "https://h/gr\xf6\xdfe",
    ],
)
def test_scripts_and_emoji_that_need_one_are_accepted(text: str) -> None:
    assert Handle.parse(text).text == text


@pytest.mark.parametrize("text", ["a\nb", " a\tb ", "https://h/a\r\nb"])
def test_control_characters_inside_stay_an_error(text: str) -> None:
    with pytest.raises(HandleError, match="contains the character"):
        Handle.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://::1/m", "IPv6 address without brackets"),
        ("http://::1:8000/m.tar.gz", "IPv6 address without brackets"),
        ("http://ada:secret@fe80::1/m", "IPv6 address without brackets"),
        ("https://https://h/m?sig=secret", "two schemes"),
        ("http://https://h/m", "two schemes"),
    ],
)
def test_a_host_that_is_an_unbracketed_address_or_a_scheme_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(HandleError, match=reason) as caught:
        Handle.parse(text)
    assert caught.value.fix.startswith("Write http") and "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://[::1]/m", "http://[::1]:8000/m", "http://ada:pass@h:80/m", "https://h:443/m"])
def test_bracketed_addresses_and_ports_are_valid(text: str) -> None:
    assert Handle.parse(text).path == "/m"


def test_a_handle_of_many_kilobytes_is_refused_without_being_shown() -> None:
    with pytest.raises(HandleError, match=r"the handle has 20019 characters; 16384 are allowed") as caught:
        Handle.parse("https://host/m.tgz?" + "a" * 20_000)
    assert len(str(caught.value)) < 300
