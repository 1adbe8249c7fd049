"""Imports a hubconf.py after checking its dependencies, lists its entry points and calls them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import EntryPointError, HandleError, MissingDependencyError, ResolverError
from tfimm_resolver.errors.advice import join_advice
from tfimm_resolver.hub import failures
from tfimm_resolver.hub.dependencies import find_missing, suggest_install
from tfimm_resolver.hub.isolation import HUBCONF, Checkout, get_namespace
from tfimm_resolver.hub.source_finder import MODULE_BYTES_MAX

_DEPENDENCIES = "dependencies"


class Hubconf:
    """The hubconf.py of a repository, imported; a text is a local directory.

    Raises:
        MissingDependencyError: if a package that it depends on is not installed. Its code has run only if the list of
            dependencies is computed.
        EntryPointError: if it cannot be imported.
    """

    def __init__(self, checkout: Checkout | str) -> None:
        if isinstance(checkout, str):
            checkout = Checkout(checkout, os.path.basename(checkout))
        self._folder, self._path = checkout.path, f"{checkout.path}/{HUBCONF}"
        self._namespace = get_namespace(checkout)
        self._check(_read_declared_dependencies(self._path))
        try:
            with self._map_errors(f"{self._path} cannot be imported"), self._namespace.running():
                self._module: ModuleType = importlib.import_module(f"{self._namespace.name}.{HUBCONF.removesuffix('.py')}")
        except BaseException:
            self._namespace.forget()
            raise
        with self._map_errors(f"the dependencies of {self._path} cannot be read"):
            computed = getattr(self._module, _DEPENDENCIES, None)
        self._check([name for name in computed if isinstance(name, str)] if isinstance(computed, (list, tuple)) else [])

    def list_names(self) -> list[str]:
        """Return the names of the entry points: those in ``__all__``, or else every public callable, as torch.hub does."""
        with self._map_errors(f"the entry points of {self._path} cannot be listed"):
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
        with self._map_errors(f"the entry point {name} of {self._path} cannot be accessed"):
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
        with self._map_errors(f"the entry point {name} of {self._path} failed"), self._namespace.running():
            return entry(*args, **kwargs)

    def _find(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self._module, name, None) if isinstance(name, str) else None
        return found if callable(found) else None

    def _check(self, dependencies: list[str]) -> None:
        missing = find_missing(dependencies, self._namespace)
        if missing:
            fix = f"Install the dependencies of {show(self._path)}, then try again."
            raise MissingDependencyError(
                f"Missing dependencies: {show(', '.join(missing))}", fix=join_advice([fix, suggest_install(missing)])
            )

    @contextlib.contextmanager
    def _map_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ResolverError:
            raise
        except Exception as error:
            line = str(error).strip().partition("\n")[0].replace(f"{self._namespace.name}.", "")
            text = f"{what}: {type(error).__name__}{': ' * bool(line)}{show(line)}"
            hints, fix = failures.explain(error, self._folder)
            raise EntryPointError("\n  ".join((text, *hints)), fix=fix) from error


def _read_declared_dependencies(path: str) -> list[str]:
    """Return the ``dependencies`` of a hubconf.py without running it; empty if they are not a literal list."""
    try:
        body = ast.parse(fs.read_regular(path, MODULE_BYTES_MAX, follow=True), path).body
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise EntryPointError(
            f"{show(path)} cannot be read: {show(error)}", fix="Correct the file, or ask the author of the repository to."
        ) from error
    dependencies: list[str] = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == _DEPENDENCIES for target in targets):
            with contextlib.suppress(ValueError, TypeError, SyntaxError):  # a computed value is checked after the import
                value = ast.literal_eval(getattr(node, "value", None) or ast.List([]))
                dependencies = [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple)) else []
    return dependencies
