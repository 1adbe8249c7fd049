"""Refuses downloads and local files of formats that are not archives of models, and says what to do with them."""

from __future__ import annotations

from collections.abc import Iterable

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.errors import foreign_formats as formats
from tfimm_resolver.errors.foreign_formats import ForeignFormat
from tfimm_resolver.saved_model import recognition

_GZIP, _ZIP = b"\x1f\x8b", b"PK"


class ForeignFileCheck:
    """Checks what is unpacked from one URL or path: its first bytes before, its members after it was unpacked."""

    def __init__(self, origin: str) -> None:
        """``origin`` is the URL or path."""
        self._origin, self._start = origin, b""

    def check_start(self, start: bytes) -> None:
        """Refuse a format that the first bytes prove; raises ArchiveError."""
        self._start = start
        found = recognition.recognize_binary(start)
        if found is None and start.startswith(_GZIP):
            found = recognition.recognize_compressed(start)
        if found is not None:
            raise self._make_error(found)

    def check_members(self, names: Iterable[str]) -> None:
        """Refuse a zip that is a file of another format, such as a .keras file; raises ArchiveError."""
        found = recognition.recognize_members(names) if self._start.startswith(_ZIP) else None
        if found is not None:
            raise self._make_error(found)

    def check_file(self, start: bytes, name: str) -> None:
        """Refuse a page or a Git LFS pointer that arrives as a file with the name of a model's file; raises ArchiveError."""
        found = recognition.recognize(start[: recognition.START_BYTES])
        if found in (formats.HTML, formats.LFS_POINTER) and recognition.recognize_names([name]) is not None:
            raise self._make_error(found, f"it is not {name!r}, but {found.title}")

    def explain(self, error: ArchiveError) -> ArchiveError:
        """Return the error of what cannot be unpacked, with what it is instead if that is recognized."""
        if not self._start or self._start.startswith((_GZIP, _ZIP)) or not error.has_usual_fix:
            return error
        found = recognition.recognize(self._start, self._origin)
        if found is None:
            return error
        return self._make_error(found, error.text if found.is_text else "")

    def _make_error(self, found: ForeignFormat, text: str = "") -> ArchiveError:
        from tfimm_resolver.handles import pages

        fix = found.advice
        if found in (formats.HTML, formats.LFS_POINTER) and (url := pages.find_download_url(self._origin)) is not None:
            fix = f"Use the address of the file itself: {show(url)}"
        text = text or f"it is not an archive of a model, but {found.title}"
        return ArchiveError(text, fix=fix, is_page=found is formats.HTML)
