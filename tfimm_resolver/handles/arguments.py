"""Arguments that take one name or several, checked in one place: a str must not be taken for a list of its characters."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tfimm_resolver.errors import HandleError


def list_names(value: object, argument: str, *, also: tuple[type, ...] = ()) -> list[Any]:
    """Return the names in an argument, which is one name or several; each is a str, a path, or of a type in ``also``.

    Raises:
        HandleError: if it is, or has, anything else; the message names the ``argument``.
    """
    kinds = (str, os.PathLike, *also)
    if isinstance(value, kinds):
        names = [value]
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        names = list(value)
    else:
        raise HandleError(f"{argument} is a name or a list of names, not {type(value).__name__}: {value!r:.80}")
    for name in names:
        if not isinstance(name, kinds):
            raise HandleError(f"a name in {argument} is a str, not {type(name).__name__}: {name!r:.80}")
    return [os.fspath(name) if isinstance(name, os.PathLike) else name for name in names]
