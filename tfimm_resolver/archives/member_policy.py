"""Which names an archive's members may bear: such as stay where they are put, and mean the same on every disk."""

from __future__ import annotations

import re
import unicodedata

from tfimm_resolver.errors import ArchiveError

_DEPTH_MAX = 100
_PART_BYTES_MAX = 255  # and so few that sorting their accents, which takes the square of their number, is no matter
_SHOWN_CHARACTERS = 300
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f\\]|(^|/)[^/]:")
# Left to right marks and the like make a name look like another; line ends and C1 controls forge lines of a terminal.
_INVISIBLE = re.compile(r"[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


class MemberNamePolicy:
    """The names of one archive, each judged by itself and beside those before it.

    Attributes:
        count: how many files and directories they make, those that stand only in another's path included.
    """

    def __init__(self) -> None:
        self.count = 0
        # By the number of the directory and the folded name: the name as it was first spelt, and its own number.
        # No whole paths: of a member a hundred directories deep they would be a hundred strings.
        self._known: dict[tuple[int, str], tuple[str, int]] = {}
        self._listed: set[str] = set()
        self._parents: set[str] = set()

    def parts(self, name: str, *, is_directory: bool) -> tuple[str, ...]:
        """The parts of a member's path. The same one a second time is no matter here: the disk sees to that.

        Raises:
            ArchiveError: as ``inside`` does; if a file's name is empty or ends like a directory's; if a part is too long,
                is no Unicode, holds marks that nobody sees, or is none that Windows can hold; if another one differs from
                it in nothing but case or Unicode form.
        """
        parts = split_safe_path(name)
        if not is_directory and (not parts or name.endswith(("/", "/."))):
            raise ArchiveError(f"member {quote_name(name)} is a file, and has the name of a directory")
        parent = 0
        for depth, part in enumerate(parts):
            if len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES_MAX:
                raise ArchiveError(
                    f"member {quote_name(name)} has a name of over {_PART_BYTES_MAX} bytes, which no disk can hold"
                )
            key = (parent, _folded(part))
            spelt, parent = self._known.get(key) or self._added(key, part, name)
            if spelt != part:
                other = "/".join((*parts[:depth], spelt))
                raise ArchiveError(
                    f"member {quote_name(name)} stands where {quote_name(other)} does: "
                    "they differ in nothing but case or Unicode form"
                )
        return parts

    def listed_file(self, path: str) -> str:
        """Return a file's path from the listing of a store, checked as ``parts`` does; it may be joined as it is.

        A store knows one spelling for each file. Another one, such as ``a//b`` or ``./a``, would be checked in one form
        and joined in another, which is how ``folder//etc/passwd`` becomes ``/etc/passwd`` below its folder.

        Raises:
            ArchiveError: as ``parts`` does; if the path has another spelling, or was listed before as a file or a directory.
        """
        parts = self.parts(path, is_directory=False)
        if "/".join(parts) != path:
            raise ArchiveError(
                f"member {quote_name(path)} is not spelled as a store lists files: an empty or dotted part is in it"
            )
        parents = {path[:end] for end, character in enumerate(path) if character == "/"}
        if path in self._listed or path in self._parents or not parents.isdisjoint(self._listed):
            raise ArchiveError(f"member {quote_name(path)} is listed twice, or as a file and as a directory")
        self._listed.add(path)
        self._parents |= parents
        return path

    def _added(self, key: tuple[int, str], part: str, name: str) -> tuple[str, int]:
        _check(part, name)
        self.count += 1
        self._known[key] = part, self.count
        return part, self.count


def split_safe_path(name: str) -> tuple[str, ...]:
    """The parts of a relative path that comes from outside, if it stays where it is put.

    Raises:
        ArchiveError: if it is absolute, climbs, or holds a control character, a backslash or a drive letter.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH_MAX:
        raise ArchiveError(f"member {quote_name(name)} lies {len(parts)} directories deep")
    if name.startswith("/") or ".." in parts or _UNSAFE_PATH.search(name):
        raise ArchiveError(f"member {quote_name(name)} does not stay inside the model's directory")
    return parts


def quote_name(name: str) -> str:
    """A name in quotes for an error message, which a name of a megabyte must not fill."""
    return repr(name) if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]!r}..."


def _check(part: str, name: str) -> None:
    """Refuse what some platform cannot hold on every one: a model that came here has to come anywhere."""
    if _INVISIBLE.search(part):
        raise ArchiveError(f"member {quote_name(name)} holds a character that is not seen, or turns the direction of writing")
    if _LONE_SURROGATE.search(part):
        raise ArchiveError(f"member {quote_name(name)} has a name that is not UTF-8")
    if _NOT_ON_WINDOWS.search(part) or _DEVICES.fullmatch(part.partition(".")[0].rstrip(" ")):
        raise ArchiveError(f"member {quote_name(name)} has a name that Windows cannot hold")


def _folded(part: str) -> str:
    """What all spellings have in common that a disk may take for one (Unicode, chapter 3, definition D145)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())
