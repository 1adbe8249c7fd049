"""Which names are refused, by themselves and beside others, without a disk."""

from __future__ import annotations

import pytest

from tests import hostile
from tfimm_resolver.archives.member_policy import MemberNamePolicy, quote_name, split_safe_path
from tfimm_resolver.errors import ArchiveError


def refused(*names: str) -> str:
    """The error's text, which is of the last name and of no earlier one."""
    told = MemberNamePolicy()
    for name in names[:-1]:
        told.parts(name, is_directory=False)
    with pytest.raises(ArchiveError) as caught:
        told.parts(names[-1], is_directory=False)
    return caught.value.text


@pytest.mark.parametrize("what", hostile.NAMES)
def test_refuses_a_name_that(what: str) -> None:
    name, told = hostile.NAMES[what]
    assert told in refused(name.replace("{outside}", "/tmp"))


@pytest.mark.parametrize("what", [what for what, (*_, told) in hostile.PAIRS.items() if told == hostile.CASE])
def test_refuses_a_name_that_in_other_words(what: str) -> None:
    one, other, told = hostile.PAIRS[what]
    assert told in refused(one, other)
    assert told in refused(other, one), "the order is no matter"


@pytest.mark.parametrize("what", hostile.ACCEPTED)
def test_takes(what: str) -> None:
    told = MemberNamePolicy()
    assert [told.parts(name, is_directory=False)[-1] for name in hostile.ACCEPTED[what]] == [
        name.rpartition("/")[2] for name in hostile.ACCEPTED[what]
    ]


def test_the_same_directory_may_be_named_again_and_in_paths() -> None:
    told = MemberNamePolicy()
    for name in ("d", "d/", "./d/x", "d//y", "d/x"):
        told.parts(name, is_directory=name.endswith(("d", "/")))
    assert told.count == 3


def test_a_collision_names_both_as_they_were_spelt() -> None:
    assert "'x/assets/b' stands where 'x/Assets' does" in refused("x/Assets/a", "x/assets/b")


def test_what_was_refused_is_not_known_afterwards() -> None:
    told = MemberNamePolicy()
    with pytest.raises(ArchiveError):
        told.parts("con", is_directory=False)
    assert told.count == 0
    with pytest.raises(ArchiveError, match="Windows"):
        told.parts("con", is_directory=False)


def test_counts_directories_that_stand_only_in_paths() -> None:
    told = MemberNamePolicy()
    told.parts("a/b/c", is_directory=False)
    told.parts("a/b/d", is_directory=True)
    assert told.count == 4


def test_the_target_itself_is_a_directory_and_no_file() -> None:
    told = MemberNamePolicy()
    for name in ("", ".", "./", "././/"):
        assert told.parts(name, is_directory=True) == split_safe_path(name) == ()
        assert hostile.NO_NAME in refused(name)
    assert hostile.NO_NAME in refused("a/") and hostile.NO_NAME in refused("a/.")


def test_refuses_bytes_that_are_no_utf_8() -> None:
    assert "not UTF-8" in refused(b"caf\xe9".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "name", ["../" + "x" * 10**6, "x/" * 10**5, "\u202e" * 10**6, "c:" + "x" * 10**6], ids=lambda name: name[:3]
)
def test_a_name_of_a_megabyte_does_not_fill_the_message(name: str) -> None:
    assert len(refused(name)) < 2500


@pytest.mark.timeout(10)
def test_a_megabyte_of_accents_out_of_order_takes_no_time() -> None:
    assert "over 255 bytes" in refused("a" + "\u0300\u0316" * 400_000)


@pytest.mark.parametrize("name", ["C:x", "a/C:x", "./c:", "a/b/Z:", "0:"])
def test_a_drive_is_refused_wherever_it_stands(name: str) -> None:
    with pytest.raises(ArchiveError, match="does not stay inside"):
        split_safe_path(name)


def test_a_short_name_is_shown_as_it_is() -> None:
    assert quote_name("a\u202eb") == "'a\\u202eb'"


@pytest.mark.parametrize("path", ["a//b", "/a", "./a", "a/./b", "a/.", "sub//etc/passwd", "a//"])
def test_a_listed_file_has_one_spelling(path: str) -> None:
    with pytest.raises(ArchiveError):
        MemberNamePolicy().listed_file(path)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")])
def test_a_listed_file_is_neither_twice_there_nor_a_directory(paths: tuple[str, str]) -> None:
    names = MemberNamePolicy()
    assert names.listed_file(paths[0]) == paths[0]
    with pytest.raises(ArchiveError, match="listed twice, or as a file and as a directory"):
        names.listed_file(paths[1])
    assert names.listed_file("c/d") == "c/d"
