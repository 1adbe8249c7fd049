"""Resolves handles of TensorFlow SavedModels to paths, and loads models; importing it makes tensorflow_hub use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfimm_resolver import errors
from tfimm_resolver._util.import_hooks import provide_modules
from tfimm_resolver._util.lazy import export_lazily, set_public_module
from tfimm_resolver._util.outgoing import install_log_filter
from tfimm_resolver.integrations.tensorflow_hub import register, unregister
from tfimm_resolver.progress.events import on_event
from tfimm_resolver.resolution.overrides import clear_model_cache, list_cached_models, set_model_cache, using
from tfimm_resolver.resolution.resolver import cached_model_path, resolve
from tfimm_resolver.settings import get_dir, set_dir
from tfimm_resolver.settings.absl_flags import install_absl_hooks

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    # Also for PyInstaller and other freezers, which take along what an import statement names: what is imported by its name.
    from tfimm_resolver import (  # noqa: F401  # until version 1.0
        bundle,
        bundles,
        handle,
        hub,
        inspection,
        integrations,
        maintenance,
        plan,
        project,
        sources,
        unbundle,
    )
    from tfimm_resolver.inspection.reading import inspect
    from tfimm_resolver.loading.loaded_model import LoadedModel, LoadedSignature
    from tfimm_resolver.loading.loader import load, load_options
    from tfimm_resolver.maintenance.cached_models import CachedModels, cached

__version__ = "0.2.0"  # as in setup.cfg; a constant, since a zip or a frozen program has no metadata

__all__ = [
    "CachedModels",
    "LoadedModel",
    "LoadedSignature",
    "bundles",
    "cached",
    "cached_model_path",
    "clear_model_cache",
    "errors",
    "get_dir",
    "hub",
    "inspect",
    "inspection",
    "integrations",
    "list_cached_models",
    "load",
    "load_options",
    "maintenance",
    "on_event",
    "project",
    "register",
    "resolve",
    "set_dir",
    "set_model_cache",
    "sources",
    "unregister",
    "using",
]

if not TYPE_CHECKING:
    # Imported on first use, to keep the import fast: load takes 4 ms, hub 5 ms.
    _PACKAGES = ("bundles", "hub", "inspection", "integrations", "maintenance", "project", "sources")
    __getattr__, _ = export_lazily(
        __name__,
        {
            **{name: f"{__name__}.{name}" for name in _PACKAGES},
            "CachedModels": f"{__name__}.maintenance.cached_models",
            "LoadedModel": f"{__name__}.loading.loaded_model",
            "LoadedSignature": f"{__name__}.loading.loaded_model",
            "cached": f"{__name__}.maintenance.cached_models",
            "inspect": f"{__name__}.inspection.reading",
            "load": f"{__name__}.loading.loader",
            "load_options": f"{__name__}.loading.loader",
        },
    )

    def __dir__() -> list[str]:
        return __all__


def _find_hub_package(name: str) -> ModuleSpec:
    from tfimm_resolver.hub.unpickling import find_spec

    return find_spec(name)


set_public_module(__name__, *map(globals().get, __all__))
install_log_filter()
install_absl_hooks()
provide_modules("tfimm_hub_[a-z0-9_]{0,40}_[0-9a-f]{16}", _find_hub_package)  # as hub.isolation.make_name makes them
register()
