"""Parses JSON that others may have written: its size and the number of its values are limited before it is parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

BYTES_MAX = 4 << 20
"""Limit on a text, if the caller gives none. One character of some kinds makes Python store four bytes for each."""

VALUES_MAX = 50_000
"""Limit on the values, if the caller gives none. An empty list is two characters of text, and takes 30 times their memory."""

_OPENING_OR_NEXT = ",[{"
"""Each value but the first follows one of these characters."""


def count_values(text: str) -> int:
    """Return how many values a JSON text may have: at most so many, since the characters also occur in strings."""
    return 1 + sum(map(text.count, _OPENING_OR_NEXT))


def parse_json(
    text: str | bytes,
    *,
    max_bytes: int = BYTES_MAX,
    max_values: int = VALUES_MAX,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return the value of a JSON text, which is UTF-8 if it is given as bytes.

    Raises:
        ValueError: if the text is not JSON, is over ``max_bytes`` or ``max_values``, or is nested too deeply.
    """
    if len(text) > max_bytes:
        raise ValueError(f"the JSON text has over {max_bytes} bytes")
    decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
    if count_values(decoded) > max_values:
        raise ValueError(f"the JSON text has over {max_values} values")
    try:
        return json.loads(decoded, object_pairs_hook=pairs_hook)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
