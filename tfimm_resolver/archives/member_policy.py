"""Turns names from outside into path components: they stay below the target, and show what they are.

A name that only some systems cannot hold is refused where that is this system, or by the file system when it is written.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from tfimm_resolver._util.fs import IS_WINDOWS
from tfimm_resolver.errors import ArchiveError, HandleError, UnsupportedMemberError

_DEPTH_MAX = 100
_PART_BYTES_MAX = 255  # also keeps normalization fast: sorting combining marks takes quadratic time
NAMES_BYTES_MAX = 16 << 20
"""Limit on the names of all members, each with its directories, which are in memory at once and then in the model's record."""

_QUOTED_CHARACTERS_MAX = 300
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:/")
_DRIVE = re.compile(r"(^|/)[^/]:")
"""Where Windows takes the start of a component for a drive; on other systems only a path that begins with one is refused."""
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


Skip = Callable[[UnsupportedMemberError], None]
"""Notes a member that is left out."""


class MemberNamePolicy:
    """Validates the names of one archive.

    Attributes:
        count: how many files and directories they create, including directories that occur only in paths.
    """

    def __init__(self, *, is_windows: bool = IS_WINDOWS) -> None:
        """``is_windows``: refuse what Windows cannot hold."""
        self.count = 0
        self._is_windows = is_windows
        # Maps the number of the parent directory and a name to its own number.
        # Full paths are not stored: a member a hundred directories deep would need a hundred strings.
        self._known: dict[tuple[int, str], int] = {}
        self._names_bytes = 0
        # Names with invisible characters, by the number of the parent and what is seen of them.
        self._partly_seen: dict[tuple[int, str], str] = {}
        self._listed: set[str] = set()
        self._parents: set[str] = set()

    def validate(self, name: str, *, is_directory: bool) -> tuple[str, ...]:
        """Return the components of a member's path; the same path twice is allowed here and left to the file system.

        Raises:
            ArchiveError: as ``safe_parts`` does.
            UnsupportedMemberError: if a component is too long, not valid Unicode, or not allowed on this system; if another
                name differs from it only in invisible characters.
        """
        parts = safe_parts(name, is_directory=is_directory, is_windows=self._is_windows)
        self._names_bytes += len(name.encode("utf-8", "surrogatepass"))
        if self._names_bytes > NAMES_BYTES_MAX:
            raise ArchiveError(f"the names of its members have over {NAMES_BYTES_MAX} bytes together")
        parent = 0
        for part in parts:
            if (number := self._known.get((parent, part))) is None:
                self._check_part(part, name)
                self._check_alike(parent, part, name)
                self.count += 1
                number = self._known[parent, part] = self.count
            parent = number
        return parts

    def validate_listed_file(self, path: str) -> tuple[str, ...]:
        """Return the components of a file's path from the listing of a store.

        Raises:
            ArchiveError: as ``validate`` does; if the path has another spelling, or was listed before as a file or a
                directory.
        """
        parts = safe_parts(path, is_canonical=True, is_windows=self._is_windows)
        self.validate(path, is_directory=False)
        parents = {path[:end] for end, character in enumerate(path) if character == "/"}
        if path in self._listed or path in self._parents or not parents.isdisjoint(self._listed):
            raise ArchiveError(f"member {quote_name(path)} is listed twice, or as a file and as a directory")
        self._listed.add(path)
        self._parents |= parents
        return parts

    def _check_part(self, part: str, name: str) -> None:
        if len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES_MAX:
            raise UnsupportedMemberError(
                f"member {quote_name(name)} has a path component of over {_PART_BYTES_MAX} bytes, "
                "which file systems do not support"
            )
        if _LONE_SURROGATE.search(part):
            raise UnsupportedMemberError(f"member {quote_name(name)} has a name that is not UTF-8")
        if self._is_windows and not _is_allowed_on_windows(part):
            raise UnsupportedMemberError(f"member {quote_name(name)} has a name that Windows does not allow")

    def _check_alike(self, parent: int, part: str, name: str) -> None:
        """Raise UnsupportedMemberError if another name in the same directory differs only in invisible characters."""
        if part.isascii() and not self._partly_seen:
            return
        from tfimm_resolver._util.lookalikes import make_skeleton

        seen = make_skeleton(part)
        other = self._partly_seen.get((parent, seen))
        if other is None and seen != part and (parent, seen) in self._known:
            other = seen
        if other is not None:
            raise UnsupportedMemberError(
                f"member {quote_name(name)} looks like another one, {other!a}: they differ only in invisible characters"
            )
        if seen != part:
            self._partly_seen[parent, seen] = part


