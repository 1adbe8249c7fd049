"""Finds the models in the caches of other tools on this machine: tensorflow_hub, kagglehub, huggingface_hub, tfimm."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tfimm_resolver import settings
from tfimm_resolver._util.clock import format_time
from tfimm_resolver._util.outgoing import clean_value, show
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Entry, entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, is_tree
from tfimm_resolver.errors import CacheError, HandleError, SourceError
from tfimm_resolver.errors.advice import suggest_add
from tfimm_resolver.handles.handle import SHORTENED, Handle
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.handles.kaggle import KaggleModel
from tfimm_resolver.handles.pin import CONTENT_KEY
from tfimm_resolver.maintenance.foreign_files import find_way_out
from tfimm_resolver.resolution import named_models, rules
from tfimm_resolver.saved_model import content
from tfimm_resolver.saved_model.completeness import find_defect, find_defect_inside
from tfimm_resolver.saved_model.locate import find_models_on_disk
from tfimm_resolver.sources import hugging_face_cache, kaggle
from tfimm_resolver.sources.plan import MutableRef

log = logging.getLogger("tfimm_resolver")

_DIRECTORIES_MAX = 20_000
"""How many directories of a cache are read; a path that a user names may be any directory."""

TFHUB, KAGGLEHUB, HUGGINGFACE, TFIMM = "tfhub", "kagglehub", "huggingface", "tfimm"


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A model in another tool's cache.

    Attributes:
        cache: the tool, such as ``kagglehub``.
        root: the directory of its cache.
        path: the directory of the model.
        handle: without secrets.
        key: identifies the model in our cache; empty if it is not known.
        defect: why it cannot be adopted, or None.
        fetched_at: when the tool downloaded it, as in a record.
        links_to: the directory in which the files lie that its links lead to.
        aliases: keys of the mutable handles that stand for it.
        record: of a model that this package recorded, in a root of its own.
    """

    cache: str
    root: str
    path: str
    handle: str
    key: str = ""
    defect: str | None = None
    fetched_at: str = ""
    links_to: str = ""
    aliases: tuple[str, ...] = ()
    record: Record | None = None


def list_roots(cache: str) -> list[str]:
    """Return the directories in which a tool keeps models, as far as they exist."""
    roots = list[str]()
    with contextlib.suppress(CacheError):  # no home directory
        roots = _ROOTS[cache]()
    return [root for root in dict.fromkeys(roots) if os.path.isdir(root)]


def find_models(root: str, caches: Sequence[str] = ()) -> Iterator[ForeignModel]:
    """Yield the models, complete or not, in a directory with the layout of one of the tools, by default of any of them."""
    for cache in caches or CACHES:
        yield from _FINDERS[cache](root)


def _list_tfhub_roots() -> list[str]:
    root = settings.urls_root().value
    return [*([] if settings.is_bucket(root) else [root]), os.path.join(tempfile.gettempdir(), "tfhub_modules")]


def _list_tfimm_roots() -> list[str]:
    return [os.path.dirname(path) for path in named_models.list_candidate_paths("name") if not settings.is_bucket(path)]


def _find_in_tfhub(root: str) -> Iterator[ForeignModel]:
    """Yield the directories that are named by the hash of a handle, if a descriptor with the handle is beside them."""
    for entry in tiers.open_store(root, entry_name_for_key).entries():
        handle = entry.record.handle
        if handle and os.path.isdir(entry.path):
            yield _describe_entry(root, entry)


def _describe_entry(root: str, entry: Entry) -> ForeignModel:
    known = entry.record
    is_recorded = known.files is not None
    key, defect = "", None
    try:
        handle = Handle.parse(known.handle)
        key, name = _choose_key(handle, known, entry.name), str(handle)
    except (HandleError, SourceError) as error:  # a plug-in that does not work affects its own models only
        name, defect = clean_value(known.handle), error.text
    descriptor = join_safely(root, entry.name + DESCRIPTOR_SUFFIX)
    return ForeignModel(
        TFHUB,
        root,
        entry.path,
        name,
        key,
        defect or find_way_out(entry.path, root) or entry.defect or (None if is_recorded else _find_damage(entry.path)),
        known.fetched_at if is_recorded else _get_time(descriptor),
        record=known if is_recorded else None,
    )


def _choose_key(handle: Handle, known: Record, entry_name: str) -> str:
    """Return the key of an entry; raises HandleError if its descriptor does not tell one that leads to the entry."""
    if handle.text.endswith(SHORTENED):
        raise HandleError("its full handle was not recorded, as it may contain a secret")
    keys = [handle.key, known.handle] if handle.scheme else [handle.key, CONTENT_KEY + known.origin.stated_sha256]
    found = next((key for key in keys if entry_name_for_key(key) == entry_name), None)
    if found is None:
        raise HandleError(f"its descriptor is about another model: {handle}")
    plan = rules.find_source_plan(handle) if handle.scheme else None
    if handle.scheme and (plan is None or isinstance(plan, MutableRef)):
        raise HandleError(f"{handle} does not name one version of a model")
    return handle.key if handle.scheme else found


def _find_in_kagglehub(root: str) -> Iterator[ForeignModel]:
    """Yield ``models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION``, which a file beside it marks as complete."""
    for parts in _list_nested(f"{root}/models", 5):
        path = "/".join((root, "models", *parts))
        if not _may_be_model(path, root):
            continue
        owner, *rest = parts
        try:
            model = KaggleModel.parse("kaggle", owner, "/" + "/".join(rest))
        except HandleError:
            continue
        if model is None or str(model.version) != parts[-1]:
            continue
        marker = path + kaggle.COMPLETE_SUFFIX
        defect = None if os.path.isfile(marker) else "kagglehub has not marked it as complete"
        defect = find_way_out(path, root) or defect or find_defect_inside(path) or _find_damage(path)
        yield ForeignModel(KAGGLEHUB, root, path, model.key, model.key, defect, _get_time(marker))


