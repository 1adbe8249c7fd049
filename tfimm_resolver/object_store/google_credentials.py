"""Google's credentials from a file, of every kind, without a request.

``google.auth.default`` also looks up the name of the project, at another host, which buckets do not need and firewalls block.
https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show

_FILE_BYTES_MAX = 1 << 20
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
_AWS_TOKEN = "urn:ietf:params:aws:token-type:aws4_request"  # a kind of token, not one
_IMPERSONATED = re.compile(r".*/serviceAccounts/(?P<account>[^/:]+):generateAccessToken")


def load_credentials(path: str) -> Any:
    """Return google-auth's credentials from a file; nothing is requested before their ``refresh``.

    Raises:
        ImportError: if google-auth is not installed.
        OSError, ValueError: if the file cannot be read, or is not one of credentials; also what google-auth raises.
    """
    with open(path, "rb") as file:
        data = file.read(_FILE_BYTES_MAX)  # it may be a pipe, as in GOOGLE_APPLICATION_CREDENTIALS=<(vault read ...)
    try:
        info = parse_json(data)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {type(error).__name__}") from None  # the error quotes the file
    return _create(info, _SCOPES)


def _create(info: Any, scopes: list[str] | None) -> Any:
    kind = info.get("type") if isinstance(info, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ValueError(f"its type is {kind!r:.80}, not one of {known}")
    try:
        return _KINDS[kind](info, scopes)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not complete for its type {kind}: {type(error).__name__} {show(error)}") from error


def _create_user(info: dict[str, Any], scopes: list[str] | None) -> Any:
    from google.oauth2 import credentials

    return credentials.Credentials.from_authorized_user_info(info, scopes)  # type: ignore[no-untyped-call]


def _create_service_account(info: dict[str, Any], scopes: list[str] | None) -> Any:
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(info, scopes=scopes)  # type: ignore[no-untyped-call]


def _create_external_account(info: dict[str, Any], scopes: list[str] | None) -> Any:
    """Create the credentials of a workload whose identity another provider confirms, such as AWS or GitHub."""
    from google.auth import aws, identity_pool, pluggable

    kind: Any = identity_pool.Credentials
    if info.get("subject_token_type") == _AWS_TOKEN:
        kind = aws.Credentials
    elif (info.get("credential_source") or {}).get("executable") is not None:
        kind = pluggable.Credentials
    return kind.from_info(info, scopes=scopes)


def _create_external_user(info: dict[str, Any], scopes: list[str] | None) -> Any:
    from google.auth import external_account_authorized_user

    return external_account_authorized_user.Credentials.from_info(info)  # type: ignore[no-untyped-call]


def _create_impersonated(info: dict[str, Any], scopes: list[str] | None) -> Any:
    """Create the credentials of a service account in whose name the holder of others acts."""
    from google.auth import impersonated_credentials

    found = _IMPERSONATED.fullmatch(info["service_account_impersonation_url"])
    if found is None:
        raise ValueError("its service_account_impersonation_url names no service account")
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        _create(info["source_credentials"], None),
        found["account"],
        scopes or _SCOPES,
        delegates=info.get("delegates") or [],
    )


_KINDS: dict[str, Callable[[dict[str, Any], list[str] | None], Any]] = {
    "authorized_user": _create_user,
    "service_account": _create_service_account,
    "external_account": _create_external_account,
    "external_account_authorized_user": _create_external_user,
    "impersonated_service_account": _create_impersonated,
}
