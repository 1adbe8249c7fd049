"""Models that have several spellings, those of Kaggle and of Hugging Face, and the one key that all spellings share."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from tfimm_resolver.errors import HandleError
from tfimm_resolver.git_names import COMMIT, is_ref

KAGGLE_PAGES = "https://www.kaggle.com/models"
KAGGLE_FORM = (
    f"kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION], or {KAGGLE_PAGES}/OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]"
)
HUGGING_FACE_FORM = "hf://OWNER/MODEL[@REVISION][/FOLDER]; a slash in REVISION is written %2F"

_FRAMEWORKS = (
    "tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "keras", "jax", "flax", "pax", "pyTorch", "transformers", "onnx", "coral",
    "scikitLearn", "mxnet", "maxText", "gemmaCpp", "ggml", "gguf", "tensorRtLlm", "triton", "vllm", "api", "other",
)  # fmt: skip
_SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VERSION = re.compile(r"0*[1-9][0-9]{0,8}")
_OLD_FORM = re.compile(r"([^/]+/[^/]+)/frameworks/([^/]+)/variations/([^/]+)(?:/versions/([^/]+))?")

_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_AFTER_OWNER = re.compile(r"/(?P<model>[^/@]+)(@(?P<revision>refs/(pr|convert)/[^/]+|[^/]*))?(/(?P<folder>.*))?")
_PAGE = re.compile(
    r"/(?P<owner>[^/@]+)/(?P<model>[^/@]+)(/tree/(?P<revision>refs/(pr|convert)/[^/]+|[^/]+)(/(?P<folder>.*))?)?"
)
_NOT_OWNERS = ("api", "blog", "buckets", "collections", "datasets", "docs", "kernels", "models", "organizations", "spaces")
_DEFAULT_BRANCH = "main"


def key(scheme: str, host: str, path: str) -> str | None:
    """The key of a model with several spellings; None for all others, and where the spelling is none."""
    try:
        model = KaggleModel.parse(scheme, host, path) or HuggingFaceModel.parse(scheme, host, path)
    except HandleError:  # it is told by who is asked for the model
        return None
    return model.key if model else None


def framework_key(text: str) -> str:
    """What all spellings of a framework's name have in common; Kaggle takes each of them."""
    return re.sub("[_-]", "", text).lower()


@dataclass(frozen=True, slots=True)
class KaggleModel:
    """A model on Kaggle; without a version it is whatever version is the newest.

    Attributes:
        framework: in Kaggle's own spelling, if it is one that was known in November 2026.
    """

    owner: str
    model: str
    framework: str
    variation: str
    version: int | None = None

    @classmethod
    def parse(cls, scheme: str, host: str, path: str) -> KaggleModel | None:
        """What the parts of a handle name; None if they name nothing of Kaggle's models.

        Raises:
            HandleError: if they should, and do not.
        """
        if scheme == "kaggle":
            named = host + path
        elif host.removeprefix("www.") == "kaggle.com" and (found := re.match(r"(?:/api/v1)?/models(?:/|$)", path)):
            named = path[found.end() :].removesuffix("/download")
        else:
            return None
        if found := _OLD_FORM.fullmatch(named):
            named = "/".join(filter(None, found.groups()))
        slugs = named.split("/")
        version = slugs.pop() if len(slugs) == 5 else None
        is_named = len(slugs) == 4 and all(map(_SLUG.fullmatch, slugs)) and slugs[2] != "frameworks"
        if not is_named or (version is not None and not _VERSION.fullmatch(version)):
            place = f"kaggle://{named}" if scheme == "kaggle" else f"{scheme}://{host}{path}"
            raise HandleError(f'"{place}" names no variation of a model on Kaggle', fix=f"Write {KAGGLE_FORM}.")
        owner, model, framework, variation = slugs
        known = {framework_key(name): name for name in _FRAMEWORKS}
        framework = known.get(framework_key(framework), framework)
        return cls(owner, model, framework, variation, None if version is None else int(version))

    def at(self, version: int | None) -> KaggleModel:
        """The same in another version."""
        return replace(self, version=version)

    @property
    def path(self) -> str:
        """As it stands in addresses on Kaggle, behind ``models/``."""
        version = "" if self.version is None else f"/{self.version}"
        return f"{self.owner}/{self.model}/{self.framework}/{self.variation}{version}"

    @property
    def key(self) -> str:
        """The page of the model, as a browser shows its address: tensorflow_hub is given it, too, and shares its copy."""
        return f"{KAGGLE_PAGES}/{self.path}"


@dataclass(frozen=True, slots=True)
class HuggingFaceModel:
    """A folder of a repository on Hugging Face.

    Attributes:
        revision: a branch, a tag or a commit; empty for the default branch, which is called "main" in every repository.
        folder: empty for the whole repository.
    """

    owner: str
    model: str
    revision: str = ""
    folder: str = ""

    @classmethod
    def parse(cls, scheme: str, host: str, path: str) -> HuggingFaceModel | None:
        """What the parts of a handle name; None if they name no model on Hugging Face.

        Raises:
            HandleError: if they should, and do not.
        """
        if scheme == "hf":
            found = _AFTER_OWNER.fullmatch(path)
            owner, folder = host, (found["folder"] or "") if found else ""
        elif host in ("huggingface.co", "hf.co") and (found := _PAGE.fullmatch(path)) and found["owner"] not in _NOT_OWNERS:
            owner, folder = found["owner"], unquote(found["folder"] or "")
        else:
            return None
        revision = unquote(found["revision"] or "") if found else ""
        is_named = found is not None and owner not in _NOT_OWNERS and all(map(_is_name, (owner, found["model"])))
        is_empty = found is not None and found["revision"] == ""
        if found is None or not is_named or is_empty or (revision and not is_ref(revision)) or not _is_inside(folder):
            place = f"{scheme}://{host}{path}"
            raise HandleError(f'"{place}" names no model on Hugging Face', fix=f"Write {HUGGING_FACE_FORM}.")
        if COMMIT.fullmatch(revision.lower()):
            revision = revision.lower()
        return cls(owner, found["model"], "" if revision == _DEFAULT_BRANCH else revision, folder)

    def at(self, commit: str) -> HuggingFaceModel:
        """The same at another revision."""
        return replace(self, revision=commit)

    @property
    def is_fixed(self) -> bool:
        """Whether it is always the same: the revision is a whole commit."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.model}"

    @property
    def key(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"hf://{self.repository}{revision}" + (f"/{self.folder}" if self.folder else "")


def _is_name(text: str) -> bool:
    """https://huggingface.co/docs/hub/repositories-getting-started, as huggingface_hub checks it."""
    return _REPOSITORY_NAME.fullmatch(text) is not None and "--" not in text and ".." not in text


def _is_inside(folder: str) -> bool:
    return not folder or all(part not in ("", ".", "..") and "\\" not in part for part in folder.split("/"))
