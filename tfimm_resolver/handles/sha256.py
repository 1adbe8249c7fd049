"""Reads a sha256 as other programs write it: ``sha256:HEX``, ``sha256-BASE64``, in upper case."""

from __future__ import annotations

import base64
import binascii
import re

from tfimm_resolver.errors import HandleError

_PREFIX = re.compile(r"sha-?256[:=-]", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=")
_FIX = "Copy all of its digits; sha256sum prints that of a file."
_OTHER_DIGESTS = {32: "an md5", 40: "a sha1", 56: "a sha224", 96: "a sha384", 128: "a sha512"}


def parse_sha256(text: object) -> str:
    """Return a sha256 as 64 digits in lower case; it may be given in hexadecimal or base64, after ``sha256:`` or alone.

    Raises:
        HandleError: if it is not a sha256; the message names another kind of digest that it may be.
    """
    if isinstance(text, str):
        bare = text.strip()
        if found := _PREFIX.match(bare):
            bare = bare[found.end() :]
        if _HEX.fullmatch(bare.lower()):
            return bare.lower()
        if _BASE64.fullmatch(bare):
            return _decode_base64(bare)
        if (kind := _OTHER_DIGESTS.get(len(bare))) and re.fullmatch("[0-9a-fA-F]+", bare):
            raise HandleError(f"a sha256 has 64 hexadecimal digits, not {text!r:.80}", fix=f"This looks like {kind}.")
    raise HandleError(f"a sha256 has 64 hexadecimal digits, not {text!r:.80}", fix=_FIX)


def _decode_base64(text: str) -> str:
    """Return the digits of 32 bytes in base64, in the alphabet of URLs or the usual one."""
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True).hex()
    except binascii.Error as error:
        raise HandleError(f"a sha256 has 64 hexadecimal digits, not {text!r:.80}", fix=_FIX) from error
