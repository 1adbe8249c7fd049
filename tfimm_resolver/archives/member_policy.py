"""Validates the names of archive members: they stay below the target, and mean the same on every platform."""

from __future__ import annotations

import re
import unicodedata

from tfimm_resolver.errors import ArchiveError

_DEPTH_MAX = 100
_PART_BYTES_MAX = 255  # also keeps normalization fast: sorting combining marks takes quadratic time
_QUOTED_CHARACTERS_MAX = 300
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f\\]|(^|/)[^/]:")
# Directional marks make a name look like another one; line separators and C1 controls forge lines on a terminal.
_INVISIBLE = re.compile(r"[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


class MemberNamePolicy:
    """Validates the names of one archive, each by itself and against those before it.

    Attributes:
        count: how many files and directories they create, including directories that occur only in paths.
    """

    def __init__(self) -> None:
        self.count = 0
        # Maps the number of the parent directory and the case-folded name to the name as first spelled and its own number.
        # Full paths are not stored: a member a hundred directories deep would need a hundred strings.
        self._known: dict[tuple[int, str], tuple[str, int]] = {}
        self._listed: set[str] = set()
        self._parents: set[str] = set()

    def validate(self, name: str, *, is_directory: bool) -> tuple[str, ...]:
        """Return the components of a member's path; the same path twice is allowed here and left to the file system.

        Raises:
            ArchiveError: as ``split_safe_path`` does; if a file's name is empty or ends like a directory's; if a component
                is too long, not valid Unicode, contains invisible characters, or is not allowed on Windows; if another
                name differs from it only in case or Unicode normalization.
        """
        parts = split_safe_path(name)
        if not is_directory and (not parts or name.endswith(("/", "/."))):
            raise ArchiveError(f"member {quote_name(name)} is a file, but has the name of a directory")
        parent = 0
        for depth, part in enumerate(parts):
            if len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES_MAX:
                raise ArchiveError(
                    f"member {quote_name(name)} has a path component of over {_PART_BYTES_MAX} bytes, "
                    "which file systems do not support"
                )
            key = (parent, _fold_case(part))
            known, parent = self._known.get(key) or self._add(key, part, name)
            if known != part:
                other = "/".join((*parts[:depth], known))
                raise ArchiveError(
                    f"member {quote_name(name)} collides with {quote_name(other)}: "
                    "the names differ only in case or Unicode normalization"
                )
        return parts

    def validate_listed_file(self, path: str) -> str:
        """Return a file's path from the listing of a store, checked as ``validate`` does; it is safe to join unchanged.

        A store has one spelling for each file. Another one, such as ``a//b`` or ``./a``, would be checked in one form
        and joined in another, which is how ``folder//etc/passwd`` becomes ``/etc/passwd`` below its folder.

        Raises:
            ArchiveError: as ``validate`` does; if the path has another spelling, or was listed before as a file or a
                directory.
        """
        parts = self.validate(path, is_directory=False)
        if "/".join(parts) != path:
            raise ArchiveError(f"member {quote_name(path)} is not in canonical form: it has an empty or `.` path component")
        parents = {path[:end] for end, character in enumerate(path) if character == "/"}
        if path in self._listed or path in self._parents or not parents.isdisjoint(self._listed):
            raise ArchiveError(f"member {quote_name(path)} is listed twice, or as a file and as a directory")
        self._listed.add(path)
        self._parents |= parents
        return path

    def _add(self, key: tuple[int, str], part: str, name: str) -> tuple[str, int]:
        _check_portable(part, name)
        self.count += 1
        self._known[key] = part, self.count
        return part, self.count


def split_safe_path(name: str) -> tuple[str, ...]:
    """Return the components of an untrusted relative path that stays below its directory.

    Raises:
        ArchiveError: if it is absolute, contains ``..``, a control character, a backslash or a drive letter, or is nested
            too deeply.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH_MAX:
        raise ArchiveError(f"member {quote_name(name)} is nested {len(parts)} directories deep; {_DEPTH_MAX} are allowed")
    if name.startswith("/") or ".." in parts or _UNSAFE_PATH.search(name):
        raise ArchiveError(f"member {quote_name(name)} does not stay inside the model's directory")
    return parts


def quote_name(name: str) -> str:
    """Quote a name for an error message, truncated so that a name of a megabyte does not fill it."""
    return repr(name) if len(name) <= _QUOTED_CHARACTERS_MAX else f"{name[:_QUOTED_CHARACTERS_MAX]!r}..."


def _check_portable(part: str, name: str) -> None:
    """Raise ArchiveError for what some platform does not support, on every platform: caches are copied between them."""
    if _INVISIBLE.search(part):
        raise ArchiveError(f"member {quote_name(name)} contains an invisible or bidirectional control character")
    if _LONE_SURROGATE.search(part):
        raise ArchiveError(f"member {quote_name(name)} has a name that is not UTF-8")
    if _NOT_ON_WINDOWS.search(part) or _DEVICES.fullmatch(part.partition(".")[0].rstrip(" ")):
        raise ArchiveError(f"member {quote_name(name)} has a name that Windows does not allow")


def _fold_case(part: str) -> str:
    """Return a key that is equal for all spellings that a file system may treat as one name (Unicode 3.13, D145)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())
