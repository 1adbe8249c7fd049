"""Kaggle's API: its older calls, one URL each, and the newer ones, which kagglehub 1.0 uses; either may be gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.sources import kaggle_credentials

if TYPE_CHECKING:
    from tfimm_resolver.handles.kaggle import KaggleModel

_API = "https://api.kaggle.com/v1"
_CALLS = {"get": "GetModelInstance", "download": "DownloadModelInstanceVersion"}
"""The newer name of each older call."""

_NOT_FOUND = 404

_Result = TypeVar("_Result")


def call(model: KaggleModel, action: str, send: Callable[[str, bytes | None], _Result]) -> _Result:
    """Call ``send`` with the URL of an action; if Kaggle does not find that, with the URL and the body of the newer call.

    Raises:
        FetchError: as ``send`` does; the first failure if the newer call is not there, either.
    """
    try:
        return send(make_older_url(model, action), None)
    except NotFoundError as error:
        if error.status != _NOT_FOUND:  # a mirror's
            raise
        missing = error
    try:
        return send(_make_newer_url(action), _make_body(model))
    except (AccessError, ArchiveError, IntegrityError):
        raise
    except FetchError as error:
        raise missing.with_message(f"{missing.text}\n  and {error.text}") from error


def is_from_api(error: FetchError) -> bool:
    """Whether an error names Kaggle's API, not the storage that it redirects to."""
    return any(f"{url}/" in error.text for url in (kaggle_credentials.get_base_url(), _get_newer_base()))


def make_older_url(model: KaggleModel, action: str) -> str:
    """Return a URL as https://github.com/Kaggle/kaggle-api and earlier versions of kagglehub use it."""
    return f"{kaggle_credentials.get_base_url()}/api/v1/models/{model.path}/{action}"


def _get_newer_base() -> str:
    """Return the base of the newer calls: a host of its own at Kaggle, a path elsewhere."""
    base = kaggle_credentials.get_base_url()
    return _API if base == kaggle_credentials.KAGGLE else f"{base}/api/v1"


def _make_newer_url(action: str) -> str:
    return f"{_get_newer_base()}/models.ModelApiService/{_CALLS[action]}"


def _make_body(model: KaggleModel) -> bytes:
    framework = re.sub("(?<=[a-z])(?=[A-Z0-9])", "_", model.framework).upper()
    named = {"ownerSlug": model.owner, "modelSlug": model.model, "framework": f"MODEL_FRAMEWORK_{framework}"}
    version = {} if model.version is None else {"versionNumber": model.version}
    return json.dumps({**named, "instanceSlug": model.variation, **version}).encode()
