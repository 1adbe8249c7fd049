"""The fragment of a handle: ``#sha256=...`` pins the archive, ``#subdirectory=...`` chooses a directory of the model."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from tfimm_resolver.errors import HandleError

FRAGMENT_FORM = "#sha256=<64 digits>, #subdirectory=<path>, or both, joined by &"
_START = re.compile(r"#(?=(?:sha256|subdirectory)=)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def split_fragment(text: str) -> tuple[str, str | None, str]:
    """Split a handle into the text before its fragment, the pin, and the subdirectory, which is empty if none is chosen.

    The subdirectory is percent-decoded, but not checked: that is done by ``check_subdirectory``, where it becomes a path.

    Raises:
        HandleError: if a part of the fragment is unknown, stands there twice, or is not valid.
    """
    found = _START.search(text)
    if found is None:
        return text, None, ""
    values: dict[str, str] = {}
    for part in text[found.end() :].split("&"):
        field, _, value = part.partition("=")
        if field not in ("sha256", "subdirectory"):
            raise HandleError(f"the fragment of a handle cannot have {part!r:.80}", fix=f"Write {FRAGMENT_FORM}.")
        if field in values:
            raise HandleError(f"the fragment of a handle has {field} twice", fix=f"Write {FRAGMENT_FORM}.")
        values[field] = value
    pin = parse_sha256(values["sha256"]) if "sha256" in values else None
    return text[: found.start()], pin, _decode(values["subdirectory"]) if "subdirectory" in values else ""


def has_own_fragment(text: str) -> bool:
    """Whether a handle has a fragment that this package defines, valid or not."""
    return _START.search(text) is not None


def parse_sha256(pin: str) -> str:
    """Return a pin in lower case; raises HandleError if it is not a sha256."""
    if not isinstance(pin, str) or not _SHA256.fullmatch(pin.lower()):
        raise HandleError(f"a sha256 has 64 hexadecimal digits, not {pin!r:.80}")
    return pin.lower()


def format_subdirectory(directory: str) -> str:
    """Return the fragment that chooses a directory, percent-encoded where that is needed."""
    return f"#subdirectory={quote(directory)}"


def _decode(value: str) -> str:
    if not value:
        raise HandleError("the subdirectory of a handle is empty", fix="Write #subdirectory=PATH, or leave it out.")
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise HandleError(f"the subdirectory {value!r:.80} is not percent-encoded UTF-8") from None
