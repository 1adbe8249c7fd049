"""Which member names are refused, by themselves and next to others; nothing is written."""

from __future__ import annotations

import pytest

from tests.fakes import hostile
from tfimm_resolver.archives.member_policy import (
    MemberNamePolicy,
    check_subdirectory,
    find_unportable,
    is_litter,
    quote_name,
    safe_parts,
)
from tfimm_resolver.errors import ArchiveError, HandleError, UnsupportedMemberError


def get_refusal(*names: str) -> str:
    """Return the text of the error for the last name; the names before it must be accepted."""
    policy = MemberNamePolicy()
    for name in names[:-1]:
        policy.validate(name, is_directory=False)
    with pytest.raises(ArchiveError) as caught:
        policy.validate(names[-1], is_directory=False)
    return caught.value.text


@pytest.mark.parametrize("what", hostile.NAMES)
def test_refuses_a_name_that(what: str) -> None:
    name, words = hostile.NAMES[what]
    assert words in get_refusal(name.replace("{outside}", "/tmp"))


@pytest.mark.parametrize("name", hostile.ONLY_WINDOWS_REFUSES)
def test_what_windows_does_not_allow_is_refused_only_there(name: str) -> None:
    assert MemberNamePolicy(is_windows=False).validate(name, is_directory=False) == safe_parts(name)
    with pytest.raises(ArchiveError, match=r"Windows does not allow|does not stay inside"):
        MemberNamePolicy(is_windows=True).validate(name, is_directory=False)


@pytest.mark.parametrize("what", hostile.SAME_BUT_FOR_CASE)
def test_names_that_differ_only_in_case_are_left_to_the_file_system(what: str) -> None:
    one, other = hostile.SAME_BUT_FOR_CASE[what]
    for names in ((one, other), (other, one)):
        policy = MemberNamePolicy()
        assert [policy.validate(name, is_directory=False) for name in names] == [safe_parts(name) for name in names]
        assert find_unportable(names) == [names[1]]


def test_finds_names_that_not_every_system_can_hold() -> None:
    portable = ["a", "b/c", "b/d", "e.txt", "com10"]
    assert find_unportable([*portable, *hostile.ONLY_WINDOWS_REFUSES]) == [*hostile.ONLY_WINDOWS_REFUSES]
    assert find_unportable(portable) == []


@pytest.mark.parametrize("name", ["._", "._a", "._.", "__MACOSX", ".DS_Store"])
def test_recognizes_what_macos_adds(name: str) -> None:
    assert is_litter(name)
    assert not is_litter(name[1:]) and not is_litter(f"a{name}")


@pytest.mark.parametrize("what", hostile.ACCEPTED)
def test_accepts(what: str) -> None:
    policy = MemberNamePolicy()
    assert [policy.validate(name, is_directory=False)[-1] for name in hostile.ACCEPTED[what]] == [
        name.rpartition("/")[2] for name in hostile.ACCEPTED[what]
    ]


def test_the_same_directory_may_occur_again_and_in_paths() -> None:
    policy = MemberNamePolicy()
    for name in ("d", "d/", "./d/x", "d//y", "d/x"):
        policy.validate(name, is_directory=name.endswith(("d", "/")))
    assert policy.count == 3


def test_a_refused_name_is_not_remembered() -> None:
    policy = MemberNamePolicy()
    for _ in range(2):
        with pytest.raises(ArchiveError, match="invisible"):
            policy.validate("a\u202eb", is_directory=False)
        assert policy.count == 0


def test_counts_directories_that_occur_only_in_paths() -> None:
    policy = MemberNamePolicy()
    policy.validate("a/b/c", is_directory=False)
    policy.validate("a/b/d", is_directory=True)
    assert policy.count == 4


def test_the_target_itself_is_a_directory_and_not_a_file() -> None:
    policy = MemberNamePolicy()
    for name in ("", ".", "./", "././/"):
        assert policy.validate(name, is_directory=True) == safe_parts(name, is_directory=True) == ()
        assert hostile.DIRECTORY_NAME in get_refusal(name)
    assert hostile.DIRECTORY_NAME in get_refusal("a/") and hostile.DIRECTORY_NAME in get_refusal("a/.")


