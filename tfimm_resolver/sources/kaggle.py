"""Kaggle: a model comes as one archive by Kaggle's interface; what kagglehub or a notebook has here is read where it lies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, HandleError
from tfimm_resolver.handles.handle import KAGGLE_HOSTS, Handle
from tfimm_resolver.saved_model.completeness import find_defect
from tfimm_resolver.sources import tfhub
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.handles.kaggle import KaggleModel
    from tfimm_resolver.http.credentials import Credentials
    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

SCHEMES = ("kaggle", "http", "https")

_VERSION_DIGITS_MAX = 9


def plan(handle: Handle) -> InPlace | Fetch | RemoteLocation | MutableRef | None:
    """What is done with a model on Kaggle."""
    model = _model(handle)
    if model is None:
        return None
    if model.version is None:
        return MutableRef(partial(_latest_remote_version, model), partial(_latest_local_version, model))
    # Where it lies nobody knows the hash of the archive that it came from.
    if handle.sha256 is None and (place := _find_local_copy(model)) is not None:
        return InPlace(place)
    fetch = Fetch(model.key, partial(_fill, model))
    if settings.load_format() != "UNCOMPRESSED":
        return fetch
    from tfimm_resolver.sources import kaggle_credentials

    # Kaggle speaks the protocol of tfhub.dev, whose models it took over.
    return tfhub.uncompressed(handle, f"{kaggle_credentials.url()}/models/{model.path}?tf-hub-format=uncompressed", fetch)


def _model(handle: Handle) -> KaggleModel | None:
    if handle.scheme != "kaggle" and handle.host not in KAGGLE_HOSTS:
        return None
    from tfimm_resolver.handles.kaggle import KaggleModel

    return KaggleModel.parse(handle.scheme, handle.host, handle.path)


def _fill(model: KaggleModel, into: Path, fetcher: Fetcher) -> None:
    from tfimm_resolver.sources import kaggle_credentials

    who = kaggle_credentials.credentials()
    with _map_kaggle_errors(model, who):
        fetcher.archive(_address(model, "download"), into, authorization=who.authorization if who else "")


def _latest_remote_version(model: KaggleModel, fetcher: Fetcher) -> str:
    """The newest version, as Kaggle has it."""
    from tfimm_resolver._util.text import describe_prefix
    from tfimm_resolver.sources import kaggle_credentials

    who, address = kaggle_credentials.credentials(), _address(model, "get")
    with _map_kaggle_errors(model, who):
        text = fetcher.page(address, authorization=who.authorization if who else "")
    try:
        version = json.loads(text)["versionNumber"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if type(version) is not int or not 0 < version < 10**_VERSION_DIGITS_MAX:
        raise FetchError(
            f"{model.key}: {address} does not say the newest version, but {describe_prefix(text)}",
            fix=f"RemoteLocation for a version: {model.key}/1. {kaggle_credentials.URL} is to be the address of Kaggle.",
        )
    return model.at(version).key


def _latest_local_version(model: KaggleModel, cached: Iterable[str]) -> str | None:
    """The newest version that is here."""
    versions = {version for version in _versions(model) if _find_local_copy(model.at(version)) is not None}
    for text in cached:
        with contextlib.suppress(HandleError):
            other = _model(Handle.parse(text))
            if other is not None and other.version is not None and other.at(None) == model:
                versions.add(other.version)
    return model.at(max(versions)).key if versions else None


def _address(model: KaggleModel, deed: str) -> str:
    """https://github.com/Kaggle/kaggle-api, and kagglehub, know these."""
    from tfimm_resolver.sources import kaggle_credentials

    return f"{kaggle_credentials.url()}/api/v1/models/{model.path}/{deed}"


@contextlib.contextmanager
def _map_kaggle_errors(model: KaggleModel, who: Credentials | None) -> Iterator[None]:
    """What Kaggle refuses, with who asked, and where consent is given; the storage to which it redirects knows neither."""
    from tfimm_resolver.sources import kaggle_credentials

    page = model.key.partition(f"/{model.framework}/")[0]
    asked = f"asked with the credentials of {who.source}" if who else "asked without credentials"
    try:
        yield
    except AccessError as error:
        if f"{kaggle_credentials.url()}/" not in error.text:
            raise
        consent = f"Open {page}, log in, and give consent if it asks for that."
        fix = f"{consent} {'' if who else kaggle_credentials.TOKEN_FIX}".strip()
        raise AccessError(f"{error.text}\n  {asked}", fix=fix, status=error.status) from error
    except ArchiveError as error:
        if "an HTML page" not in error.text:
            raise
        raise ArchiveError(f"{error.text}\n  {asked}", fix=f"Open {page}: Kaggle may want something there.") from error


def _find_local_copy(model: KaggleModel) -> str | None:
    """Where others have put the whole model on this machine."""
    for folder, mark in _local_candidates(model):
        place = f"{folder}/{model.version}"
        is_complete = not mark or os.path.isfile(place + mark)
        if is_complete and find_defect(place) is None:
            if folder.startswith(f"{_notebook_input_dir()}/{model.model}/") and place not in _told:
                _told.add(place)
                log.warning("%s is taken for %s, although it does not say whose it is", place, model.key)
            return place
    return None


_told: set[str] = set()


def _versions(model: KaggleModel) -> Iterator[int]:
    """Every version of which something lies on this machine."""
    for folder, _ in _local_candidates(model):
        with contextlib.suppress(OSError):
            names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
            yield from (int(name) for name in names if len(name) <= _VERSION_DIGITS_MAX)


def _local_candidates(model: KaggleModel) -> Iterator[tuple[str, str]]:
    """Where the versions of a model may lie, and how the file is called beside one that says that it is complete.

    Kaggle's notebooks have /kaggle/input/models/OWNER/MODEL/framework/VARIATION, and older ones /kaggle/input/MODEL/...;
    kagglehub.cache names the third.
    """
    from tfimm_resolver.handles.kaggle import framework_key

    cache = os.path.abspath(os.path.expanduser(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub"))
    named = f"models/{model.owner}/{model.model}"
    for parent, mark in (
        (f"{_notebook_input_dir()}/{named}", ""),
        (f"{_notebook_input_dir()}/{model.model}", ""),
        (f"{cache}/{named}", ".complete"),
    ):
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(parent)):
                if framework_key(name) == framework_key(model.framework):
                    yield f"{parent}/{name}/{model.variation}", mark


def _notebook_input_dir() -> str:
    """Where a notebook on Kaggle has its inputs; the variable is kagglehub's."""
    return os.path.abspath(os.environ.get("KAGGLE_CACHE_MOUNT_FOLDER") or "/kaggle/input")
