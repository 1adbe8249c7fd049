"""The directory that ``tfimm-resolver run`` puts into PYTHONPATH; Python imports ``sitecustomize`` from it when it starts."""

from __future__ import annotations

__all__: list[str] = []
