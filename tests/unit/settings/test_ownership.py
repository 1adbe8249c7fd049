"""Which files count as writable by this user only, and guarded reads where others may have planted files."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tfimm_resolver._util import fs
from tfimm_resolver._util.fs import NotRegularError, open_regular
from tfimm_resolver.errors import CacheError
from tfimm_resolver.settings import ownership
from tfimm_resolver.settings.ownership import Guard

ANOTHER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def is_trusted(path: Path) -> bool:
    """Whether ``ownership.is_trusted`` accepts a path in its current state."""
    return ownership.is_trusted(str(path), os.lstat(path))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("put", "error"),
    [
        (os.mkfifo, NotRegularError),
        (os.mkdir, IsADirectoryError),
        (lambda path: os.symlink("real", path), OSError),
        (lambda path: None, FileNotFoundError),
    ],
    ids=["pipe", "directory", "link", "nothing"],
)
def test_only_a_regular_file_is_opened_without_blocking(
    put: Callable[[Path], None], error: type[OSError], tmp_path: Path
) -> None:
    (tmp_path / "real").write_bytes(b"real")
    put(tmp_path / "it")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(error):
        open_regular(tmp_path / "it")
    assert not before or len(os.listdir("/proc/self/fd")) == before, "a rejected file is closed"


def test_a_link_is_followed_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"real")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "device").symlink_to("/dev/zero")
    with open(tmp_path / "link", "rb", opener=fs.open_regular_target) as file:
        assert file.read() == b"real"
    with pytest.raises(NotRegularError):
        fs.open_regular_target(str(tmp_path / "device"), os.O_RDONLY)


def test_a_file_that_only_this_user_can_write_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    for mode, trusted in ((0o644, True), (0o400, True), (0o646, False), (0o666, False)):
        (tmp_path / "file").chmod(mode)
        assert is_trusted(tmp_path / "file") is trusted, oct(mode)
    (tmp_path / "file").chmod(0o644)
    assert not is_trusted(tmp_path / "link")
    as_on_macos = os.stat_result((stat.S_IFLNK | 0o755, *os.lstat(tmp_path / "link")[1:]))
    assert not ownership.is_trusted("", as_on_macos), "links have their own modes there"


def test_a_private_directory_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("folder")
    found = [ownership.is_private_dir(os.lstat(tmp_path / name)) for name in ("folder", "file", "link")]
    assert found == [True, False, False]


@needs_root
def test_a_file_of_root_is_trusted_and_one_of_another_user_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    status = os.lstat(tmp_path / "file")
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER)
    assert ownership.is_trusted(str(tmp_path / "file"), status) and not ownership.is_owned_by_user(status)
    os.chown(tmp_path / "file", ANOTHER + 1, ANOTHER)
    assert not is_trusted(tmp_path / "file")


@needs_root
@pytest.mark.parametrize("case", ["own", "unknown", "primary of another", "listed", "other name", "not primary"])
def test_a_group_that_can_write_is_trusted_only_if_it_is_the_users_own(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distributions with a umask of 002 give each user a group with their name and no other member."""
    gid, user = 70001, pwd.getpwuid(0)
    group = grp.struct_group(("root", "x", gid, ["root"] if case == "own" else []))
    if case == "listed":
        group = grp.struct_group(("root", "x", gid, ["root", "bob"]))
    elif case == "other name":
        group = grp.struct_group(("users", "x", gid, []))
    fields = [*user]
    fields[3] = gid + (case == "not primary")
    own = pwd.struct_passwd(fields)
    bob = pwd.struct_passwd(("bob", "x", ANOTHER, gid if case == "primary of another" else ANOTHER, "", "/", "/bin/sh"))

    def find_group(number: int) -> grp.struct_group:
        if case == "unknown" or number != gid:
            raise KeyError(number)
        return group

    monkeypatch.setattr(grp, "getgrgid", find_group)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: own)
    monkeypatch.setattr(pwd, "getpwall", lambda: [own, bob])
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 0, gid)
    (tmp_path / "file").chmod(0o664)
    assert is_trusted(tmp_path / "file") is (case == "own")


