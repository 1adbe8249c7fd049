"""Hugging Face: a folder of a repository at one commit, by huggingface_hub or from its cache; branches are looked up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS, Handle
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.handles.hugging_face import HuggingFaceModel
    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("hf", "http", "https")


def plan(handle: Handle) -> InPlace | Fetch | MutableRef | None:
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
    if not model.is_immutable:
        return MutableRef(partial(_look_up, model), local=partial(_find_local, model))
    from tfimm_resolver.sources.hugging_face_cache import find_snapshot

    path = find_snapshot(model)
    return Fetch(model.key, partial(_download, model)) if path is None else InPlace(path)


def _find_local(model: HuggingFaceModel) -> str | None:
    """Return the handle of the commit that Hugging Face's own cache has for a branch or tag, if it is complete there."""
    from tfimm_resolver.sources.hugging_face_cache import find_commit, find_snapshot

    commit = find_commit(model)
    fixed = model.with_revision(commit) if commit else None
    return fixed.key if fixed and find_snapshot(fixed) else None


def _look_up(model: HuggingFaceModel, fetcher: Fetcher) -> str:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    return model.with_revision(Repository(model).look_up_commit()).key


def _download(model: HuggingFaceModel, into: Path, fetcher: Fetcher) -> None:
    from tfimm_resolver.sources.hugging_face_repository import Repository

    repository = Repository(model)
    fetcher.files = repository.download(into, fetcher.parts, fetcher.reserve)
    fetcher.origin = repository.origin
