"""Names of the members of a zip: their encoding, and the separators of old tools for Windows."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence

from tfimm_resolver.errors import ArchiveError

IS_UTF_8 = 0x800
UNICODE_PATH = 0x7075  # APPNOTE.TXT 4.6.9
_UNIX, _MACOS = 3, 19
_HALF_CHARACTER = re.compile(rb"(?<=[\x80-\xff])\\")


def find_extra(extra: bytes, kind: int) -> bytes | None:
    """Return the extra field of a kind; None if there is none. Raises ArchiveError if any field is longer than the rest."""
    found = None
    while len(extra) >= 4:
        other, length = struct.unpack("<2H", extra[:4])
        if 4 + length > len(extra):
            raise ArchiveError("the zip is damaged: an extra field is longer than the header says")
        if other == kind and found is None:
            found = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return found


def decode_name(raw: bytes, flags: int, host: int, extra: bytes) -> tuple[str, bool]:
    """Return a member's name, and whether its encoding was guessed.

    A flag says that it is UTF-8, or Info-ZIP's extra field has it in Unicode. Otherwise the format prescribes code page 437;
    but tools on Unix and macOS omit the flag, so that a name from there which is valid UTF-8 is read as such.
    """
    if raw.isascii():
        return raw.decode(), False
    if flags & IS_UTF_8:
        return raw.decode("utf-8"), False
    if (name := _read_unicode_path(raw, extra)) is not None:
        return name, False
    if host in (_UNIX, _MACOS):
        try:
            return raw.decode("utf-8"), False
        except UnicodeDecodeError:
            pass
    # In GBK and cp932 the byte of a backslash can be the second half of a character: it separates nothing.
    return _HALF_CHARACTER.sub(b"_", raw).decode("cp437"), True


def _read_unicode_path(raw: bytes, extra: bytes) -> str | None:
    """Return the name from the extra field, if that belongs to ``raw``: a tool that renames a member may not know it."""
    field = find_extra(extra, UNICODE_PATH)
    if field is None or len(field) < 6 or field[0] != 1 or int.from_bytes(field[1:5], "little") != zlib.crc32(raw):
        return None
    try:
        return field[5:].decode("utf-8")
    except UnicodeDecodeError:
        return None


def normalize_separators(names: Sequence[str]) -> list[str]:
    """Return the names with ``/``: backslashes, as old tools for Windows write them, only if no name has a ``/``."""
    if any("/" in name for name in names):
        return [*names]
    return [name.replace("\\", "/") for name in names]
