"""Data types of arrays by name, with those that only TensorFlow and JAX have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def get_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's data type of that name, or that of ml_dtypes, such as ``bfloat16``."""
    import numpy as np

    with contextlib.suppress(TypeError):
        return np.dtype(name)
    import ml_dtypes  # comes with TensorFlow; not imported unless needed, since it adds names to NumPy

    extra: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return extra
