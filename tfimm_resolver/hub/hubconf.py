"""A hubconf.py: what it needs, read from its text before it runs; its entry points; and one of them, called."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from tfimm_resolver.errors import EntryPointError, HandleError, MissingDependencyError, ResolverError
from tfimm_resolver.hub.isolation import ModuleNamespace, namespace_for
from tfimm_resolver.hub.repository import HUBCONF

_DEPENDENCIES = "dependencies"


class Hubconf:
    """The hubconf.py of the repository in a directory, imported.

    Raises:
        MissingDependencyError: if packages are missing that it names; none of its code has run then, as a rule.
        EntryPointError: if it cannot be imported.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{HUBCONF}"
        self._space = namespace_for(folder, HUBCONF)
        self._check(_stated(self._path))
        try:
            with _translated(f"{self._path} cannot be imported"), self._space.entered():
                self._module: ModuleType = importlib.import_module(f"{self._space.name}.{HUBCONF.removesuffix('.py')}")
        except BaseException:
            self._space.forget()
            raise
        with _translated(f"the dependencies of {self._path} cannot be had"):
            computed = getattr(self._module, _DEPENDENCIES, None)
        self._check([name for name in computed if isinstance(name, str)] if isinstance(computed, (list, tuple)) else [])

    def names(self) -> list[str]:
        """The entry points: what ``__all__`` says, else every public callable, as torch.hub has it."""
        with _translated(f"the entry points of {self._path} cannot be listed"):
            said = getattr(self._module, "__all__", None)
            names = dir(self._module) if said is None else [*said]
            return [name for name in names if (said is not None or not name.startswith("_")) and self._find(name) is not None]

    def entry(self, name: str) -> Callable[..., Any]:
        """One of them.

        Raises:
            HandleError: if the name is no text.
            EntryPointError: if there is none of that name.
        """
        if not isinstance(name, str):
            raise HandleError(f"Invalid input: model should be a string of function name, not {name!r:.80}")
        with _translated(f"the entry point {name} of {self._path} cannot be had"):
            found = self._find(name)
        if found is None:
            fix = f"It has {', '.join(self.names()) or 'no entry points'}."
            raise EntryPointError(f"Cannot find callable {name} in hubconf\n  looked in {self._path}", fix=fix)
        return found

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What an entry point gives.

        Raises:
            EntryPointError: if it raises; what it raised is the cause. Errors of this package come as they are.
        """
        entry = self.entry(name)
        with _translated(f"the entry point {name} of {self._path} failed"), self._space.entered():
            return entry(*args, **kwargs)

    def _find(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self._module, name, None) if isinstance(name, str) else None
        return found if callable(found) else None

    def _check(self, wanted: list[str]) -> None:
        missing = [name for name in wanted if not _is_installed(name, self._space)]
        if missing:
            raise MissingDependencyError(
                f"Missing dependencies: {', '.join(missing)}", fix=f"Install what {self._path} needs, then try again."
            )


def _stated(path: str) -> list[str]:
    """The packages that the text names, as far as it names them by a plain list."""
    try:
        with open(path, "rb") as file:
            body = ast.parse(file.read(), path).body
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise EntryPointError(f"{path} cannot be read: {error}") from error
    stated: list[str] = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == _DEPENDENCIES for target in targets):
            with contextlib.suppress(ValueError, TypeError, SyntaxError):  # computed: looked at when it has been
                value = ast.literal_eval(getattr(node, "value", None) or ast.List([]))
                stated = [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple)) else []
    return stated


def _is_installed(name: str, space: ModuleNamespace) -> bool:
    try:
        return space.owns(name.partition(".")[0]) or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):  # of a parent; a module without a spec, which is there
        return name in sys.modules


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (ResolverError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise EntryPointError(f"{what}: {type(error).__name__}{': ' * bool(reason)}{reason}") from error
