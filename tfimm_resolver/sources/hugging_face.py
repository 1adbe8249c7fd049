"""Hugging Face: a folder of a repository at one commit, by huggingface_hub; a branch is looked up at each call."""

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
    """Return the plan for a model on Hugging Face; None for other handles."""
    if handle.scheme != "hf" and handle.host not in HUGGING_FACE_HOSTS:
        return None
    from tfimm_resolver.handles.hugging_face import HuggingFaceModel

    model = HuggingFaceModel.parse(handle.scheme, handle.host, handle.path)
    if model is None:
        return None
    if handle.sha256 is not None:
        raise HandleError(
            f"{handle} is not an archive, and only an archive can be pinned by sha256",
            fix=f"A commit pins all its files: write {model.with_revision('COMMIT').key}.",
        )
    return Fetch(model.key, partial(_download, model)) if model.is_immutable else MutableRef(partial(_look_up, model))


def _look_up(model: HuggingFaceModel, fetcher: Fetcher) -> str:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    return model.with_revision(Repository(model).look_up_commit()).key


def _download(model: HuggingFaceModel, into: Path, fetcher: Fetcher) -> None:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    repository = Repository(model)
    fetcher.files = repository.download(into, fetcher.parts)
    fetcher.origin = repository.origin
