"""Ownership checks: which files and directories other users can have written, and guarded reads of shared ones."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from tfimm_resolver._util.fs import find_status, open_regular
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError

_HAS_OWNERS = hasattr(os, "geteuid")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_owned_by_user(status: os.stat_result) -> bool:
    """Whether the effective user, as whom files are created, owns the file."""
    return not _HAS_OWNERS or status.st_uid == os.geteuid()


def is_own_or_root(status: os.stat_result) -> bool:
    """Whether the file belongs to this user, to root, or to the user who became root by sudo."""
    if not _HAS_OWNERS or status.st_uid in (0, os.geteuid()):
        return True
    return os.geteuid() == 0 and os.environ.get("SUDO_UID") == str(status.st_uid)


def is_private_dir(status: os.stat_result) -> bool:
    """Whether it is a directory, not a link to one, that this user owns and only this user, not even a group, can write."""
    return stat.S_ISDIR(status.st_mode) and is_owned_by_user(status) and not (_HAS_OWNERS and status.st_mode & _OTHERS_WRITE)


def is_private_or_missing(path: str, create_mode: int | None = None) -> bool:
    """Whether ``path`` is a private directory or does not exist; ``create_mode`` creates a missing one if possible."""
    status = find_status(path)
    if status is None and create_mode is not None:
        with contextlib.suppress(OSError):  # the disk is read-only, or another user was faster
            os.mkdir(path, create_mode)
        status = find_status(path)
    return status is None or is_private_dir(status)


def is_trusted(path: str, status: os.stat_result) -> bool:
    """Whether this user or root owns the path, it is not a link, and no other user can write it.

    ``status`` is the path's, from lstat or fstat.
    """
    if stat.S_ISLNK(status.st_mode):
        return False
    return not _HAS_OWNERS or (status.st_uid in (0, os.geteuid()) and not _others_write(path, status))


def is_writable_by_others(path: str, status: os.stat_result) -> bool:
    """Whether a user other than the owner and root can write the path, which is not a link; ``status`` is the path's."""
    return _HAS_OWNERS and _others_write(path, status)


class UntrustedFileError(OSError):
    """The file is a link, or a user other than this one and root can write it."""


def describe(path: str, status: os.stat_result) -> str:
    """Return a message fragment that names the owner and mode of a path."""
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a symbolic link"
    try:
        import pwd

        owner = f"{pwd.getpwuid(status.st_uid).pw_name} (uid {status.st_uid})"
    except (ImportError, KeyError):
        owner = f"uid {status.st_uid}"
    return f"{path} belongs to {owner} and has the mode {stat.S_IMODE(status.st_mode):04o}"


def check_tree(tree: str, fix: str) -> None:
    """Check that a directory and everything below it is trusted, and is either a directory or a regular file.

    Raises:
        CacheError: for the first path that is not.
        OSError: if the directory cannot be walked.
    """
    _check_entry(tree, fix)
    for folder, below, names in os.walk(tree, onerror=_raise):
        for name in (*below, *names):
            _check_entry(f"{folder}/{name}", fix)


def restrict_tree(tree: str, mode: int) -> None:
    """Remove other users' write permission below a directory of this user, then set the directory's own mode.

    Setting it last lets the directory be one that only its owner can enter until then. On mounts that show the same mode
    for every file, nothing is changed.
    """
    inside = [f"{folder}/{name}" for folder, below, names in os.walk(tree) for name in (*below, *names)]
    for path, new_mode in [*((path, os.stat(path).st_mode & 0o755) for path in inside), (tree, mode)]:
        if stat.S_IMODE(os.stat(path).st_mode) != new_mode:
            os.chmod(path, new_mode)


