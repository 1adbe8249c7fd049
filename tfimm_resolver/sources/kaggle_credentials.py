"""Finds Kaggle's address and the user's credentials for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import AccessError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.http.credentials import Credentials, base_url_from_env
from tfimm_resolver.sources import kaggle_process

URL = "TFIMM_KAGGLE_URL"
KAGGLE = "https://www.kaggle.com"
TOKEN_FIX = (
    "Create a token at https://www.kaggle.com/settings/api, and set KAGGLE_API_TOKEN or put it into ~/.kaggle/access_token."
)

_FILE_BYTES_MAX = 100_000


def get_base_url() -> str:
    """Return the URL of Kaggle's API, without a trailing slash.

    Raises:
        HandleError: if ``$TFIMM_KAGGLE_URL`` is not an http or https address.
    """
    return base_url_from_env(URL, KAGGLE)


def find_credentials() -> Credentials | None:
    """Return the first credentials in the order of kagglehub 1.0; None for anonymous access, which suffices for public models.

    Raises:
        AccessError: if a file of credentials cannot be read, or is not valid.
    """
    if login := kaggle_process.find_kagglehub_login():
        return _make_credentials("kagglehub.login()", login)
    if stored := _find_stored():
        return stored
    secrets = kaggle_process.find_colab_secrets()
    return _make_credentials("the secrets of this notebook on Colab", secrets) if secrets else None


def _make_credentials(source: str, values: tuple[str, ...]) -> Credentials:
    """Return the credentials for a token, or for a name and a key."""
    if len(values) > 1:
        return Credentials.basic(source, *values)
    token = values[0]
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AccessError(f"{source} is not a token: it has spaces, line breaks or special characters", fix=TOKEN_FIX)
    return Credentials(source, f"Bearer {token}")


def _find_stored() -> Credentials | None:
    """Return the first credentials in variables and files."""
    for source, token in _find_tokens():
        return _make_credentials(source, (token,))
    name, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if name and key:
        return Credentials.basic("KAGGLE_USERNAME and KAGGLE_KEY", name, key)
    folders = [folder for folder in (os.environ.get("KAGGLE_CONFIG_DIR"), "~/.kaggle") if folder]
    for source in dict.fromkeys(os.path.join(os.path.expanduser(folder), "kaggle.json") for folder in folders):
        if (text := _read_text(source)) is not None:
            return Credentials.basic(source, *_parse_name_and_key(source, text))
    return None


def _find_tokens() -> Iterator[tuple[str, str]]:
    """Yield every token and where it was found, in order of precedence."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") and (path := os.environ.get("KAGGLE_API_V1_TOKEN")):  # in a notebook there
        yield from _read_token(path)
    if value := os.environ.get("KAGGLE_API_TOKEN"):  # a token, or the path of a file that holds one
        content = _read_text(value)
        token = (value if content is None else content).strip()
        if token:
            yield "KAGGLE_API_TOKEN", token
    for name in ("access_token", "access_token.txt"):  # as some editors on Windows save it
        yield from _read_token(os.path.expanduser(f"~/.kaggle/{name}"))


def _read_token(path: str) -> Iterator[tuple[str, str]]:
    if token := (_read_text(path) or "").strip():
        yield path, token


def _read_text(path: str) -> str | None:
    """Return the text of a file; None if it does not exist."""
    with map_os_errors(AccessError, f"{show(path)} cannot be read", "Correct its permissions, or remove it."):
        try:
            with open(path, encoding="utf-8", opener=fs.open_regular_target) as file:
                return file.read(_FILE_BYTES_MAX)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnicodeDecodeError as error:
            raise AccessError(
                f"{show(path)} does not hold credentials for Kaggle: it is not a text file", fix=TOKEN_FIX
            ) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a token, not a path
                raise
    return None


def _parse_name_and_key(source: str, text: str) -> tuple[str, str]:
    try:
        fields: Any = parse_json(text)
    except ValueError:
        fields = None
    name, key = (fields.get("username"), fields.get("key")) if isinstance(fields, dict) else (None, None)
    if not (isinstance(name, str) and name and isinstance(key, str) and key):
        raise AccessError(
            f'{source} does not hold credentials for Kaggle: expected {{"username": ..., "key": ...}}',
            fix="Download it again from https://www.kaggle.com/settings/api, or remove it.",
        )
    return name, key
