"""Adds a named, pinned handle to the models file."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.cache import keeping, tiers
from tfimm_resolver.errors import FetchError, HandleError, IntegrityError, NotFoundError
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.schema import ModelEntry, check_name
from tfimm_resolver.project import pins
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.cached_names import find_tfhub_handle

log = logging.getLogger("tfimm_resolver")

_MIRRORS_FIX = "Leave the mirrors out, or give the handle of an archive."


@dataclass(frozen=True, slots=True)
class AddResult:
    """A model that was added.

    Attributes:
        model: its entry in the models file.
        path: where the model is, as ``resolve`` returns it.
        state: ``pinned``, or ``unverified`` if it is not an archive, which is the only thing that has a hash to pin.

    Example:
        >>> from tfimm_resolver import project
        >>> added = project.add("half", "https://models.example/half_plus_two/1.tar.gz")
        >>> added.state, added.model.name, added.path
        ('pinned', 'half', '/.../...')
    """

    model: ModelEntry
    path: str
    state: str


def add(
    name: str,
    handle: str | os.PathLike[str],
    *,
    aliases: Sequence[str] = (),
    mirrors: Sequence[str | os.PathLike[str]] = (),
    replace: bool = False,
) -> AddResult:
    """Fetch a model and add it to the models file under a name, pinned to the sha256 and size in bytes of its archive.

    The models file is the first one found, as for ``resolve``, else a new one in the working directory.

    Args:
        name: a single word, by which ``resolve`` finds the model from now on.
        handle: as for ``resolve``, but not the name of a model. A relative path is written relative to the models file.
        aliases: other names of the model, one or several.
        mirrors: other handles of the same archive. One that cannot be reached now is added with a warning in the log.
        replace: replace the model if the name already exists.

    Raises:
        HandleError: if a name or handle is not valid, may contain a secret, or a mirror cannot be one.
        ModelsFileError: if the name exists and is not to be replaced, or the models file cannot be read or written.
        IntegrityError: if the archive of a mirror has a different sha256.
        FetchError: if the model cannot be fetched; also CacheError. In all cases the models file is as before.

    Example:
        >>> from tfimm_resolver import project
        >>> added = project.add("half", "https://models.example/half_plus_two/1.tar.gz", aliases=["h"])
        >>> len(added.model.sha256), added.model.size_bytes
        (64, ...)
        >>> tfimm_resolver.resolve("h") == added.path
        True
    """
    file = pins.choose_file()
    other_names = list_names(aliases, "aliases")
    for new_name in (name, *other_names):
        check_name(new_name)
    requested, others = _parse(handle), tuple(map(Handle.parse, list_names(mirrors, "mirrors")))
    texts = [pins.format_handle(one, file) for one in (requested, *others)]
    pins.check_new(discovery.read_entries(file) if os.path.exists(file) else {}, name, replaces=replace)
    for mirror in others:
        _check_mirror_kind(mirror)
    path, origin = pins.fetch_and_hash(requested, refresh=False)
    if others and not origin.sha256:
        raise HandleError(f"{requested} is not an archive, so it has no sha256 to check a mirror with", fix=_MIRRORS_FIX)
    for mirror in others:
        _compare_mirror(mirror, requested, origin.sha256)
    model = _make_entry(name, file, texts, requested, origin, other_names)
    _write(file, model, path, replaces=replace)
    return AddResult(model, path, "pinned" if model.sha256 else "unverified")


def _write(file: str, model: ModelEntry, path: str, *, replaces: bool) -> None:
    """Write an entry into the models file, and note that its cached model is needed."""
    pins.add(file, model, replaces=replaces)
    keeping.note_project(tiers.open_cache().root, file, [path], is_complete=False)


def _parse(handle: str | os.PathLike[str]) -> Handle:
    """Parse a handle; a short TF Hub name that ``ls`` prints is completed, since the models file needs the handle itself."""
    parsed = Handle.parse(handle)
    if parsed.scheme or os.path.exists(parsed.text) or (full := find_tfhub_handle(parsed.text)) is None:
        return parsed
    return replace(Handle.parse(full, sha256=parsed.sha256), subdirectory=parsed.subdirectory)


def _make_entry(
    name: str, file: str, texts: Sequence[str], handle: Handle, origin: Origin, aliases: Sequence[str]
) -> ModelEntry:
    """Return the entry of a model; ``texts`` are its handle and its mirrors, as they are written into the models file."""
    subdirectory = check_subdirectory(handle.subdirectory) if handle.subdirectory else None
    pin = origin.sha256 or None, origin.size_bytes
    return ModelEntry(name, texts[0], file, *pin, tuple(aliases), tuple(texts[1:]), subdirectory)


def _check_mirror_kind(mirror: Handle) -> None:
    if mirror.subdirectory:
        raise HandleError(f"the mirror {mirror} has a subdirectory", fix="A mirror is a URL or a path of the same archive.")
    try:
        rules.make_mirror_plan(mirror)
    except NotFoundError as error:
        raise HandleError(error.text, fix="A mirror is a URL or a path of the same archive.") from error


def _compare_mirror(mirror: Handle, handle: Handle, sha256: str) -> None:
    """Download the archive of a mirror and compare its hash; a mirror that cannot be reached now is only reported."""
    try:
        found = pins.fetch_upstream_hash(replace(mirror, sha256=None)).sha256
    except IntegrityError:
        raise
    except FetchError as error:
        log.warning("the mirror %s was added without a comparison with the pin: %s", mirror, error.text)
        return
    if found != sha256:
        raise IntegrityError(
            f"{mirror} is not a mirror of {handle}: its archive has a different sha256\n  mirror  {found}\n  pinned  {sha256}",
            fix="Nothing was added. Correct the mirror, or add the model without it.",
        )
