"""Hugging Face: a folder of a repository at one commit, by huggingface_hub; which commit a branch is at is asked each time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS, Handle
from tfimm_resolver.sources.plan import Fetch, MutableRef

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.handles.hugging_face import HuggingFaceModel
    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("hf", "http", "https")


def plan(handle: Handle) -> Fetch | MutableRef | None:
    """What is done with a model on Hugging Face."""
    if handle.scheme != "hf" and handle.host not in HUGGING_FACE_HOSTS:
        return None
    from tfimm_resolver.handles.hugging_face import HuggingFaceModel

    model = HuggingFaceModel.parse(handle.scheme, handle.host, handle.path)
    if model is None:
        return None
    if handle.sha256 is not None:
        raise HandleError(
            f"{handle} is no archive, and only an archive can be pinned by sha256",
            fix=f"A commit pins all its files: write {model.at('COMMIT').key}.",
        )
    return Fetch(model.key, partial(_fill, model)) if model.is_fixed else MutableRef(partial(_now, model))


def _now(model: HuggingFaceModel, fetcher: Fetcher) -> str:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    return model.at(Repository(model).commit()).key


def _fill(model: HuggingFaceModel, into: Path, fetcher: Fetcher) -> None:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    repository = Repository(model)
    fetcher.files = repository.bring(into, fetcher.parts)
    fetcher.origin = repository.origin
