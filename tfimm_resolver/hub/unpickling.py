"""Finds the repository of a class that is unpickled in a process which has not loaded the repository."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.hub import layout, trust
from tfimm_resolver.hub.hubconf import Hubconf
from tfimm_resolver.hub.isolation import Checkout, make_name, make_readable_name
from tfimm_resolver.hub.repository import make_checkout

_LOAD = "call tfimm_resolver.hub.load({}) first"


def find_spec(name: str) -> ModuleSpec:
    """Return the spec of a repository's package, given by its name, after importing the hubconf.py of the repository.

    The repository must be in the directory of the hub, in the same state, and trusted.

    Raises:
        ModuleNotFoundError: if that is not so; the text says what to call first.
    """
    try:
        _open(name)
    except ResolverError as error:
        text = f"{show(name)}, a package of tfimm_resolver.hub, cannot be imported: {show(error.text)}"
        raise ModuleNotFoundError(text, name=name) from error
    return ModuleSpec(name, _Loader(), is_package=True)  # type: ignore[arg-type]  # deriving from Loader takes 5 ms


class _Loader:
    """Returns the package that ``Hubconf`` has made."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        pass


def _open(name: str) -> None:
    cache = layout.open_repositories()
    problem = f"no repository of that name is in {show(layout.get_dir())}"
    load = _LOAD.format('REPOSITORY, ..., or DIRECTORY, ..., source="local"')
    for entry in cache.entries():
        checkout = make_checkout(cache, entry.record)
        if entry.defect is not None or not name.startswith(make_readable_name(checkout)):
            continue
        load = _LOAD.format(f'"{show(entry.record.handle.removeprefix("github://"))}", ..., trust_repo=True')
        if make_name(checkout) != name:
            problem = f"the copy in {show(checkout.path)} is of another commit, or was changed"
        elif not _is_confirmed(entry.record):
            problem = "the repository is not trusted, or its commit is not at the tip of a branch or tag"
        else:
            return _import(cache, entry.record, checkout)
    raise ModuleNotFoundError(f"{show(name)} is a package of tfimm_resolver.hub, and {problem}: {load}", name=name)


def _is_confirmed(record: Record) -> bool:
    return bool(record.origin.ref) and trust.is_trusted(layout.get_full_name(record.handle))


def _import(cache: Cache, record: Record, checkout: Checkout) -> None:
    layout.check_owners(cache.path(record))
    Hubconf(checkout)
