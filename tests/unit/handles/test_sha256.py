"""Tests of ``handles.sha256``: the spellings of a digest, and what is none."""

from __future__ import annotations

import base64

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.sha256 import parse_sha256

DIGEST = bytes(range(224, 256))
PIN = DIGEST.hex()
BASE64 = base64.b64encode(DIGEST).decode()
URL_BASE64 = base64.urlsafe_b64encode(DIGEST).decode()
SPELLINGS = {
    "plain": PIN,
    "upper": PIN.upper(),
    "docker": f"sha256:{PIN}",
    "docker-upper": f"SHA256:{PIN.upper()}",
    "pip": f"sha256={PIN}",
    "nix": f"sha256-{BASE64}",
    "nix-urlsafe": f"sha256-{URL_BASE64}",
    "openssl": f"SHA-256={PIN}",
    "base64": BASE64,
    "blanks": f"\t{PIN}\n",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_digest_is_read(text: str) -> None:
    assert parse_sha256(text) == PIN
    assert Handle.parse("https://h/m.zip", sha256=text).sha256 == PIN
    assert Handle.parse(f"https://h/m.zip#sha256={text.strip()}").sha256 == PIN


@pytest.mark.parametrize("mark", [":", "=", "-"])
@pytest.mark.parametrize("name", ["sha256", "SHA256", "Sha-256"])
@pytest.mark.parametrize("digest", [PIN, PIN.upper(), BASE64], ids=["hex", "upper", "base64"])
def test_a_fragment_may_have_any_of_them(name: str, mark: str, digest: str) -> None:
    for handle in ("https://h/m.zip", "/a/m.zip", "gs://b/m.zip"):
        parsed = Handle.parse(f"{handle}#{name}{mark}{digest}&subdirectory=a")
        assert (parsed.text, parsed.sha256, parsed.subdirectory) == (handle, PIN, "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("abc", ""),
        (PIN[:-1], ""),
        (f"md5:{PIN}", ""),
        (f"sha256:{PIN[:-1]}z", ""),
        (f"{BASE64[:-2]}==", ""),
        (None, ""),
        (b"a", ""),
        ("d" * 32, "an md5"),
        ("D" * 40, "a sha1"),
        (f"sha256:{'d' * 128}", "a sha512"),
    ],
)
def test_anything_else_is_refused(text: object, words: str) -> None:
    with pytest.raises(HandleError, match="64 hexadecimal digits") as caught:
        parse_sha256(text)
    assert caught.value.fix.startswith(f"This looks like {words}" if words else "Copy all of its digits")


def test_a_name_with_a_similar_text_is_left_alone() -> None:
    for path in ("/a/#sha256:abc.zip", "/a/#sha256-sums/m.zip", f"/a#sha256:{PIN}.zip", f"/a/m@sha256:{PIN}"):
        assert Handle.parse(path).path == path


def test_a_digest_behind_an_at_sign_is_explained() -> None:
    with pytest.raises(HandleError, match="ends in @sha256:") as caught:
        Handle.parse(f"https://h/m.zip@sha256:{PIN}")
    assert f"#sha256={PIN}" in caught.value.fix
