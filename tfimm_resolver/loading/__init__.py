"""Loads models with TensorFlow, on the device that can read their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.loading.loaded_model import LoadedModel, LoadedSignature
    from tfimm_resolver.loading.loader import load, load_options
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "LoadedModel": "tfimm_resolver.loading.loaded_model",
            "LoadedSignature": "tfimm_resolver.loading.loaded_model",
            "load": "tfimm_resolver.loading.loader",
            "load_options": "tfimm_resolver.loading.loader",
        },
    )

__all__ = [
    "LoadedModel",
    "LoadedSignature",
    "load",
    "load_options",
]
