"""Removes what was secret in requests from the text of their answers."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from tfimm_resolver._util.outgoing import register_secret

if TYPE_CHECKING:
    from tfimm_resolver.http.response import Response

_SECRET_CHARACTERS_MIN, _TOKEN_CHARACTERS_MIN = 6, 12
_SECRET_HEADERS = ("Authorization", "Proxy-Authorization", "Cookie")
_PUBLIC_HEADERS = {"Accept-Encoding", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "User-Agent"}


def redact_answer(text: str, response: Response) -> str:
    """Remove what was secret in the requests from the text of their answer: some servers echo it, in any encoding."""
    for form in sorted(_list_secret_forms(response), key=len, reverse=True):
        text = re.sub(re.escape(form), "…", text, flags=re.IGNORECASE)
        cut = next((end for end in range(len(form) - 1, 3, -1) if text.lower().endswith(form[:end].lower())), 0)
        text = text[:-cut] + "…" if cut else text  # the quotation ends within the secret
    return text


def _list_secret_forms(response: Response) -> set[str]:
    """Return the values of queries, of secret headers and of user info, as sent, decoded, and encoded for URLs and HTML."""
    import html  # 1 ms that only an error pays

    values: set[str] = set()
    for sent in (response.request, *response.history):
        parts = urlsplit(sent.url)
        values |= {field.partition("=")[2] or field for field in parts.query.split("&")}
        for name in sent.headers.keys() - _PUBLIC_HEADERS:
            for word in sent.headers[name].split():
                values |= {word, word.partition("=")[2].strip("\"',;"), *_decode_basic(word)}
        values |= _select_secrets(*parts.netloc.rpartition("@")[0].partition(":")[::2])
    values |= {decoded for value in values for decoded in (unquote(value), unquote_plus(value))}
    values = {value for value in values if len(value) >= _SECRET_CHARACTERS_MIN}
    return {
        form
        for value in values
        for form in (value, quote(value), quote(value, safe=""), quote_plus(value), html.escape(value))
    }


def register_credentials(headers: Mapping[str, str]) -> None:
    """Mask the credentials of a request in all texts, also those of answers that other libraries read."""
    for name in _SECRET_HEADERS:
        for word in str(headers.get(name, "")).split()[1:]:
            for secret in (word, *_decode_basic(word)):
                register_secret(secret)


def _decode_basic(value: str) -> set[str]:
    """Return the secrets of a Basic authorization, which some servers echo decoded."""
    try:
        return _select_secrets(*base64.b64decode(value, validate=True).decode().partition(":")[::2])
    except ValueError:
        return set()


def _select_secrets(user: str, password: str) -> set[str]:
    """Return the password, and the user if it may be a token: then the password is missing, or the user is long."""
    is_token = password in ("", "x-oauth-basic", "x") or len(user) >= _TOKEN_CHARACTERS_MIN
    return {password, *([user] if is_token else [])}
