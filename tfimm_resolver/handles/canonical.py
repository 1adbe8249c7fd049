"""Models that have several spellings, those of Kaggle and of Hugging Face, and the one key that all spellings share."""

from __future__ import annotations

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.handles.kaggle import KaggleModel


def canonical_key(scheme: str, host: str, path: str) -> str | None:
    """The key of a model with several spellings; None for all others, and where the spelling is none."""
    try:
        model = KaggleModel.parse(scheme, host, path) or HuggingFaceModel.parse(scheme, host, path)
    except HandleError:  # it is told by who is asked for the model
        return None
    return model.key if model else None
