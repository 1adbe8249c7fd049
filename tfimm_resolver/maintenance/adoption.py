"""Adopts models from the caches of other tools on this machine: they become cache entries without a request."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tfimm_resolver import settings
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.cloning import COPY, clone
from tfimm_resolver._util.outgoing import repr_fields, show
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, hash_tree
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError, ResolverError
from tfimm_resolver.errors.os_errors import map_os_errors, suggest_disk_fix
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.maintenance import foreign_caches, foreign_files
from tfimm_resolver.maintenance.foreign_caches import CACHES, ForeignModel
from tfimm_resolver.maintenance.foreign_files import ForeignFile
from tfimm_resolver.manifest import FetchResult, FileEntry, Origin
from tfimm_resolver.resolution import signatures
from tfimm_resolver.settings import ownership
from tfimm_resolver.sources.hugging_face_cache import find_blob_defect

if TYPE_CHECKING:
    from pathlib import Path

ADOPTED, CACHED, SKIPPED, FAILED = "adopted", "cached", "skipped", "failed"
IN_PLACE = "in place"


@dataclass(frozen=True, slots=True)
class AdoptResult:
    """The outcome for one model in another cache.

    Attributes:
        handle: what ``resolve`` finds the model by from now on.
        cache: the tool whose cache it is in: ``tfhub``, ``kagglehub``, ``huggingface`` or ``tfimm``.
        found: its directory in that cache.
        state: ``adopted``; ``cached`` if it was cached already; ``skipped`` if it is not complete, or not safe to use;
            ``failed``.
        size_bytes: the total size of its files; 0 unless it was adopted.
        method: ``reflink``, ``hard link`` or ``copy``, the last if any file was copied; ``in place`` if it was in the cache
            already and only its hashes were missing; empty unless it was adopted, and after a dry run.
        path: its directory in this package's cache; empty unless it was adopted, and after a dry run.
        reason: why it was skipped.
        error: why it failed; None otherwise.

    Example:
        >>> tfimm_resolver.maintenance.adopt("tfimm", dry_run=True)
        []
    """

    handle: str
    cache: str
    found: str
    state: str
    size_bytes: int = 0
    method: str = ""
    path: str = ""
    reason: str = ""
    error: ResolverError | None = None

    __repr__ = repr_fields

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints, without those of an error."""
        return {
            "handle": self.handle,
            "cache": self.cache,
            "found": self.found,
            "state": self.state,
            "size_bytes": self.size_bytes,
            "method": self.method or None,
            "path": self.path or None,
            "reason": self.reason or None,
        }


def adopt(caches: str | Iterable[str] = (), *, dry_run: bool = False) -> list[AdoptResult]:
    """Make models in the caches of other tools entries of this package's cache, without a request.

    Files are taken by reflink or hard link where the disk allows it, and copied otherwise; the other cache is not changed.
    Only complete models are adopted. They are hashed now; a second call does nothing for them.

    Args:
        caches: which ones: ``tfhub``, ``kagglehub``, ``huggingface``, ``tfimm``, or the path of a directory in the layout of
            any of these; by default, these four. In the default places nothing is used that another user can write.
        dry_run: change nothing, and return what would be adopted. Files are not read for that: a damaged one is only found
            when it is hashed.

    Raises:
        HandleError: if ``caches`` is neither a text nor several.
        HandleError: if a path is not a directory.
        CacheError: if it is a model, or this package's cache is a bucket.

    Example:
        >>> tfimm_resolver.maintenance.adopt(["kagglehub", "huggingface"])
        []
    """
    return list(iterate_results(caches, dry_run=dry_run))


def iterate_results(caches: str | Iterable[str] = (), *, dry_run: bool = False) -> Iterator[AdoptResult]:
    """Yield what ``adopt`` returns, each result as soon as it is known."""
    requested = list_names(caches, "caches")
    roots = [(name, foreign_caches.check_root(name)) for name in requested if name not in CACHES]
    cache = tiers.open_cache(create=not dry_run)
    if not isinstance(cache.root, LocalRoot):
        raise CacheError(
            f"{show(settings.cache_root().value)} is a bucket: models are adopted into a local cache only",
            fix="Set TFHUB_CACHE_DIR to a directory.",
        )
    done = set[str]()
    adoption = _Adoption(cache, cache.root, dry_run=dry_run)
    for name in [name for name in requested if name in CACHES] or (() if roots else CACHES):
        for root in foreign_caches.list_roots(name):
            yield from adoption.adopt_all(root, (name,), done, check_owners=True)
    for _, root in roots:
        yield from adoption.adopt_all(root, CACHES, done, check_owners=False)


