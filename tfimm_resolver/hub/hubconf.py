"""Imports a hubconf.py after checking its dependencies, lists its entry points and calls them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import EntryPointError, HandleError, MissingDependencyError, ResolverError
from tfimm_resolver.hub.isolation import ModuleNamespace, get_namespace
from tfimm_resolver.hub.repository import HUBCONF

_DEPENDENCIES = "dependencies"
_BYTES_MAX = 16 << 20


class Hubconf:
    """The hubconf.py of the repository in a directory, imported.

    Raises:
        MissingDependencyError: if a package that it depends on is not installed. Its code has run only if the list of
            dependencies is computed.
        EntryPointError: if it cannot be imported.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{HUBCONF}"
        self._namespace = get_namespace(folder, HUBCONF)
        self._check(_read_declared_dependencies(self._path))
        try:
            with _map_errors(f"{self._path} cannot be imported"), self._namespace.restore_sys_path():
                self._module: ModuleType = importlib.import_module(f"{self._namespace.name}.{HUBCONF.removesuffix('.py')}")
        except BaseException:
            self._namespace.forget()
            raise
        with _map_errors(f"the dependencies of {self._path} cannot be read"):
            computed = getattr(self._module, _DEPENDENCIES, None)
        self._check([name for name in computed if isinstance(name, str)] if isinstance(computed, (list, tuple)) else [])

    def list_names(self) -> list[str]:
        """Return the names of the entry points: those in ``__all__``, or else every public callable, as torch.hub does."""
        with _map_errors(f"the entry points of {self._path} cannot be listed"):
            listed = getattr(self._module, "__all__", None)
            names = dir(self._module) if listed is None else [*listed]
            return [
                name for name in names if (listed is not None or not name.startswith("_")) and self._find(name) is not None
            ]

    def get_entry(self, name: str) -> Callable[..., Any]:
        """Return the entry point of that name.

        Raises:
            HandleError: if the name is not a string.
            EntryPointError: if there is no such entry point.
        """
        if not isinstance(name, str):
            raise HandleError(f"Invalid input: model should be a string of function name, not {name!r:.80}")
        with _map_errors(f"the entry point {name} of {self._path} cannot be accessed"):
            found = self._find(name)
        if found is None:
            fix = f"Its entry points are: {', '.join(self.list_names()) or 'none'}."
            raise EntryPointError(f"Cannot find callable {show(name)} in hubconf\n  looked in {show(self._path)}", fix=fix)
        return found

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call an entry point and return its result.

        Raises:
            EntryPointError: if it raises an exception, which becomes the cause; a ResolverError is not wrapped.
        """
        entry = self.get_entry(name)
        with _map_errors(f"the entry point {name} of {self._path} failed"), self._namespace.restore_sys_path():
            return entry(*args, **kwargs)

    def _find(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self._module, name, None) if isinstance(name, str) else None
        return found if callable(found) else None

    def _check(self, dependencies: list[str]) -> None:
        missing = [name for name in dependencies if not _is_installed(name, self._namespace)]
        if missing:
            raise MissingDependencyError(
                f"Missing dependencies: {', '.join(missing)}",
                fix=f"Install the dependencies of {show(self._path)}, then try again.",
            )


def _read_declared_dependencies(path: str) -> list[str]:
    """Return the ``dependencies`` of a hubconf.py without running it; empty if they are not a literal list."""
    try:
        body = ast.parse(fs.read_regular(path, _BYTES_MAX, follow=True), path).body
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise EntryPointError(f"{show(path)} cannot be read: {show(error)}") from error
    dependencies: list[str] = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == _DEPENDENCIES for target in targets):
            with contextlib.suppress(ValueError, TypeError, SyntaxError):  # a computed value is checked after the import
                value = ast.literal_eval(getattr(node, "value", None) or ast.List([]))
                dependencies = [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple)) else []
    return dependencies


def _is_installed(name: str, space: ModuleNamespace) -> bool:
    try:
        return space.owns(name.partition(".")[0]) or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):  # raised by a parent package, or for an imported module without a spec
        return name in sys.modules


@contextlib.contextmanager
def _map_errors(what: str) -> Iterator[None]:
    try:
        yield
    except ResolverError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise EntryPointError(f"{what}: {type(error).__name__}{': ' * bool(reason)}{show(reason)}") from error
