"""Turns names from outside into path components: they stay below the target, and mean the same on every platform."""

from __future__ import annotations

import functools
import re

from tfimm_resolver.errors import ArchiveError, HandleError

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
            ArchiveError: as ``safe_parts`` does; if a file's name is empty or ends like a directory's; if a component
                is too long, not valid Unicode, contains invisible characters, or is not allowed on Windows; if another
                name differs from it only in case or Unicode normalization.
        """
        parts = safe_parts(name, is_directory=is_directory)
        parent = 0
        for depth, part in enumerate(parts):
            _check_length(part, name)
            key = (parent, _fold_case(part))
            known, parent = self._known.get(key) or self._add(key, part, name)
            if known != part:
                other = "/".join((*parts[:depth], known))
                raise ArchiveError(
                    f"member {quote_name(name)} collides with {quote_name(other)}: "
                    "the names differ only in case or Unicode normalization"
                )
        return parts

    def validate_listed_file(self, path: str) -> tuple[str, ...]:
        """Return the components of a file's path from the listing of a store.

        Raises:
            ArchiveError: as ``validate`` does; if the path has another spelling, or was listed before as a file or a
                directory.
        """
        parts = safe_parts(path, is_canonical=True)
        self.validate(path, is_directory=False)
        parents = {path[:end] for end, character in enumerate(path) if character == "/"}
        if path in self._listed or path in self._parents or not parents.isdisjoint(self._listed):
            raise ArchiveError(f"member {quote_name(path)} is listed twice, or as a file and as a directory")
        self._listed.add(path)
        self._parents |= parents
        return parts

    def _add(self, key: tuple[int, str], part: str, name: str) -> tuple[str, int]:
        _check_portable(part, name)
        self.count += 1
        self._known[key] = part, self.count
        return part, self.count


def safe_parts(name: str, *, is_directory: bool = False, is_canonical: bool = False) -> tuple[str, ...]:
    """Return the components of a name from outside, a relative path that stays below its directory.

    This is the only way from such a name to a path. Join the result, never ``name``: what is checked is what is joined.

    Args:
        name: the name in an archive, a bundle, a record or the listing of a store, with ``/``.
        is_directory: it names a directory, and may end in ``/`` or be empty, for the target itself.
        is_canonical: it must have no empty and no ``.`` component, as stores and records have one spelling for each file.
            Otherwise ``a//b`` means ``a/b``, as in an archive.

    Raises:
        ArchiveError: if it is absolute, contains ``..``, a control character, a backslash or a drive letter, or is nested
            too deeply; if it is a file, and has the name of a directory; if it is not canonical, but has to be.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH_MAX:
        raise ArchiveError(f"member {quote_name(name)} is nested {len(parts)} directories deep; {_DEPTH_MAX} are allowed")
    if name.startswith("/") or ".." in parts or _UNSAFE_PATH.search(name):
        raise ArchiveError(f"member {quote_name(name)} does not stay inside the model's directory")
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


def quote_name(name: str) -> str:
    """Quote a name for an error message, truncated so that a name of a megabyte does not fill it."""
    return repr(name) if len(name) <= _QUOTED_CHARACTERS_MAX else f"{name[:_QUOTED_CHARACTERS_MAX]!r}..."


def _check_length(part: str, name: str) -> None:
    if len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES_MAX:
        raise ArchiveError(
            f"member {quote_name(name)} has a path component of over {_PART_BYTES_MAX} bytes, "
            "which file systems do not support"
        )


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
    import unicodedata  # a library of 1 MB, which a hit does not load

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())
