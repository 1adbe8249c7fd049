"""Models that Colab mounts into a notebook on request, as kagglehub 1.0 asks for them."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import safe_parts
from tfimm_resolver.errors import ArchiveError, FetchError, NotFoundError, OfflineError
from tfimm_resolver.sources import kaggle_credentials

if TYPE_CHECKING:
    from tfimm_resolver.handles.kaggle import KaggleModel
    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

_ADDRESS, _FOLDER = "TBE_RUNTIME_ADDR", "COLAB_CACHE_MOUNT_FOLDER"
"""Variables of Colab and kagglehub: the host to ask, and the directory of mounts."""

_POLL_INTERVAL_S = 0.1


def mount(model: KaggleModel, fetcher: Fetcher) -> str | None:
    """Return the directory at which Colab mounts a version of a model; None, with the reason in the log, to download it."""
    try:
        slug = _request_mount(model, fetcher)
        path = os.path.join(os.path.abspath(os.environ.get(_FOLDER) or "/kaggle/input"), *safe_parts(slug))
    except (NotFoundError, OfflineError) as error:
        log.info("%s is not mounted by Colab: %s", model.key, error.text)
        return None
    except (FetchError, ArchiveError) as error:
        log.warning("%s is not mounted by Colab: %s", model.key, error.text)
        return None
    timeout_s = sum(settings.timeouts_s())
    if _wait_for_directory(path, timeout_s):
        return path
    log.warning("%s: Colab did not mount %s within %.0f s: downloading it", model.key, show(path), timeout_s)
    return None


def _request_mount(model: KaggleModel, fetcher: Fetcher) -> str:
    """Return the path, below the directory of mounts, of a model; NotFoundError if Colab does not offer it."""
    credentials = kaggle_credentials.find_credentials()
    authorization = credentials.authorization if credentials else ""
    named = {"owner": model.owner, "model": model.model, "framework": model.framework, "variation": model.variation}
    data = json.dumps({**named, "version": model.version}).encode()
    base = f"http://{os.environ[_ADDRESS]}/kagglehub/models"
    fetcher.get_bytes(f"{base}/is_supported", authorization=authorization, post_data=data)
    text = fetcher.get_bytes(f"{base}/mount", authorization=authorization, post_data=data)
    try:
        answer: Any = parse_json(text)
    except ValueError:
        answer = None
    slug = answer.get("slug") if isinstance(answer, dict) else None
    if not isinstance(slug, str):
        raise FetchError(f"{base}/mount did not return where", fix="Try again; if the error persists, restart the runtime.")
    return slug


def _wait_for_directory(path: str, timeout_s: float) -> bool:
    """Whether a directory with files is there, or appears in time."""
    until_s = clock.get_monotonic_s() + timeout_s
    while not (os.path.isdir(path) and os.listdir(path)):
        if clock.get_monotonic_s() >= until_s:
            return False
        get_current_token().sleep(_POLL_INTERVAL_S)
    return True
