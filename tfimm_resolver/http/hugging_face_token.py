"""The token for files of Hugging Face that are requested by their URL, ``https://huggingface.co/OWNER/MODEL/resolve/...``."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS
from tfimm_resolver.http.credentials import Credentials

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_FILE = re.compile(r"/(?:(?:datasets|spaces)/)?[^/]+/[^/]+/resolve/.+")


def find_token(url: str, own_url: str) -> Credentials | None:
    """Return the token for a file at ``url``; None unless that and ``own_url``, which was first requested, are of that host.

    The host is huggingface.co over https, or the one of HF_ENDPOINT, to which huggingface_hub sends the token, too.

    Raises:
        HandleError: if the token has characters that a header cannot hold.
    """
    if not _FILE.fullmatch(urlsplit(url).path) or not (_is_trusted(url) and _is_trusted(own_url)):
        return None
    for variable in _VARIABLES:
        if token := os.environ.get(variable, "").strip():
            if not re.fullmatch(r"[\x21-\x7e]+", token):
                raise HandleError(f"{variable} has characters that a header cannot hold", fix="Correct the token.")
            return Credentials(variable, f"Bearer {token}")
    return None


def _is_trusted(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.netloc.lower().rpartition("@")[2]
    if parts.scheme == "https" and host.removesuffix(":443") in HUGGING_FACE_HOSTS:
        return True
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT", ""))
    return bool(endpoint.netloc) and (parts.scheme, host) == (endpoint.scheme, endpoint.netloc.lower().rpartition("@")[2])
