"""Lists the cached models under the names that users type, and selects models by such names."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import mask_value, show
from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.cache import keeping, tiers
from tfimm_resolver.cache.cache import Cache, Entry, entry_name_for_key
from tfimm_resolver.cache.contents import MODEL
from tfimm_resolver.cache.record import is_tree
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, FetchError, HandleError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice, Fix
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.fragment import split_fragment
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import hub_entries, naming
from tfimm_resolver.maintenance.cached_model import CachedModel, describe_entry, find_used_s, measure_size_bytes
from tfimm_resolver.maintenance.filters import SORTS, parse_filters
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models
from tfimm_resolver.resolution.cached_names import TFHUB, fits_shortened
from tfimm_resolver.resolution.selection import choose_subdirectory, is_saved_model
from tfimm_resolver.saved_model import content

log = logging.getLogger("tfimm_resolver")

_SHA1_DIGITS_MIN = 6
_DIGITS = "to list the cache; abbreviate a sha1 to at least six digits."
_LIST_FIX = Advice(
    python=f"Nothing was changed. Call maintenance.list() {_DIGITS}",
    command=f"Nothing was changed. Run `tfimm-resolver ls` {_DIGITS}",
)


def list_models(*, filters: str | Iterable[str] = (), sort: str = "name") -> list[CachedModel]:
    """Return every model of the cache, of the extra roots and of ``get_dir()``, and what the hub has fetched, sorted by name.

    Args:
        filters: what a model has to match, such as ``"used>30d size>1GB"``, ``"state=damaged"`` or ``"kept"``.
        sort: ``name``; ``size``, the largest first; or ``used``, the one that was not used for longest first.

    Raises:
        HandleError: if a filter or the order is not known.
        CacheError: if a directory cannot be listed.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.name for model in tfimm_resolver.maintenance.list_models()]
        ['https://models.example/half_plus_two/1.tar.gz']
    """
    if sort not in SORTS:
        raise HandleError(f"sort is {sort!r}", fix=f"It must be one of {', '.join(SORTS)}.")
    matches = parse_filters(list_names(filters, "filters"))
    return sorted((model for model in _list_all() if all(match(model) for match in matches)), key=SORTS[sort])


def _list_all() -> list[CachedModel]:
    cache = tiers.open_cache()
    protected = keeping.list_protected(cache.root.list_names())
    entries = [*((entry, "") for entry in cache.entries()), *_list_other_roots()]
    names = naming.choose_entry_names(entry for entry, _ in entries)
    cached = [
        describe_entry(entry, names[entry.name, entry.record.handle], other_root=root, protected=() if root else protected)
        for entry, root in entries
    ]
    return [*cached, *hub_entries.list_hub_entries(), *list_named_models()]


def open_owner(model: CachedModel) -> Cache:
    """Open the cache that holds a model."""
    if model.kind != MODEL:
        return hub_entries.open_owner(model)
    return next((tier.open() for tier in tiers.list_tiers() if tier.location == model.other_root), tiers.open_cache())


def select(names: str | CachedModel | Iterable[str | CachedModel] = ()) -> list[CachedModel]:
    """Return the cached models with the given names; all of them if no name is given.

    A name is one that ``list`` returns, a handle, a path, a name in the models file, or the first six or more digits of the
    sha1 that names the entry; a ``CachedModel`` stands for itself. The result of ``cached`` is what it holds, even if that is
    nothing. A model that is in several roots is returned once for
    each, the cache's own copy first.

    Raises:
        UnknownHandleError: if a name matches no cached model, or more than one.
        HandleError: if a name is neither a str nor a CachedModel, or its ``#subdirectory=`` is not valid.
        NotFoundError: if the model does not contain the subdirectory.
        CacheError: if a directory cannot be listed.
        ModelsFileError: if the models file cannot be read.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.path == path for model in tfimm_resolver.maintenance.select([])]
        [True]
        >>> tfimm_resolver.maintenance.select(["no_such_model"])
        Traceback (most recent call last):
        tfimm_resolver.errors.UnknownHandleError: "no_such_model" is not cached
    """
    from tfimm_resolver.maintenance.cached_models import CachedModels  # which imports this module

    if isinstance(names, CachedModels):  # also an empty one: filters that nothing matches do not mean everything
        return [*names]
    requested = list_names(names, "names", also=(CachedModel,))
    if requested and all(isinstance(name, CachedModel) for name in requested):
        return requested
    models = list_models()
    return [model for name in requested for model in _match_one(models, name)] if requested else models


def _match_one(models: Sequence[CachedModel], text: str | CachedModel) -> list[CachedModel]:
    if isinstance(text, CachedModel):
        return [text]
    handle, subdirectory = _split_subdirectory(text)
    matchers = (_match_name, _match_handle, _match_sha1, _match_hub_name, _match_shortened)
    found = next(filter(None, (match(models, handle) for match in matchers)), [])
    for model in found if subdirectory else ():
        choose_subdirectory(_locate(model, subdirectory))
    if len({model.entry.name if model.entry else model.path for model in found}) == 1:
        return found
    if not found:
        raise UnknownHandleError(f'"{show(redact(text))}" is not cached', fix=_suggest_names(models, redact(text)))
    names = dict.fromkeys(model.name for model in found)
    fix = "\n  ".join(["Use one of these names:", *map(show, names)])
    raise UnknownHandleError(f'"{show(redact(text))}" matches several models', fix=fix)


def _suggest_names(models: Sequence[CachedModel], text: str) -> Fix:
    """Return the names that are similar to one that is not cached, else how names are listed."""
    import difflib  # 1 ms that only an error pays

    by_end = {model.name.rpartition("/")[2]: model.name for model in models}  # what one remembers of a URL
    known = {name: name for name in (*naming.list_project_names(), *by_end.values())}
    close = difflib.get_close_matches(text, [*known, *by_end], n=3, cutoff=0.7)
    names = dict.fromkeys(show({**by_end, **known}[name]) for name in close)
    return f"Nothing was changed. Did you mean {' or '.join(names)} ?" if names else _LIST_FIX


def _match_name(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    return [model for model in models if text in (model.name, model.path)] or _match_inner_path(models, text)


def _match_inner_path(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    """Match the path of a SavedModel deeper inside the tree of a cached model, as ``resolve`` returns it."""
    with contextlib.suppress(HandleError):
        inner = ((model, text.removeprefix(f"{model.path}/")) for model in models if text.startswith(f"{model.path}/"))
        return [model for model, below in inner if is_saved_model(_locate(model, check_subdirectory(below)))]
    return []


def _split_subdirectory(text: str) -> tuple[str, str]:
    """Return a handle without the subdirectory that it chooses, and that; raises HandleError if it is not valid."""
    if "subdirectory=" not in text:
        return text, ""
    handle, pin, subdirectory = split_fragment(text)
    return handle + (f"#sha256={pin}" if pin else ""), check_subdirectory(subdirectory)


def _locate(model: CachedModel, subdirectory: str) -> ModelLocation:
    return ModelLocation(model.path, model.entry.record if model.entry else None, subdirectory)


def _match_handle(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    """Match a handle in any spelling, a name in the models file, or a TF Hub name, with the models of one key."""
    named = discovery.find_entry(text)
    key, pin = _get_key(named.handle if named else text)
    for other in (key, TFHUB + key):
        name = entry_name_for_key(other)
        if found := [model for model in models if model.entry and model.entry.name == name]:
            return found
    handles = {text, key}
    with contextlib.suppress(FileNotFoundError):  # the working directory was removed
        handles.add(os.path.abspath(key))
    found = [model for model in models if model.entry and model.entry.record.handle in handles]
    return [model for model in found if model.entry and pin in (None, model.entry.record.origin.sha256)]


def _match_sha1(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    if len(text) < _SHA1_DIGITS_MIN:
        return []
    return [model for model in models if model.entry and model.kind == MODEL and model.entry.name.startswith(text)]


def _match_hub_name(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    """Match what the hub is asked for: ``owner/repo:ref``, or the name of a file."""
    handle = hub_entries.make_repository_handle(text)
    hubs = (model for model in models if model.entry and model.kind != MODEL)
    return [
        model
        for model in hubs
        if model.name == hub_entries.PREFIX + text or (model.entry and model.entry.record.handle == handle)
    ]


def _match_shortened(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    return [model for model in models if fits_shortened(model.name, text)]


def redact(text: str) -> str:
    """Return a handle, or other text, without credentials and query, so that it can be printed."""
    try:
        handle = Handle.parse(text)
    except HandleError:
        return mask_value(text)
    return str(handle) if handle.scheme else mask_value(text) if "?" in text or "@" in text else text


def _get_key(text: str) -> tuple[str, str | None]:
    """Return the key of a handle and its pin; the text itself if it is not a handle."""
    try:
        handle = Handle.parse(text)
    except HandleError:
        return text, None
    return handle.key, handle.sha256


def _list_other_roots() -> Iterator[tuple[Entry, str]]:
    for tier in tiers.list_tiers():
        if not tier.is_own:
            try:
                yield from [(entry, tier.location) for entry in tier.open().entries()]
            except (CacheError, FetchError) as error:
                log.warning("skipped: %s", error.text)


def list_named_models() -> Iterator[CachedModel]:
    """Yield the models that are stored under their names in ``get_dir()``."""
    folder = ""
    with contextlib.suppress(CacheError):  # no home directory
        folder = settings.get_dir()
    with map_os_errors(CacheError, f"cannot list {show(folder)}"):
        directories = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for directory in directories:
        path = f"{folder}/{directory}"
        if is_tree(directory.partition(".")[0]) or not named_models.has_saved_model(path):
            continue
        if (name := naming.choose_directory_name(path)) is not None:
            state = "damaged" if content.find_missing_content(path) else "unverified"
            yield CachedModel(name, path, measure_size_bytes(path), state, find_used_s(path))
