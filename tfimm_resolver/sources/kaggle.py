"""Kaggle: a model is downloaded as one archive by Kaggle's API; a copy of kagglehub's or of a notebook's is used in place."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, HandleError
from tfimm_resolver.handles.handle import KAGGLE_HOSTS, Handle
from tfimm_resolver.saved_model.completeness import find_defect_inside
from tfimm_resolver.sources import tfhub
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.handles.kaggle import KaggleModel
    from tfimm_resolver.http.credentials import Credentials
    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

SCHEMES = ("kaggle", "http", "https")

COMPLETE_SUFFIX = ".complete"
"""The end of the name of the file with which kagglehub marks the directory beside it as complete."""

_VERSION_DIGITS_MAX = 9


def plan(handle: Handle) -> InPlace | Fetch | RemoteLocation | MutableRef | None:
    """Return the plan for a model on Kaggle; None for other handles."""
    model = _parse_model(handle)
    if model is None:
        return None
    if model.version is None:
        return MutableRef(partial(_find_newest_remote, model), partial(_find_newest_local, model))
    # A pin is the hash of an archive, which is not known for a local copy.
    if handle.sha256 is None and (path := _find_local_copy(model)) is not None:
        return InPlace(path)
    fetch = Fetch(model.key, partial(_download, model))
    if os.environ.get("TBE_RUNTIME_ADDR") and not is_disabled("DISABLE_COLAB_CACHE"):
        from tfimm_resolver.sources.kaggle_mounts import mount

        return RemoteLocation(partial(mount, model), fetch)
    if settings.load_format() != "UNCOMPRESSED":
        return fetch
    from tfimm_resolver.sources import kaggle_credentials

    # Kaggle implements the protocol of tfhub.dev, whose models it took over.
    url = f"{kaggle_credentials.get_base_url()}/models/{model.path}?tf-hub-format=uncompressed"
    return tfhub.plan_uncompressed(handle, url, fetch)


def _parse_model(handle: Handle) -> KaggleModel | None:
    if handle.scheme != "kaggle" and handle.host not in KAGGLE_HOSTS:
        return None
    from tfimm_resolver.handles.kaggle import KaggleModel

    return KaggleModel.parse(handle.scheme, handle.host, handle.path)


def _download(model: KaggleModel, into: Path, fetcher: Fetcher) -> None:
    from tfimm_resolver.sources import kaggle_api, kaggle_credentials

    credentials = kaggle_credentials.find_credentials()
    authorization = credentials.authorization if credentials else ""

    def send(url: str, post_data: bytes | None) -> None:
        fetcher.archive(url, into, authorization=authorization, post_data=post_data)

    with _map_kaggle_errors(model, credentials):
        kaggle_api.call(model, "download", send)


def _find_newest_remote(model: KaggleModel, fetcher: Fetcher) -> str:
    """Return the handle of the newest version on Kaggle."""
    from tfimm_resolver._util.text import describe_prefix
    from tfimm_resolver.sources import kaggle_api, kaggle_credentials

    credentials = kaggle_credentials.find_credentials()
    authorization = credentials.authorization if credentials else ""

    def send(url: str, post_data: bytes | None) -> tuple[str, bytes]:
        return url, fetcher.get_bytes(url, authorization=authorization, post_data=post_data)

    with _map_kaggle_errors(model, credentials):
        url, text = kaggle_api.call(model, "get", send)
    try:
        version = parse_json(text)["versionNumber"]
    except (ValueError, TypeError, KeyError):
        version = None
    if type(version) is not int or not 0 < version < 10**_VERSION_DIGITS_MAX:
        raise FetchError(
            f"{model.key}: {url} did not return the newest version, but {describe_prefix(text)}",
            fix=f"Name a version: {model.key}/1. If {kaggle_credentials.URL} is set, check that it is Kaggle's address.",
        )
    return model.with_version(version).key


def _find_newest_local(model: KaggleModel, cached: Iterable[str]) -> str | None:
    """Return the handle of the newest version on this machine, from the cached handles and from other tools' copies."""
    versions = {version for version in _list_local_versions(model) if _find_local_copy(model.with_version(version))}
    for text in cached:
        with contextlib.suppress(HandleError):
            other = _parse_model(Handle.parse(text))
            if other is not None and other.version is not None and other.with_version(None) == model:
                versions.add(other.version)
    return model.with_version(max(versions)).key if versions else None