def _may_be_model(path: str, root: str) -> bool:
    """Whether a directory contains SavedModels, or what is left of one; outside of the cache only its top is read."""
    if find_way_out(path, root) is not None:
        return find_defect(path) is None
    found = find_models_on_disk(path, follow_links=False)
    return bool(found.directories or found.graphless)


def _find_in_huggingface(root: str) -> Iterator[ForeignModel]:
    """Yield each snapshot with a SavedModel; if its list of files is not known, each complete SavedModel in it."""
    for snapshot in hugging_face_cache.list_snapshots(root):
        repository = hugging_face_cache.get_repository_dir(snapshot, root)
        path = f"{repository}/snapshots/{snapshot.revision}"
        if find_way_out(path, root) is not None:
            continue
        directories = find_models_on_disk(path, follow_links=False).directories
        if not directories:
            continue
        is_complete = hugging_face_cache.find_snapshot(snapshot, root) is not None
        for folder in ("",) if is_complete else directories:
            with contextlib.suppress(HandleError):  # a folder with a name that no handle can have
                yield _describe_snapshot(root, repository, snapshot.with_folder(folder))


def _describe_snapshot(root: str, repository: str, model: HuggingFaceModel) -> ForeignModel:
    path = f"{repository}/snapshots/{model.revision}"
    is_known = hugging_face_cache.find_snapshot(model, root) is not None
    defect = None if is_known else "some of its files are missing, or a download of them is not finished"
    if Handle.parse(model.key).key != model.key:
        raise HandleError(f"{model.key!r} has another spelling")
    refs = hugging_face_cache.list_refs(model, root)
    return ForeignModel(
        HUGGINGFACE,
        root,
        f"{path}/{model.folder}".rstrip("/"),
        model.key,
        model.key,
        defect,
        _get_time(path),
        f"{repository}/blobs",
        tuple(Handle.parse(model.with_revision(ref).key).key for ref in refs),
    )


def _find_in_tfimm(root: str) -> Iterator[ForeignModel]:
    """Yield the directories that are SavedModels, by their names."""
    for (name,) in _list_nested(root, 1):
        path = f"{root}/{name}"
        if is_tree(name.partition(".")[0]) or find_defect(path) is not None:
            continue
        with contextlib.suppress(HandleError):
            handle = Handle.parse(named_models.validate_name(name))
            if handle.is_name and not name.startswith("-") and handle.text == handle.key == name == clean_value(name):
                defect = find_way_out(path, root) or _find_damage(path)
                yield ForeignModel(TFIMM, root, path, name, name, defect, _get_time(path))


def _find_damage(path: str) -> str | None:
    """Return which variables below a directory are damaged, or None."""
    for directory in find_models_on_disk(path, follow_links=False).directories:
        if defects := content.find_missing_data(f"{path}/{directory}".rstrip("/"), is_strict=True):
            return defects[0]
    return None


def _list_nested(folder: str, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the names on the way to each directory that lies so many levels below; stop after very many directories.

    A link to a directory is yielded at the lowest level, so that it can be reported, and is not followed above it.
    """
    numbers = itertools.count(1)

    def walk(folder: str, depth: int) -> Iterator[tuple[str, ...]]:
        if next(numbers) > _DIRECTORIES_MAX:
            return
        with contextlib.suppress(OSError):
            for part in sorted(os.listdir(folder)):
                below = f"{folder}/{part}"
                if depth == 1 and os.path.isdir(below):
                    yield (part,)
                elif depth > 1 and os.path.isdir(below) and not os.path.islink(below):
                    yield from ((part, *rest) for rest in walk(below, depth - 1))

    yield from walk(folder, depth)
    if next(numbers) > _DIRECTORIES_MAX:
        log.warning("%s has over %d directories: the others were not searched for models", show(folder), _DIRECTORIES_MAX)


def _get_time(path: str) -> str:
    """Return when a path was last modified, as in a record; empty if that is not known."""
    try:
        return format_time(os.stat(path).st_mtime)
    except (OSError, ValueError, OverflowError):
        return ""


_ROOTS: dict[str, Callable[[], list[str]]] = {
    TFHUB: _list_tfhub_roots,
    KAGGLEHUB: lambda: [kaggle.get_cache_dir()],
    HUGGINGFACE: lambda: [hugging_face_cache.get_cache_dir()],
    TFIMM: _list_tfimm_roots,
}
_FINDERS: dict[str, Callable[[str], Iterator[ForeignModel]]] = {
    TFHUB: _find_in_tfhub,
    KAGGLEHUB: _find_in_kagglehub,
    HUGGINGFACE: _find_in_huggingface,
    TFIMM: _find_in_tfimm,
}
CACHES = tuple(_FINDERS)
"""The tools whose caches are known."""


def check_root(path: str) -> str:
    """Return a directory that a user named as a cache; raises HandleError, or CacheError for a model itself."""
    folder = settings.expand_path(path)
    if not os.path.isdir(folder):
        close = difflib.get_close_matches(path, CACHES, n=1)
        fix = f"Did you mean {close[0]}?" if close else f"Name a directory, or one of {', '.join(CACHES)}."
        raise HandleError(f"{show(folder)} is not a directory", fix=fix)
    if find_defect(folder) is None:
        raise CacheError(
            f"{show(folder)} is a model, not a cache of models",
            fix=suggest_add("Give it a name"),
        )
    return folder
