"""Publishes models where servers read them: in a directory of their own, in the layout of TensorFlow Serving or a flat one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.integrations.serving.outcome import Published
    from tfimm_resolver.integrations.serving.publishing import publish
    from tfimm_resolver.integrations.serving.serving_config import write_models_config
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Published": "tfimm_resolver.integrations.serving.outcome",
            "publish": "tfimm_resolver.integrations.serving.publishing",
            "write_models_config": "tfimm_resolver.integrations.serving.serving_config",
        },
    )

__all__ = [
    "Published",
    "publish",
    "write_models_config",
]