@contextlib.contextmanager
def _map_kaggle_errors(model: KaggleModel, credentials: Credentials | None) -> Iterator[None]:
    """Add to Kaggle's refusals the credentials used and where consent is given; the storage it redirects to needs neither."""
    from tfimm_resolver.sources import kaggle_api, kaggle_credentials

    page = model.key.partition(f"/{model.framework}/")[0]
    used = f"requested with the credentials of {credentials.source}" if credentials else "requested without credentials"
    try:
        yield
    except AccessError as error:
        if not kaggle_api.is_from_api(error):
            raise
        consent = f"Open {page}, log in, and give consent if asked to."
        fix = f"{consent} {'' if credentials else kaggle_credentials.TOKEN_FIX}".strip()
        raise AccessError(f"{error.text}\n  {used}", fix=fix, status=error.status) from error
    except ArchiveError as error:
        if not error.is_page:
            raise
        fix = f"Open {page}: Kaggle may require an action there."
        raise error.with_message(f"{error.text}\n  {used}", fix) from error


def _find_local_copy(model: KaggleModel) -> str | None:
    """Return the directory of a complete copy of the model that another tool has on this machine; None if there is none."""
    for folder, marker_suffix in _find_local_candidates(model):
        path = f"{folder}/{model.version}"
        is_complete = not marker_suffix or os.path.isfile(path + marker_suffix)
        if is_complete and find_defect_inside(path) is None:
            if folder.startswith(f"{_get_notebook_input_dir()}/{model.model}/") and path not in _warned:
                _warned.add(path)
                log.warning("using %s for %s, although the path does not name the model's owner", path, model.key)
            return path
    return None


_warned: set[str] = set()


def _list_local_versions(model: KaggleModel) -> Iterator[int]:
    """Yield every version of which another tool has at least a part on this machine."""
    for folder, _ in _find_local_candidates(model):
        with contextlib.suppress(OSError):
            names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
            yield from (int(name) for name in names if len(name) <= _VERSION_DIGITS_MAX)


def _find_local_candidates(model: KaggleModel) -> Iterator[tuple[str, str]]:
    """Yield the directories that may hold versions of a model, each with the suffix of the file that marks one as complete.

    Kaggle's notebooks mount /kaggle/input/models/OWNER/MODEL/framework/VARIATION, older ones /kaggle/input/MODEL/...; the
    third layout is kagglehub.cache's.
    """
    from tfimm_resolver.handles.kaggle import framework_key

    named = f"models/{model.owner}/{model.model}"
    mounts = [] if is_disabled("DISABLE_KAGGLE_CACHE") else [named, model.model]
    candidates = [
        *((f"{_get_notebook_input_dir()}/{mount}", "") for mount in mounts),
        (f"{get_cache_dir()}/{named}", COMPLETE_SUFFIX),
    ]
    for parent, marker_suffix in candidates:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(parent)):
                if framework_key(name) == framework_key(model.framework):
                    yield f"{parent}/{name}/{model.variation}", marker_suffix


def get_cache_dir() -> str:
    """Return where kagglehub keeps what it downloads."""
    return os.path.abspath(os.path.expanduser(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub"))


def is_disabled(variable: str) -> bool:
    """Whether a variable of kagglehub's turns a copy off, by the values that kagglehub accepts."""
    return os.environ.get(variable, "").lower() in ("true", "1", "t")


def _get_notebook_input_dir() -> str:
    """Return where a notebook on Kaggle has its inputs; the variable is kagglehub's."""
    return os.path.abspath(os.environ.get("KAGGLE_CACHE_MOUNT_FOLDER") or "/kaggle/input")
