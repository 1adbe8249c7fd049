"""Credentials for Kaggle that only this process has: those given to kagglehub, and the secrets of a notebook on Colab."""

from __future__ import annotations

import importlib
import logging
import sys
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.thread_pool import DaemonThreadPool

log = logging.getLogger("tfimm_resolver")

_SECRETS = (("KAGGLE_API_TOKEN",), ("KAGGLE_USERNAME", "KAGGLE_KEY"))
"""What kagglehub 1.0 reads from Colab's secrets: a token, else a name and a key."""


def find_kagglehub_login() -> tuple[str, ...]:
    """Return the token, or the name and the key, that ``kagglehub.login`` or ``kagglehub.set_kaggle_api_token`` set, or ().

    kagglehub is not imported for it: what was not imported has set nothing.
    """
    login = getattr(sys.modules.get("kagglehub.config"), "_kaggle_credentials", None)
    for fields in (("api_key",), ("username", "key")):
        values = tuple(_clean(getattr(login, field, None)) for field in fields)
        if all(values):
            return values
    return ()


def find_colab_secrets() -> tuple[str, ...]:
    """Return the token, or the name and the key, among the secrets of a notebook on Colab; () elsewhere.

    Colab may ask the user for permission; it gets the time that a server has to answer.
    """
    userdata = _get_userdata()
    if userdata is None:
        return ()
    for names in _SECRETS:
        values = list[str]()
        for name in names:
            value = _read_secret(userdata, name)
            if value is None:
                return ()
            values.append(value)
        if all(values):
            return tuple(values)
    return ()


def _get_userdata() -> Any:
    """Return Colab's module of secrets; its kernel has imported the package, which is not imported here."""
    colab = sys.modules.get("google.colab")
    if colab is None:
        return None
    try:
        return getattr(colab, "userdata", None) or importlib.import_module("google.colab.userdata")
    except Exception:  # foreign code may raise anything
        log.debug("the secrets of Colab cannot be imported", exc_info=True)
        return None


def _read_secret(userdata: Any, name: str) -> str | None:
    """Return one secret, empty if there is none or the notebook may not read it; None if Colab does not answer in time."""
    timeout_s = sum(settings.timeouts_s())
    try:
        with DaemonThreadPool(1) as pool:
            return _clean(pool.submit(userdata.get, name).result(timeout_s))
    except (TimeoutError, FutureTimeoutError):
        log.warning("Colab did not return the secret %s within %.0f s: continuing without it", name, timeout_s)
        return None
    except Exception:  # Colab's own classes, for a secret that does not exist or is not shared with the notebook
        log.debug("Colab did not return the secret %s", name, exc_info=True)
        return ""


def _clean(value: object) -> str:
    """Return a text without the line breaks that are pasted with it; empty for anything else."""
    return value.replace("\r", "").replace("\n", "").strip() if isinstance(value, str) else ""