class Guard:
    """Guards reads in directories, given outermost first, so that nothing another user can have put there is used.

    A directory found to be this user's stays so if its parent is not writable by others, or is sticky, like /tmp: there,
    only the owner can rename it. In any other parent it can be swapped at any moment, so its identity is checked before and
    after each read, and a read during which it changed is discarded. Such parents are accepted because containers mount
    volumes with mode 0777 that have a single user. No check here can protect a returned path from being swapped later;
    that takes a parent that is sticky or belongs to the user.
    """

    __slots__ = ("_check_files", "_directories", "_fix", "_trust_root_user")

    def __init__(self, *directories: str, fix: str, trust_root_user: bool = False, check_files: bool = False) -> None:
        """``trust_root_user`` also accepts directories of root and of the user's own group; ``fix`` is advice in errors.

        ``check_files`` makes ``open`` reject files that are not trusted.
        """
        self._directories, self._fix, self._trust_root_user = directories, fix, trust_root_user
        self._check_files = check_files

    def check(self) -> tuple[int, int] | None:
        """Return device and inode of the innermost directory, or None if any of the directories is missing.

        Raises:
            CacheError: if one of them is a link, belongs to another user, or can be written by one.
        """
        status = None
        for path in self._directories:
            status = find_status(path)
            if status is None:
                return None
            if not self._is_safe(path, status):
                raise CacheError(
                    f"{describe(path, status)}: its contents may be another user's", fix=self._get_fix(path, status)
                )
        return None if status is None else (status.st_dev, status.st_ino)

    @contextlib.contextmanager
    def reading(self) -> Iterator[bool]:
        """Guard a read: yield whether the directories exist; if they do not, nothing may be read.

        Raises:
            CacheError: as ``check`` does, before and after the read, or if a directory was swapped meanwhile.
        """
        before = self.check()
        yield before is not None
        if before is not None and self.check() != before:
            raise CacheError(
                f"{self._directories[-1]} was replaced by another directory while it was being read",
                fix=f"Try again. {self._fix}",
            )

    def open(self, path: str, flags: int) -> int:
        """Open a regular file in the directories, as an ``opener`` of the built-in ``open``.

        Raises:
            UntrustedFileError: if files are checked and it is not trusted, even if it cannot be opened.
            OSError: as ``open_regular`` does.
        """
        try:
            descriptor = open_regular(path, flags)
        except OSError as error:
            status = find_status(path)
            if self._check_files and status is not None and not is_trusted(path, status):
                raise UntrustedFileError(error.errno, "Not trusted", path) from error
            raise
        if self._check_files and not is_trusted(path, os.fstat(descriptor)):
            os.close(descriptor)
            raise UntrustedFileError(errno.EPERM, "Not trusted", path)
        return descriptor

    def create(self, mode: int) -> None:
        """Create the missing directories with ``mode``, less what the umask takes away.

        Raises:
            CacheError: as ``check`` does.
            OSError: if one cannot be created.
        """
        os.makedirs(os.path.dirname(self._directories[0]), exist_ok=True)
        for path in self._directories:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode)
        if self.check() is None:
            raise FileNotFoundError(errno.ENOENT, "removed while it was being created", self._directories[-1])

    def _is_safe(self, path: str, status: os.stat_result) -> bool:
        if self._trust_root_user:
            return stat.S_ISDIR(status.st_mode) and is_trusted(path, status)
        return is_private_dir(status)

    def _get_fix(self, path: str, status: os.stat_result) -> str:
        if stat.S_ISDIR(status.st_mode) and is_owned_by_user(status):
            return f"Check its contents, then run: chmod go-w {show(path)}. Or: {self._fix}"
        return self._fix


def _others_write(path: str, status: os.stat_result) -> bool:
    """Whether a user other than the owner and root can write the path.

    Distributions that give each user a private group have a umask of 002, so a writable group may have only that user in
    it. That is assumed only if the group has the user's name, is the user's primary group, and neither the group's member
    list nor another account's primary group adds a member. Without the check of the name, a group in a directory service
    that does not list members (LDAP, usually) would look empty. Where an ACL exists, the group bits are its mask and say
    nothing about the users that it names.
    """
    if not status.st_mode & stat.S_IWOTH and status.st_mode & stat.S_IWGRP:
        return not _is_own_group(status.st_gid) or _has_acl(path)
    return bool(status.st_mode & stat.S_IWOTH)


def _is_own_group(gid: int) -> bool:
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:  # without an entry, its members are unknown
        return False
    is_users_group = user.pw_gid == gid and group.gr_name == user.pw_name
    return (
        is_users_group
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
        raise CacheError(f"{describe(path, status)}: it is not used", fix=fix)
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise CacheError(f"{show(path)} is neither a file nor a directory: it is not used", fix=fix)


def _raise(error: OSError) -> None:
    raise error
