"""Data types by name."""

from __future__ import annotations

import numpy as np
import pytest

from tfimm_resolver._util.dtypes import get_dtype


@pytest.mark.parametrize("name", ["<f4", "?", "u1", "<c16"])
def test_a_type_of_numpy_is_returned_without_other_packages(name: str) -> None:
    assert get_dtype(name) == np.dtype(name)