def test_refuses_bytes_that_are_not_utf_8() -> None:
    assert "not UTF-8" in get_refusal(b"caf\xe9".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "name", ["../" + "x" * 10**6, "x/" * 10**5, "\u202e" * 10**6, "c:" + "x" * 10**6], ids=lambda name: name[:3]
)
def test_a_name_of_a_megabyte_does_not_fill_the_message(name: str) -> None:
    assert len(get_refusal(name)) < 2500


@pytest.mark.timeout(10)
def test_a_megabyte_of_accents_out_of_order_takes_no_time() -> None:
    assert "over 255 bytes" in get_refusal("a" + "\u0300\u0316" * 400_000)


@pytest.mark.parametrize("name", ["C:x", "a/C:x", "./c:", "a/b/Z:", "0:"])
def test_a_drive_is_refused_on_windows_wherever_it_occurs(name: str) -> None:
    with pytest.raises(ArchiveError, match="does not stay inside"):
        safe_parts(name, is_windows=True)
    assert safe_parts(name, is_windows=False)


@pytest.mark.parametrize("name", ["C:/x", "z:/"])
def test_a_path_on_a_drive_is_refused_everywhere(name: str) -> None:
    with pytest.raises(ArchiveError, match="does not stay inside"):
        safe_parts(name, is_directory=True, is_windows=False)


def test_a_short_name_is_quoted_in_full() -> None:
    assert quote_name("a\u202eb") == "'a\\u202eb'"


@pytest.mark.parametrize("path", ["a//b", "/a", "./a", "a/./b", "a/.", "sub//etc/passwd", "a//"])
def test_a_listed_file_has_one_spelling(path: str) -> None:
    with pytest.raises(ArchiveError):
        MemberNamePolicy().validate_listed_file(path)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")])
def test_a_listed_file_occurs_once_and_is_not_a_directory(paths: tuple[str, str]) -> None:
    policy = MemberNamePolicy()
    assert policy.validate_listed_file(paths[0]) == tuple(paths[0].split("/"))
    with pytest.raises(ArchiveError, match="listed twice, or as a file and as a directory"):
        policy.validate_listed_file(paths[1])
    assert policy.validate_listed_file("c/d") == ("c", "d")


@pytest.mark.parametrize(
    ("text", "directory"), [("export/1", "export/1"), ("./a//b/", "a/b"), (".", "."), ("./", "."), ("é", "é")]
)
def test_a_chosen_directory_has_one_spelling(text: str, directory: str) -> None:
    assert check_subdirectory(text) == directory


@pytest.mark.parametrize("text", ["", "/a", "..", "a/../b", "a\\b", "c:/a", "a\0b", "a/" * 101])
def test_a_chosen_directory_stays_inside_the_model(text: str) -> None:
    with pytest.raises(HandleError, match="does not name a directory of the model"):
        check_subdirectory(text)


@pytest.mark.parametrize("name", ["a/b:c", "d/Z:", "x:y"])
def test_a_drive_is_left_out_of_a_repository_on_windows(name: str) -> None:
    with pytest.raises(UnsupportedMemberError, match="does not stay inside"):
        MemberNamePolicy(is_windows=True).validate(name, is_directory=False)


@pytest.mark.parametrize("name", ["C:/x", "../x", "/x", "a\\b"])
def test_what_leaves_the_directory_is_refused_everywhere(name: str) -> None:
    for is_windows in (False, True):
        with pytest.raises(ArchiveError, match="does not stay inside") as caught:
            MemberNamePolicy(is_windows=is_windows).validate(name, is_directory=False)
        assert type(caught.value) is ArchiveError


def test_the_names_of_all_members_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.archives.member_policy.NAMES_BYTES_MAX", 1000)
    policy = MemberNamePolicy()
    for number in range(4):
        policy.validate(f"{number}" + "é" * 124, is_directory=False)
    with pytest.raises(ArchiveError, match="the names of its members have over 1000 bytes together"):
        policy.validate("the last", is_directory=False)