def find_unportable(paths: Iterable[str]) -> list[str]:
    """Return the paths that not every system can hold.

    These are names that Windows does not allow, and names that differ from an earlier one only in case or Unicode
    normalization.
    """
    found, first_paths = [], dict[str, str]()
    for path in paths:
        parts = path.split("/")
        tops = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        is_ambiguous = any(first_paths.setdefault(_fold_case(top), top) != top for top in tops)
        if is_ambiguous or not all(map(_is_allowed_on_windows, parts)):
            found.append(path)
    return found


def safe_parts(
    name: str, *, is_directory: bool = False, is_canonical: bool = False, is_windows: bool = IS_WINDOWS
) -> tuple[str, ...]:
    """Return the components of a name from outside, a relative path that stays below its directory.

    This is the only way from such a name to a path. Join the result, never ``name``: what is checked is what is joined.

    Args:
        name: the name in an archive, a bundle, a record or the listing of a store, with ``/``.
        is_directory: it names a directory, and may end in ``/`` or be empty, for the target itself.
        is_canonical: it must have no empty and no ``.`` component, as stores and records have one spelling for each file.
            Otherwise ``a//b`` means ``a/b``, as in an archive.
        is_windows: refuse a drive letter in any component.

    Raises:
        ArchiveError: if it is absolute, contains ``..``, a control character or a backslash, begins with a drive, or is
            nested too deeply; if it is a file, and has the name of a directory; if it is not canonical, but has to be.
        UnsupportedMemberError: if it contains invisible characters, or a drive on Windows.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH_MAX:
        raise ArchiveError(f"member {quote_name(name)} is nested {len(parts)} directories deep; {_DEPTH_MAX} are allowed")
    is_outside = name.startswith("/") or ".." in parts or _UNSAFE_PATH.search(name)
    if is_outside or (is_windows and _DRIVE.search(name)):
        kind = ArchiveError if is_outside else UnsupportedMemberError
        raise kind(f"member {quote_name(name)} does not stay inside the model's directory")
    if not name.isascii():
        from tfimm_resolver._util.lookalikes import find_unseen  # tables that few names need

        if any(map(find_unseen, parts)):
            raise UnsupportedMemberError(f"member {quote_name(name)} contains an invisible or bidirectional control character")
    if not is_directory and (not parts or name.endswith(("/", "/."))):
        raise ArchiveError(f"member {quote_name(name)} is a file, but has the name of a directory")
    if is_canonical and "/".join(parts) != name:
        raise ArchiveError(f"member {quote_name(name)} is not in canonical form: it has an empty or `.` path component")
    return parts


def check_subdirectory(text: str) -> str:
    """Return the canonical path of a directory that a handle or a models file chooses; ``.`` for the top of the model.

    Raises:
        HandleError: if it is empty, or does not stay inside the model, as for ``safe_parts``.
    """
    try:
        if not text:
            raise ArchiveError("it is empty")
        return "/".join(safe_parts(text, is_directory=True)) or "."
    except ArchiveError as error:
        raise HandleError(
            f"the subdirectory {quote_name(text)} does not name a directory of the model: {error.text}",
            fix="Write its path relative to the top of the model, such as export/1.",
        ) from error


def join_safely(folder: str, name: str) -> str:
    """Return the path of a file below ``folder``, whose canonical name comes from outside; raises as ``safe_parts``."""
    return f"{folder}/{_join_parts(name)}"


@functools.lru_cache(maxsize=1024)  # each hit joins the names of all files of a model
def _join_parts(name: str) -> str:
    return "/".join(safe_parts(name, is_canonical=True))


def is_litter(name: str) -> bool:
    """Whether this is what macOS adds to archives beside a file or folder, at the top."""
    return name.startswith("._") or name in ("__MACOSX", ".DS_Store")


def quote_name(name: str) -> str:
    """Quote a name for an error message, truncated so that a name of a megabyte does not fill it."""
    return repr(name) if len(name) <= _QUOTED_CHARACTERS_MAX else f"{name[:_QUOTED_CHARACTERS_MAX]!r}..."


def _is_allowed_on_windows(part: str) -> bool:
    return not (_NOT_ON_WINDOWS.search(part) or _DEVICES.fullmatch(part.partition(".")[0].rstrip(" ")))


def _fold_case(part: str) -> str:
    """Return a key that is equal for all spellings that a file system may treat as one name (Unicode 3.13, D145)."""
    import unicodedata  # a library of 1 MB, which a hit does not load

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())
