"""The fragment of a handle: ``#sha256=...`` pins the archive, ``#subdirectory=...`` chooses a directory of the model."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.sha256 import parse_sha256

FRAGMENT_FORM = "#sha256=<64 digits>, #subdirectory=<path>, or both, joined by &"
_START = re.compile(r"#(?=(?:sha256|subdirectory)=)")
_START_OF_SHA256 = re.compile(r"#(?=sha-?256[:=-](?:[0-9a-f]{64}|[0-9a-z+/_-]{43}=)(?:&|$))", re.IGNORECASE)
"""Other spellings of a pin; only before a digest, as the name of a local file may have such a text."""
_DIGEST_BEHIND_AT = re.compile(r"@(sha256:[0-9A-Fa-f]{64})$")


def split_fragment(text: str) -> tuple[str, str | None, str]:
    """Split a handle into the text before its fragment, the pin, and the subdirectory, which is empty if none is chosen.

    The subdirectory is percent-decoded, but not checked: that is done by ``check_subdirectory``, where it becomes a path.

    Raises:
        HandleError: if a part of the fragment is unknown, stands there twice, or is not valid.
    """
    found = _START.search(text) or _START_OF_SHA256.search(text)
    if found is None:
        _check_not_docker(text)
        return text, None, ""
    values: dict[str, str] = {}
    for part in text[found.end() :].split("&"):
        field, value = _split_field(part)
        if field not in ("sha256", "subdirectory"):
            raise HandleError(f"the fragment of a handle cannot have {part!r:.80}", fix=f"Write {FRAGMENT_FORM}.")
        if field in values:
            raise HandleError(f"the fragment of a handle has {field} twice", fix=f"Write {FRAGMENT_FORM}.")
        values[field] = value
    pin = parse_sha256(values["sha256"]) if "sha256" in values else None
    return text[: found.start()], pin, _decode(values["subdirectory"]) if "subdirectory" in values else ""


def has_own_fragment(text: str) -> bool:
    """Whether a handle has a fragment that this package defines, valid or not."""
    return (_START.search(text) or _START_OF_SHA256.search(text)) is not None


def format_subdirectory(directory: str) -> str:
    """Return the fragment that chooses a directory, percent-encoded where that is needed."""
    return f"#subdirectory={quote(directory)}"


def _split_field(part: str) -> tuple[str, str]:
    """Return the name and the value of a part; ``sha256:HEX`` and ``sha256-BASE64`` are the value of a pin, too."""
    if _START_OF_SHA256.match(f"#{part}"):
        return "sha256", part
    field, _, value = part.partition("=")
    return field, value


def _check_not_docker(text: str) -> None:
    """Raise HandleError for a URL that is pinned as images of Docker are, ``NAME@sha256:HEX``."""
    if "://" in text and (found := _DIGEST_BEHIND_AT.search(text)):
        fix = f"Write the pin behind a number sign: #{found[1].replace(':', '=')}"
        raise HandleError("the handle ends in @sha256:, which is not how a pin is written", fix=fix)


def _decode(value: str) -> str:
    if not value:
        raise HandleError("the subdirectory of a handle is empty", fix="Write #subdirectory=PATH, or leave it out.")
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise HandleError(
            f"the subdirectory {value!r:.80} is not percent-encoded UTF-8",
            fix="Write the path of the subdirectory as it is, or percent-encoded as UTF-8.",
        ) from None
