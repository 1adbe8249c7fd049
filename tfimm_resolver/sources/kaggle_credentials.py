"""How Kaggle is reached: at which address, and with whose credentials."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from typing import Any

from tfimm_resolver.errors import AccessError
from tfimm_resolver.http.credentials import Credentials, base_url_from_env

URL = "TFIMM_KAGGLE_URL"
TOKEN_FIX = (
    "Make a token at https://www.kaggle.com/settings/api, and set KAGGLE_API_TOKEN or put it into ~/.kaggle/access_token."
)

_FILE_BYTES_MAX = 100_000


def url() -> str:
    """Where Kaggle's interface is asked, without a slash at the end.

    Raises:
        HandleError: if ``$TFIMM_KAGGLE_URL`` is no http or https address.
    """
    return base_url_from_env(URL, "https://www.kaggle.com")


def credentials() -> Credentials | None:
    """The first that are found, in the order of kagglehub 1.0; None for somebody unknown, who may have what is public.

    Raises:
        AccessError: if a file of credentials cannot be read, or holds none.
    """
    for source, token in _tokens():
        if not token.isascii() or not token.isprintable() or " " in token:
            raise AccessError(f"{source} holds no token: one has no spaces, line ends or special characters", fix=TOKEN_FIX)
        return Credentials(source, f"Bearer {token}")
    name, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if name and key:
        return Credentials.basic("KAGGLE_USERNAME and KAGGLE_KEY", name, key)
    folders = [folder for folder in (os.environ.get("KAGGLE_CONFIG_DIR"), "~/.kaggle") if folder]
    for source in dict.fromkeys(os.path.join(os.path.expanduser(folder), "kaggle.json") for folder in folders):
        if (text := _text(source)) is not None:
            return Credentials.basic(source, *_name_and_key(source, text))
    return None


def _tokens() -> Iterator[tuple[str, str]]:
    """Every token, and where it was found, in the order in which they count."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") and (place := os.environ.get("KAGGLE_API_V1_TOKEN")):  # in a notebook there
        yield from _token(place)
    if said := os.environ.get("KAGGLE_API_TOKEN"):
        found = _text(said)
        token = (said if found is None else found).strip()
        if token:
            yield "KAGGLE_API_TOKEN", token
    for name in ("access_token", "access_token.txt"):  # as some editors on Windows save it
        yield from _token(os.path.expanduser(f"~/.kaggle/{name}"))


def _token(path: str) -> Iterator[tuple[str, str]]:
    if token := (_text(path) or "").strip():
        yield path, token


def _text(path: str) -> str | None:
    """What a file holds; None if there is none of that name."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_FILE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise AccessError(f"{path} holds no credentials for Kaggle: it is no text", fix=TOKEN_FIX) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a token, and no name
            return None
        raise AccessError(f"{path} cannot be read: {error.strerror}", fix="Mend its permissions, or remove it.") from error


def _name_and_key(source: str, text: str) -> tuple[str, str]:
    try:
        facts: Any = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    name, key = (facts.get("username"), facts.get("key")) if isinstance(facts, dict) else (None, None)
    if not (isinstance(name, str) and name and isinstance(key, str) and key):
        raise AccessError(
            f'{source} holds no credentials for Kaggle: it is to be {{"username": ..., "key": ...}}',
            fix="Download it anew at https://www.kaggle.com/settings/api, or remove it.",
        )
    return name, key
