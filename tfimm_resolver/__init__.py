"""Resolves handles of TensorFlow SavedModels to paths, and loads them; importing it makes tensorflow_hub use it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfimm_resolver import errors, flags
from tfimm_resolver.adapters.tensorflow_hub import register, unregister
from tfimm_resolver.names import (
    clear_model_cache,
    list_cached_models,
    set_model_cache,
    using,
)
from tfimm_resolver.resolver import cached_model_path, resolve
from tfimm_resolver.settings import get_dir, set_dir

if TYPE_CHECKING:
    from tfimm_resolver.loading import load, load_options

__all__ = [
    "cached_model_path",
    "clear_model_cache",
    "errors",
    "get_dir",
    "list_cached_models",
    "load",
    "load_options",
    "register",
    "resolve",
    "set_dir",
    "set_model_cache",
    "unregister",
    "using",
]


def __getattr__(name: str) -> Any:
    if name == "hub":
        return importlib.import_module("tfimm_resolver.hub")  # 5 ms that only its users pay
    if name in ("load", "load_options"):
        return getattr(importlib.import_module("tfimm_resolver.loading"), name)  # 4 ms that who resolves need not wait for
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # 20 ms that few ask for

    return version("tfimm_resolver")


flags.watch_absl()
register()