def test_an_acl_that_names_another_user_is_not_taken_for_the_users_own_group(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    nobody = 0xFFFFFFFF
    entries = ((1, 6, nobody), (2, 6, ANOTHER), (4, 4, nobody), (16, 6, nobody), (32, 4, nobody))  # owner, user, group, mask
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except (AttributeError, OSError):
        pytest.skip("the file system of the tests has no ACLs")
    assert stat.S_IMODE(path.stat().st_mode) == 0o664 and not is_trusted(path)


def test_a_guard_reports_missing_directories(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer/inner"
    guard = Guard(str(outer), str(inner), fix="")
    seen = []
    for make in (lambda: None, lambda: outer.mkdir(mode=0o700), lambda: inner.mkdir(mode=0o700)):
        make()
        with guard.reading() as is_there:
            seen.append(is_there)
    assert seen == [False, False, True]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_directories_that_a_guard_creates_are_private_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    directories = [tmp_path / "shared/outer", tmp_path / "shared/outer/inner"]
    before = os.umask(umask)
    try:
        Guard(*map(str, directories), fix="").create(0o755)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in directories] == [0o755 & ~umask] * 2
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o777 & ~umask, "parents keep the default mode"


@pytest.mark.parametrize("what", ["link", "file", "open to all", "outer is open"])
def test_a_guard_names_the_problem_and_the_fix(what: str, tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer/inner"
    outer.mkdir(mode=0o755)
    (tmp_path / "elsewhere").mkdir()
    if what == "link":
        inner.symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        inner.write_text("")
    else:
        inner.mkdir(mode=0o755)
        (inner if what == "open to all" else outer).chmod(0o777)
    guard = Guard(str(outer), str(inner), fix="Set PLACE.")
    for attempt in (guard.check, lambda: guard.create(0o755), lambda: guard.reading().__enter__()):
        with pytest.raises(CacheError) as caught:
            attempt()
        wrong = outer if what == "outer is open" else inner
        assert caught.value.text.startswith(f"{wrong} ") and "Set PLACE." in caught.value.fix
        assert ("mode 0777" in caught.value.text) == (f"chmod go-w {wrong}" in caught.value.fix) == ("open" in what)


@pytest.mark.parametrize("what", ["swapped", "removed", "opened"])
def test_a_directory_that_was_swapped_during_the_read_is_an_error(what: str, tmp_path: Path) -> None:
    directory, other = tmp_path / "place", tmp_path / "other"
    for folder in (directory, other):
        folder.mkdir(mode=0o700)

    def read() -> None:
        with Guard(str(directory), fix="").reading():
            if what == "opened":
                directory.chmod(0o777)
            else:
                directory.rename(tmp_path / "gone")
            if what == "swapped":
                other.rename(directory)

    with pytest.raises(CacheError, match="another user's" if what == "opened" else "was replaced by another directory"):
        read()


def test_a_tree_is_checked_completely(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/code.py").write_text("")
    ownership.check_tree(str(tree), "")
    for inner in ("", "a", "a/b", "a/b/code.py"):
        mode = (tree / inner).stat().st_mode
        (tree / inner).chmod(mode | 0o002)
        with pytest.raises(CacheError, match="it is not used"):
            ownership.check_tree(str(tree), "")
        (tree / inner).chmod(mode)
    for put in (lambda path: path.symlink_to("a"), lambda path: path.symlink_to("a/b/code.py"), os.mkfifo):
        put(tree / "a/it")
        with pytest.raises(CacheError, match="it is not used"):
            ownership.check_tree(str(tree), "")
        (tree / "a/it").unlink()
    ownership.check_tree(str(tree), "")
