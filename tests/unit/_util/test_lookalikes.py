"""Invisible characters in names: refused where they do nothing, accepted where a script or an emoji needs them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.fakes.archives import member, tar_of, zip_of
from tfimm_resolver._util.lookalikes import find_unseen, make_skeleton
from tfimm_resolver.archives.member_policy import MemberNamePolicy, safe_parts
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError, UnsupportedMemberError

UNSEEN = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x180F, 0x200B, 0x200C, 0x200D, 0x200E, 0x202E),
    *(0x2060, 0x2061, 0x2064, 0x2065, 0x206A, 0x206F, 0x2066, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0, 0xFFF9, 0xFFFB),
    *(0x1BCA0, 0x1D173, 0xE0000, 0xE0001, 0xE0020, 0xE0041, 0xE007F, 0xE0100, 0xE01EF, 0xE0FFF, 0x80, 0x85, 0x9B),
)
BLANKS = (0xA0, 0x2000, 0x2003, 0x200A, 0x202F, 0x205F, 0x2800, 0x3000)
LEGITIMATE = {
    "Persian": "می\u200cخواهم.txt",
    "Persian, after a letter that does not join": "برادر\u200cها",
    "Hindi": "क्\u200dष",
    "Bengali": "র\u200d্য",
    "Khmer with breaks": "សួស្តី\u200bពិភពលោក",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180e\u1820",
    "Japanese variant": "葛\U000e0100飾",
    "Hebrew": "א\u034fב",
    "a family": "👨\u200d👩\u200d👧.png",
    "a heart on fire": "❤\ufe0f\u200d🔥",
    "a flag": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a keycap": "1\ufe0f\u20e3 first.md",
    "copyright": "©\ufe0f",
    "French": "prix 5\u202f€",
    "a screenshot": "Screenshot at 10.30.15\u202fAM.png",
    "no special character": "模型 é 🙂",
}
ALIKE = (
    ("❤", "❤\ufe0f"),
    ("می\u200cخواهم", "می\u200c\u200cخواهم"),
    ("دا\u200cده", "داده"),
    ("葛", "葛\U000e0100"),
    ("👨\u200d👩", "👨\u200d\u200d👩"),
    ("র\u200d্য", "র\u200d\u200d্য"),
    ("👨\u200d👩", "👨\ufe0f\u200d👩"),
    ("सूची", "सूची\u200d"),
    ("सू\u200cची", "सूची"),
    ("模型", "模型\u200b"),
    ("សួ\u200bស្តី", "សួស្តី"),
    *((f"a{chr(blank)}b", "a b") for blank in BLANKS),
    ("a\u00a0b", "a\u202fb"),
)
DISTINCT = (
    ("می\u200cخواهم", "میخواهم"),
    ("क्\u200dष", "क्ष"),
    ("👨\u200d👩\u200d👧", "👨👩👧"),
    (
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ),
    ("🏴", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),
    ("a b", "ab"),
    ("e", "é"),
)


@pytest.mark.parametrize("code", UNSEEN, ids=hex)
def test_refuses_what_does_nothing(code: int) -> None:
    for pattern in ("saved_model{}.pb", "{}saved_model.pb", "saved_model.pb{}", "{}", "é{}", "П{}", "d/a{}/x"):
        with pytest.raises(UnsupportedMemberError, match="invisible") as caught:
            safe_parts(pattern.format(chr(code)))
        assert caught.value.text.isprintable()


@pytest.mark.parametrize("code", [0xAD, 0x115F, 0x200E, 0x202E, 0x2060, 0x3164, 0xFEFF, 0xFFA0, 0xE0001, 0x85], ids=hex)
def test_refuses_what_does_nothing_in_any_script(code: int) -> None:
    for pattern in ("模型{}", "م{}م", "א{}", "🙂{}"):
        with pytest.raises(UnsupportedMemberError, match="invisible"):
            safe_parts(pattern.format(chr(code)))


@pytest.mark.parametrize("what", LEGITIMATE)
def test_accepts_what_a_script_needs(what: str) -> None:
    name = LEGITIMATE[what]
    assert find_unseen(name) is None
    assert safe_parts(f"d/{name}", is_canonical=True) == MemberNamePolicy().validate_listed_file(f"d/{name}") == ("d", name)


@pytest.mark.parametrize("name", ["\U0001f3f4\U000e0067\U000e0062", "👍\U000e0067\U000e007f", "模型\U000e0041"], ids=ascii)
def test_tags_belong_to_flags_only(name: str) -> None:
    assert find_unseen(name) is not None


@pytest.mark.parametrize("pair", ALIKE, ids=ascii)
@pytest.mark.parametrize("folder", ["", "d/é/"])
def test_refuses_two_names_that_look_alike(pair: tuple[str, str], folder: str) -> None:
    for one, other in (pair, pair[::-1]):
        policy = MemberNamePolicy()
        policy.validate(folder + one, is_directory=False)
        with pytest.raises(UnsupportedMemberError, match="looks like another one") as caught:
            policy.validate(folder + other, is_directory=False)
        assert caught.value.text.isprintable()
        policy.validate(f"other/{other}", is_directory=False)


@pytest.mark.parametrize("pair", DISTINCT, ids=ascii)
def test_accepts_two_names_that_look_different(pair: tuple[str, str]) -> None:
    for names in (pair, pair[::-1]):
        policy = MemberNamePolicy()
        assert [policy.validate(name, is_directory=False) for name in names] == [(name,) for name in names]


def test_the_same_name_again_is_no_lookalike() -> None:
    policy = MemberNamePolicy()
    for _ in range(2):
        assert policy.validate("❤\ufe0f/x", is_directory=False) == ("❤\ufe0f", "x")
    assert policy.count == 2


@pytest.mark.timeout(10)
def test_a_long_name_takes_no_time() -> None:
    for character in ("\u200d", "م\u200c", "🏴\U000e0067", "1\ufe0f", "❤\ufe0f\u200d"):
        make_skeleton("❤" + character * 60)
        find_unseen("م" + character * 300_000)


@pytest.mark.parametrize(
    "pack", [zip_of, lambda files: tar_of(*(member(*file) for file in files.items()))], ids=["zip", "tar"]
)
@pytest.mark.parametrize("name", ["saved_model\u200b.pb", "saved_model.pb\ufe0f", "assets\u2060/x", "\u3164"], ids=ascii)
def test_an_archive_with_such_a_name_is_refused(pack, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ArchiveError, match="invisible"):
        unpack(io.BytesIO(pack({"saved_model.pb": b"x", name: b"y"})), tmp_path)
