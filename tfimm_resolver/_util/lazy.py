"""Lazy public names of packages (PEP 562), and forwarding from modules that have moved."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any


def export_lazily(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose public names are imported on first use.

    Args:
        package: the package's ``__name__``.
        names: maps each public name to the module that defines it, or to the module itself if that is what is public; where
            the name is another one in its module, to ``module:name``.

    >>> getattr_, dir_ = export_lazily("shapes", {"sqrt": "math", "path": "os.path", "root": "math:sqrt"})
    >>> getattr_("sqrt")(4.0), getattr_("root")(9.0), dir_()
    (2.0, 3.0, ['path', 'root', 'sqrt'])
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        path, _, attribute = names[name].partition(":")
        module = importlib.import_module(path)
        if path.rpartition(".")[2] == name and not hasattr(module, name):
            return module
        value = getattr(module, attribute or name)
        set_public_module(package, value)
        return value

    return get, lambda: sorted(names)


def set_public_module(package: str, *values: object) -> None:
    """Make functions belong to the package that publishes them, as ``help()`` and pickles name them; the shortest name wins.

    A module that defines one may move, and a pickle that names it would break. Classes stay where they are defined, because
    ``typing.get_type_hints`` looks up the names in their annotations there.
    """
    for value in values:
        if isinstance(value, FunctionType) and value.__module__.startswith(f"{package}."):
            value.__module__ = package


def forward(
    old: str,
    new: str,
    renamed: Mapping[str, str] | None = None,
    *,
    public: str = "",
    others: Callable[[str], Any] | None = None,
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module that has moved: it warns, and returns the attribute of the new module.

    Args:
        old: the name of the module that has moved.
        new: the name of the module that replaces it.
        renamed: maps names of the old module to those of the new one, where they differ.
        public: the package that lists the names, for the warning, if it is another one than ``new``.
        others: returns every name that is not in ``renamed``, for a module that still has names of its own.
    """

    def get(name: str) -> Any:
        if others is not None and name not in (renamed or {}):
            return others(name)
        target = (renamed or {}).get(name, name)
        module = importlib.import_module(new)
        if name.startswith("__") or not hasattr(module, target):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        is_public = target in getattr(importlib.import_module(public or new), "__all__", ())
        where = public if public and is_public else new
        text = f"{old}.{name} is now {where}.{target}; the old name works until version 1.0"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(module, target)

    return get