class _Adoption:
    """Adopts models into one cache."""

    def __init__(self, cache: Cache, root: LocalRoot, *, dry_run: bool) -> None:
        self._cache, self._root, self._dry_run = cache, root, dry_run

    def adopt_all(self, root: str, caches: tuple[str, ...], done: set[str], *, check_owners: bool) -> Iterator[AdoptResult]:
        """Adopt the models in a directory; those at a path in ``done`` were seen before."""
        is_own = os.path.realpath(root) == os.path.realpath(self._root.path)
        for model in foreign_caches.find_models(root, caches):
            get_current_token().raise_if_cancelled()
            path = os.path.join(os.path.realpath(root), os.path.relpath(model.path, root))
            if path not in done and not (is_own and model.record is not None):
                done.add(path)
                is_here = is_own and model.cache == foreign_caches.TFHUB
                yield self._adopt(model, check_owners=check_owners and not is_here, is_here=is_here)

    def _adopt(self, model: ForeignModel, *, check_owners: bool, is_here: bool) -> AdoptResult:
        result = AdoptResult(model.handle, model.cache, model.path, SKIPPED)
        if model.defect is not None:
            return replace(result, reason=model.defect)
        try:
            if not is_here and self._cache.find(model.key) is not None:
                self._store_aliases(model)
                return replace(result, state=CACHED)
            files = foreign_files.list_files(model.path, model.root, links_to=model.links_to, check_owners=check_owners)
        except (CacheError, ArchiveError) as error:
            return replace(result, reason="; ".join(filter(None, (error.text, error.advice.command))))
        result = replace(result, state=ADOPTED, size_bytes=sum(file.size_bytes for file in files))
        if self._dry_run:
            return result
        try:
            return self._record(model, result) if is_here else self._take(model, files, result)
        except IntegrityError as error:
            return replace(result, state=SKIPPED, size_bytes=0, reason=error.text)
        except ResolverError as error:
            return replace(result, state=FAILED, size_bytes=0, error=error)

    def _take(self, model: ForeignModel, files: tuple[ForeignFile, ...], result: AdoptResult) -> AdoptResult:
        methods = set[str]()
        # What has to be signed is not to be changed by who may write to the other cache.
        is_signed = bool(signatures.list_requirements_of(Record(model.handle, "")))
        may_link = self._may_link if not is_signed else _refuse_link

        def fill(into: Path, _: Path) -> FetchResult:
            with map_os_errors(CacheError, f"cannot adopt {show(model.handle)}", suggest_disk_fix, show_path=True):
                for file in files:
                    get_current_token().raise_if_cancelled()
                    target = join_safely(str(into), file.path)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    methods.add(clone(file.source, target, may_link=partial(may_link, file.source)))
                hashed = hash_tree(str(into))
                _verify(model, files, hashed)
            return FetchResult(_make_origin(model), hashed, model.fetched_at)

        record = self._cache.ensure(model.handle, model.key, fill)
        if not methods:  # another process was faster
            return replace(result, state=CACHED, size_bytes=0)
        self._store_aliases(model)
        tiers.make_room(0)
        method = COPY if COPY in methods else max(methods)
        return replace(result, size_bytes=record.size_bytes, method=method, path=self._cache.path(record))

    def _record(self, model: ForeignModel, result: AdoptResult) -> AdoptResult:
        """Record the hashes of a model that plain tensorflow_hub has put into this package's own cache."""
        tree = os.path.basename(model.path)
        name = tree.partition(".")[0]
        with (
            self._root.lock(name, model.handle),
            map_os_errors(CacheError, f"cannot record {show(model.handle)}", show_path=True),
        ):
            if self._cache.read_record(name).files is None:
                record = Record(model.handle, tree, model.fetched_at, _make_origin(model), hash_tree(model.path))
                self._root.write(name + DESCRIPTOR_SUFFIX, record.to_text())
        return replace(result, method=IN_PLACE, path=model.path)

    def _store_aliases(self, model: ForeignModel) -> None:
        """Store what the branches of the model refer to, unless this package has looked it up itself."""
        for alias in () if self._dry_run else model.aliases:
            if self._cache.get_alias(alias) is None:
                self._cache.set_alias(alias, model.handle)

    def _may_link(self, source: str, status: os.stat_result) -> bool:
        """Whether a hard link to a file is as good as a copy: its owner and permissions are those that our file may have.

        The file is one for both caches then, and neither writes to it: both publish new files by renaming. But a root for one
        user takes permissions from what it publishes, which the other cache must not notice, and a root for several users is
        read by them.
        """
        mode = stat.S_IMODE(status.st_mode)
        needed_bits = 0o444 & os.stat(self._root.path).st_mode
        excess_bits = ~0o755 if not self._root.mode & 0o022 else ~0o777
        is_own_file = ownership.is_owned_by_user(status) and ownership.is_trusted(source, status)
        return is_own_file and mode & needed_bits == needed_bits and not mode & excess_bits


def _refuse_link(source: str, status: os.stat_result) -> bool:
    return False


def _verify(model: ForeignModel, files: tuple[ForeignFile, ...], hashed: tuple[FileEntry, ...]) -> None:
    """Raise IntegrityError if the files are not those that the other cache knows: by its record, or by the names of blobs."""
    if model.record is not None and model.record.files != hashed:
        raise IntegrityError("its files are not as recorded")
    blobs = {file.path: file for file in files if file.blob}
    for entry in hashed:
        file = blobs.get(entry.path)
        if file and (defect := find_blob_defect(file.source, file.blob, entry.sha256)):
            raise IntegrityError(f"{show(entry.path)} is damaged: {show(defect)}")


def _make_origin(model: ForeignModel) -> Origin:
    """Return the origin to record; what another root says of the archive is only a claim."""
    claimed = model.record.origin.stated_sha256 if model.record else ""
    return Origin(claimed_sha256=claimed, adopted_from=model.cache)
