"""Which files and directories only this user, or root, can have written; and how to open what others may have put there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from tfimm_resolver._util.fs import find_status
from tfimm_resolver.errors import CacheError

_HAS_OWNERS = hasattr(os, "geteuid")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_ours(status: os.stat_result) -> bool:
    """Whether this user owns it; files are created as the effective user."""
    return not _HAS_OWNERS or status.st_uid == os.geteuid()


def is_private_dir(status: os.stat_result) -> bool:
    """Whether it is a directory, not a link to one, of this user's in which nobody else can write, not even their group."""
    return stat.S_ISDIR(status.st_mode) and is_ours(status) and not (_HAS_OWNERS and status.st_mode & _OTHERS_WRITE)


def is_private_or_missing(path: str, create_mode: int | None = None) -> bool:
    """Whether it is a private directory, or nothing; with a mode, a missing one is made if that is possible."""
    status = find_status(path)
    if status is None and create_mode is not None:
        with contextlib.suppress(OSError):  # a disk that cannot be written, or another user was quicker
            os.mkdir(path, create_mode)
        status = find_status(path)
    return status is None or is_private_dir(status)


def is_trusted(path: str, status: os.stat_result) -> bool:
    """Whether it is this user's or root's, no link, and no other user can write it.

    ``status`` is that of the path, by lstat or fstat.
    """
    if stat.S_ISLNK(status.st_mode):
        return False
    return not _HAS_OWNERS or (status.st_uid in (0, os.geteuid()) and not _others_write(path, status))


def describe(path: str, status: os.stat_result) -> str:
    """Whose it is and who can write it, for a message."""
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a symbolic link"
    try:
        import pwd

        owner = f"{pwd.getpwuid(status.st_uid).pw_name} (uid {status.st_uid})"
    except (ImportError, KeyError):
        owner = f"uid {status.st_uid}"
    return f"{path} belongs to {owner} and has the mode {stat.S_IMODE(status.st_mode):04o}"


def check_tree(tree: str, fix: str) -> None:
    """See that a directory, and all that lies below it, is trusted, and that there are only directories and regular files.

    Raises:
        CacheError: if not; it names the first one that is not.
        OSError: if it cannot be looked through.
    """
    _check_entry(tree, fix)
    for folder, below, names in os.walk(tree, onerror=_raise):
        for name in (*below, *names):
            _check_entry(f"{folder}/{name}", fix)


def restrict_tree(tree: str, mode: int) -> None:
    """Take from other users what a umask would let them do below a directory of ours; then give itself that mode.

    Until then it can be one that only its owner can enter. Where a mount shows all with the same modes, none is changed.
    """
    inside = [f"{folder}/{name}" for folder, below, names in os.walk(tree) for name in (*below, *names)]
    for path, wanted in [*((path, os.stat(path).st_mode & 0o755) for path in inside), (tree, mode)]:
        if stat.S_IMODE(os.stat(path).st_mode) != wanted:
            os.chmod(path, wanted)


class Guard:
    """Directories, the outer one first, in which nothing is read that another user can have put there.

    A directory that was found to be ours stays so in a parent that other users cannot write, or that is sticky, like /tmp:
    only its owner can rename it there. In any other parent it can be exchanged at each moment. So it is looked at before
    and after each read, and where it is another one by then, the read counts for nothing. Such a parent is not refused:
    containers mount volumes with the mode 0777 in which there is only one user. Nor can any check here protect a path that
    was returned from being exchanged later; for that, the parent has to be sticky, or the user's own.
    """

    __slots__ = ("_directories", "_fix", "_is_roots_trusted")

    def __init__(self, *directories: str, fix: str, is_roots_trusted: bool = False) -> None:
        """``is_roots_trusted`` accepts root's directories and the user's own group, too; ``fix`` is for messages."""
        self._directories, self._fix, self._is_roots_trusted = directories, fix, is_roots_trusted

    def check(self) -> tuple[int, int] | None:
        """Which directory the innermost is, by device and inode; None if one of them is missing.

        Raises:
            CacheError: if one of them is another user's, a link, or can be written by another user.
        """
        status = None
        for path in self._directories:
            status = find_status(path)
            if status is None:
                return None
            if not self._is_safe(path, status):
                raise CacheError(
                    f"{describe(path, status)}: what lies there may be another user's", fix=self._remedy(path, status)
                )
        return None if status is None else (status.st_dev, status.st_ino)

    @contextlib.contextmanager
    def reading(self) -> Iterator[bool]:
        """While something is read there; gives whether they exist: where not, nothing may be read.

        Raises:
            CacheError: as ``check`` does, before and after.
        """
        before = self.check()
        yield before is not None
        if before is not None and self.check() != before:
            raise CacheError(f"{self._directories[-1]} was exchanged while it was read", fix=f"Try again. {self._fix}")

    def make(self, mode: int) -> None:
        """Make those that are missing, with at most that mode whatever the umask; raises as ``check`` does, and OSError."""
        os.makedirs(os.path.dirname(self._directories[0]), exist_ok=True)
        for path in self._directories:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode)
        if self.check() is None:
            raise FileNotFoundError(errno.ENOENT, "removed while it was made", self._directories[-1])

    def _is_safe(self, path: str, status: os.stat_result) -> bool:
        if self._is_roots_trusted:
            return stat.S_ISDIR(status.st_mode) and is_trusted(path, status)
        return is_private_dir(status)

    def _remedy(self, path: str, status: os.stat_result) -> str:
        if stat.S_ISDIR(status.st_mode) and is_ours(status):
            return f"Look at what lies there, then chmod go-w {path}. Or: {self._fix}"
        return self._fix


def _others_write(path: str, status: os.stat_result) -> bool:
    """Whether a user other than its owner and root can write it.

    Distributions that give each user a group of their own have a umask of 002, so a group that can write may be nobody
    else's. It counts as that only if all of this says so: the group has the user's name, it is their primary one, and
    neither the group's list nor another account has another member. Without the first, a directory of accounts that does
    not list its members (LDAP, as a rule) would look empty. Where an ACL exists the group's bits are its mask, and say
    nothing of the users that it names.
    """
    if not status.st_mode & stat.S_IWOTH and status.st_mode & stat.S_IWGRP:
        return not _is_own_group(status.st_gid) or _has_acl(path)
    return bool(status.st_mode & stat.S_IWOTH)


def _is_own_group(gid: int) -> bool:
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:  # without an entry nothing is known of its members
        return False
    is_named_so = user.pw_gid == gid and group.gr_name == user.pw_name
    return (
        is_named_so
        and {*group.gr_mem} <= {user.pw_name}
        and not any(other.pw_gid == gid and other.pw_uid != user.pw_uid for other in pwd.getpwall())
    )


def _has_acl(path: str) -> bool:
    if not hasattr(os, "getxattr"):
        return False
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except OSError:  # ENODATA, or a file system without ACLs
        return False


def _check_entry(path: str, fix: str) -> None:
    status = os.lstat(path)
    if not is_trusted(path, status):
        raise CacheError(f"{describe(path, status)}: nothing is run from there", fix=fix)
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise CacheError(f"{path} is neither a file nor a directory: nothing is run from there", fix=fix)


def _raise(error: OSError) -> None:
    raise error
