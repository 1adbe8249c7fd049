"""The canonical key of models whose handles have several spellings: those of Kaggle and of Hugging Face."""

from __future__ import annotations

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.handles.kaggle import KaggleModel


def canonical_key(scheme: str, host: str, path: str) -> str | None:
    """Return the key that all spellings of a model share; None for other handles, and for a malformed one."""
    try:
        model = KaggleModel.parse(scheme, host, path) or HuggingFaceModel.parse(scheme, host, path)
    except HandleError:  # raised again, and reported, by the source of the scheme
        return None
    return model.key if model else None
