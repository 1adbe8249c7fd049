"""Parses handles of models on Hugging Face, in all their spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.git import COMMIT, is_ref
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS
from tfimm_resolver.manifest import get_model_directory

HUGGING_FACE_FORM = "hf://OWNER/MODEL[@REVISION][/FOLDER]; a slash in REVISION is written %2F"
_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_AFTER_OWNER = re.compile(r"/(?P<model>[^/@]+)(@(?P<revision>refs/(pr|convert)/[^/]+|[^/]*))?(/(?P<folder>.*))?")
_PAGE = re.compile(
    r"/(?P<owner>[^/@]+)/(?P<model>[^/@]+)(/tree/(?P<revision>refs/(pr|convert)/[^/]+|[^/]+)(/(?P<folder>.*))?)?"
)
_NOT_OWNERS = ("api", "blog", "buckets", "collections", "datasets", "docs", "kernels", "models", "organizations", "spaces")
_DEFAULT_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class HuggingFaceModel:
    """A folder of a repository on Hugging Face.

    Attributes:
        revision: a branch, a tag or a commit; empty for the default branch, whose name is "main" in every repository.
        folder: empty for the whole repository; for the path of a graph, the folder of its model.
    """

    owner: str
    model: str
    revision: str = ""
    folder: str = ""

    @classmethod
    def parse(cls, scheme: str, host: str, path: str) -> HuggingFaceModel | None:
        """Return the model that the parts of a handle name; None for another scheme, host or kind of page.

        Raises:
            HandleError: if the handle is one of Hugging Face, and malformed.
        """
        if scheme == "hf":
            found = _AFTER_OWNER.fullmatch(path)
            owner, folder = host, (found["folder"] or "") if found else ""
        elif host in HUGGING_FACE_HOSTS and (found := _PAGE.fullmatch(path)) and found["owner"] not in _NOT_OWNERS:
            owner, folder = found["owner"], unquote(found["folder"] or "")
        else:
            return None
        folder = get_model_directory(folder)
        revision = unquote(found["revision"] or "") if found else ""
        is_named = found is not None and owner not in _NOT_OWNERS and all(map(_is_name, (owner, found["model"])))
        is_empty = found is not None and found["revision"] == ""
        if found is None or not is_named or is_empty or (revision and not is_ref(revision)) or not _is_inside(folder):
            text = f"{scheme}://{host}{path}"
            raise HandleError(f'"{text}" does not name a model on Hugging Face', fix=f"Write {HUGGING_FACE_FORM}.")
        if COMMIT.fullmatch(revision.lower()):
            revision = revision.lower()
        return cls(owner, found["model"], "" if revision == _DEFAULT_BRANCH else revision, folder)

    def with_revision(self, revision: str) -> HuggingFaceModel:
        """Return the same model at another revision."""
        return replace(self, revision=revision)

    def with_folder(self, folder: str) -> HuggingFaceModel:
        """Return another folder of the same repository."""
        return replace(self, folder=folder)

    @property
    def is_immutable(self) -> bool:
        """Whether the model can never change: the revision is a full commit hash."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.model}"

    @property
    def key(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"hf://{self.repository}{revision}" + (f"/{self.folder}" if self.folder else "")


def format_hugging_face_handle(repository: str, revision: str = "", folder: str = "") -> str:
    """Return the handle of a folder of a repository, given the parts of a URL."""
    suffix = "" if revision in ("", _DEFAULT_BRANCH) else f"@{revision}"
    return f"hf://{repository}{suffix}" + (f"/{unquote(folder)}" if folder else "")


def _is_name(text: str) -> bool:
    """Whether huggingface_hub accepts the name (https://huggingface.co/docs/hub/repositories-getting-started)."""
    return _REPOSITORY_NAME.fullmatch(text) is not None and "--" not in text and ".." not in text


def _is_inside(folder: str) -> bool:
    return not folder or all(part not in ("", ".", "..") and "\\" not in part for part in folder.split("/"))
