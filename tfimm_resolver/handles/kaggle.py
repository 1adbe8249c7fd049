"""Parses handles of models on Kaggle, in all their spellings; the URL of a model's page is its key."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tfimm_resolver.errors import HandleError

KAGGLE_PAGES = "https://www.kaggle.com/models"
KAGGLE_FORM = (
    f"kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION], or {KAGGLE_PAGES}/OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]"
)
_FRAMEWORKS = (
    "tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "keras", "jax", "flax", "pax", "pyTorch", "transformers", "onnx", "coral",
    "scikitLearn", "mxnet", "maxText", "gemmaCpp", "ggml", "gguf", "tensorRtLlm", "triton", "vllm", "api", "other",
)  # fmt: skip
_SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VERSION = re.compile(r"0*[1-9][0-9]{0,8}")
_OLD_FORM = re.compile(r"([^/]+/[^/]+)/frameworks/([^/]+)/variations/([^/]+)(?:/versions/([^/]+))?")


def framework_key(text: str) -> str:
    """Return what all spellings of a framework's name have in common; Kaggle accepts each of them."""
    return re.sub("[_-]", "", text).lower()


def is_known_framework(text: str) -> bool:
    """Whether a text is the name of one of Kaggle's frameworks, in any spelling."""
    return framework_key(text) in map(framework_key, _FRAMEWORKS)


@dataclass(frozen=True, slots=True)
class KaggleModel:
    """A model on Kaggle; without a version, the newest one.

    Attributes:
        framework: in Kaggle's own spelling, if it was known in November 2026.
    """

    owner: str
    model: str
    framework: str
    variation: str
    version: int | None = None

    @classmethod
    def parse(cls, scheme: str, host: str, path: str) -> KaggleModel | None:
        """Return the model that the parts of a handle name; None for another scheme, host or kind of page.

        Raises:
            HandleError: if the handle is one of Kaggle's models, and malformed.
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
            text = f"kaggle://{named}" if scheme == "kaggle" else f"{scheme}://{host}{path}"
            raise HandleError(f'"{text}" does not name a variation of a model on Kaggle', fix=f"Write {KAGGLE_FORM}.")
        owner, model, framework, variation = slugs
        known = {framework_key(name): name for name in _FRAMEWORKS}
        framework = known.get(framework_key(framework), framework)
        return cls(owner, model, framework, variation, None if version is None else int(version))

    def with_version(self, version: int | None) -> KaggleModel:
        """Return the same model in another version."""
        return replace(self, version=version)

    @property
    def path(self) -> str:
        """The part of Kaggle's URLs after ``models/``."""
        version = "" if self.version is None else f"/{self.version}"
        return f"{self.owner}/{self.model}/{self.framework}/{self.variation}{version}"

    @property
    def key(self) -> str:
        """The URL of the model's page: users pass it to tensorflow_hub, too, so that both share one copy."""
        return f"{KAGGLE_PAGES}/{self.path}"
