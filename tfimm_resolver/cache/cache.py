"""The cache: check, lock, check again, stage, fetch, verify, publish; the record, written last, is the commit."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tfimm_resolver._util.clock import format_now
from tfimm_resolver._util.outgoing import repr_fields
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.cache.root_advice import describe_unchanged
from tfimm_resolver.cache.roots import Root
from tfimm_resolver.cache.staged_files import verify_staged
from tfimm_resolver.errors import CacheError, FetchError, ResolverError
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors, suggest_disk_fix
from tfimm_resolver.handles.pin import NO_PIN, Pin
from tfimm_resolver.manifest import FetchResult, Origin
from tfimm_resolver.progress import events

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("tfimm_resolver")

ALIAS_SUFFIX = ".latest.txt"
"""Suffix of the file that stores what a mutable handle pointed to when it was last looked up."""


class Entry(NamedTuple):
    """One model in the cache; ``defect`` says why it is incomplete, or is None."""

    name: str
    path: str
    record: Record
    defect: str | None

    def __repr__(self) -> str:
        return repr_fields(self)


class Cache:
    """Models in a root, each stored as the entry ``entry_name(key)``; by default the key's sha1, as in tensorflow_hub.

    ``entry_name`` has to return a different name for each key, without a dot, that matches the root's ``entry_pattern``.
    """

    __slots__ = ("entry_name", "root")

    def __init__(self, root: Root, entry_name: Callable[[str], str] | None = None) -> None:
        self.root, self.entry_name = root, entry_name or entry_name_for_key

    def find(self, key: str, pin: Pin = NO_PIN) -> Record | None:
        """Return the record of a complete model, or None; with a pin, only if the model is known to match it.

        Raises:
            IntegrityError: if the model is known not to match the pin.
        """
        known = self.find_named(self.entry_name(key))
        return known if known is not None and _satisfies(known, pin) else None

    def find_named(self, name: str) -> Record | None:
        """Return the record of the complete model stored as that entry, or None."""
        known = self.read_record(name)
        return known if self.root.find_defect(known) is None else None

    def path(self, record: Record) -> str:
        """Return the path or URL of the record's model files."""
        return self.root.path_of(record.tree)

    def ensure(
        self,
        handle: str,
        key: str,
        fetch: Callable[[Path, Path], FetchResult | None],
        *,
        refresh: bool = False,
        pin: Pin = NO_PIN,
        is_missing: bool = False,
    ) -> Record:
        """Return the record of the model ``key``; fetch the model if it is missing, damaged or to be refreshed.

        ``fetch`` is called with an empty local directory to fill, and the path of a directory for partial downloads, which
        ``fetch`` may create and which survives a failure. It is called a second time only if another program, such as one
        that cleans temporary directories, removes the first directory meanwhile. ``handle`` goes into the record.
        It returns None if the model upstream is still the cached one; called again, it has to fetch.
        Readers never see an incomplete model; a ``fetch`` that fails leaves the cached copy unchanged.
        ``is_missing`` saves a look-up after ``find`` has just returned None.

        Raises:
            IntegrityError: if the archive of the model, cached or fetched, does not match the pin.
            CacheError: if the root cannot be used, or another program keeps removing what is fetched.
        """
        try:
            return self._ensure_once(handle, key, fetch, refresh, pin, is_missing)
        except _StagingRemovedError as removed:
            log.warning("another program removed %s while %s was fetched into it; trying again", removed, handle)
        try:
            return self._ensure_once(handle, key, fetch, refresh, pin)
        except _StagingRemovedError as removed:
            raise CacheError(
                f"cannot fetch {handle}: another program removed {removed} while files were written to it, twice in a row",
                fix="Exclude that directory from what cleans it, or set TFHUB_CACHE_DIR to another directory.",
            ) from removed

    def _ensure_once(
        self,
        handle: str,
        key: str,
        fetch: Callable[[Path, Path], FetchResult | None],
        refresh: bool,
        pin: Pin,
        is_missing: bool = False,
    ) -> Record:
        before = None if is_missing else self.find(key)
        if before is not None and not refresh and _satisfies(before, pin):
            return before

        def is_done_by_other() -> bool:
            """Whether another process has done the work meanwhile."""
            now = self.find(key)
            return now is not None and (not refresh or now != before) and _satisfies(now, pin)

        name = self.entry_name(key)
        with self.root.lock(name, handle, is_done_by_other) as staged:
            now = self.find(key)
            if now is not None and (staged is None or is_done_by_other()):
                return now
            if staged is None:  # completed by another process, but removed since
                return self.ensure(handle, key, fetch, refresh=refresh, pin=pin)
            with _detect_removal(staged):
                fetched = self._run_fetch(fetch, staged, key)
                if fetched is None and now is not None:
                    return self._confirm(name, now)
                fetched = fetched or self._run_fetch(fetch, staged, key) or FetchResult(Origin())
                pin.check_fetched(fetched.origin, handle)
                published = self.publish(name, handle, staged, fetched)
                pin.check_cached(published.origin, handle)
                return published

    def publish(self, name: str, handle: str, staged: Path, fetched: FetchResult) -> Record:
        """Publish the directory ``staged`` as the model of that entry, whose lock the caller holds; raises as ``ensure``."""
        with map_os_errors(CacheError, f"cannot read the files in {staged}", suggest_disk_fix, show_path=True):
            files = verify_staged(staged, fetched, handle)
        events.emit("verify", files=len(files), size_bytes=sum(file.size_bytes for file in files))
        record = Record(handle, name, fetched.fetched_at or format_now(), fetched.origin, files, fetched.signed_by)
        _warn_if_changed(record, (known := self.read_record(name)).origin.sha256)
        record = self.root.publish(staged, record, known)
        try:
            self.root.write(name + DESCRIPTOR_SUFFIX, record.to_text())
        except BaseException:
            if record.tree not in (known.tree, self.read_record(name).tree):  # else each failure would leave another copy
                self.root.withdraw(record.tree)
            raise
        events.report_publication(self.path(record), record.size_bytes)
        self.root.collect_garbage(lambda other: self.read_record(other).tree)
        return record

    def _confirm(self, name: str, known: Record) -> Record:
        """Note in a record that the model is still the one upstream."""
        self.root.write(name + DESCRIPTOR_SUFFIX, (record := known._replace(fetched_at=format_now())).to_text())
        return record

    def entries(self, name: str | None = None) -> Iterator[Entry]:
        """Yield every model in the cache, complete or not, sorted by entry name; only the entry ``name`` if one is given."""
        names = self._list_entry_names()
        for known in self.root.map_names(self._read_entry, sorted(names if name is None else names & {name})):
            yield Entry(known.tree.partition(".")[0], self.path(known), known, self.root.find_defect(known))

    def set_alias(self, key: str, handle: str) -> None:
        """Store which handle a mutable handle, given by its key, points to now."""
        if self.get_alias(key) != handle:
            self.root.write(self.entry_name(key) + ALIAS_SUFFIX, handle + "\n")

    def get_alias(self, key: str) -> str | None:
        """Return the handle that ``set_alias`` stored for the key, or None."""
        text = self.root.read(self.entry_name(key) + ALIAS_SUFFIX)
        return text.strip() if text else None

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove the model stored as that entry, with all its directories; raises as ``Root.remove``."""
        with self.root.lock(name, "a model to be removed"):
            self.root.remove(name, force=force)

    def read_record(self, name: str) -> Record:
        """Return the record of an entry; an empty one if it has none, or one that is not about a directory of the entry."""
        text = self.root.read(name + DESCRIPTOR_SUFFIX)
        record = Record.parse(text, name) if text else Record("", name)
        found = self.root.entry_pattern.fullmatch(record.tree)
        return record if found and found[1] == name else Record(record.handle, name)

    def _read_entry(self, name: str) -> Record:
        """Return the record of an entry that is listed; one that cannot be read must not hide the other entries."""
        try:
            return self.read_record(name)
        except CacheError as error:
            log.warning("%s", error.text)
            return Record("", name)

    def _list_entry_names(self) -> set[str]:
        trees = (self.root.entry_pattern.fullmatch(other.removesuffix(DESCRIPTOR_SUFFIX)) for other in self.root.list_names())
        return {found[1] for found in trees if found}

    def explain_failure(self, key: str, error: FetchError) -> FetchError:
        """Return the error with a message that also gives the state of the cached copy, if there is one."""
        name = self.entry_name(key)
        if name not in self._list_entry_names():
            return error
        known = self.read_record(name)
        if defect := self.root.find_defect(known):
            return error.with_message(f"the cached copy is damaged ({defect}) and {error.text}")
        return describe_unchanged(error, known.origin)

    def _run_fetch(self, fetch: Callable[[Path, Path], FetchResult | None], staged: Path, key: str) -> FetchResult | None:
        failed = f"cannot fetch files into {staged}"
        try:
            with (
                map_resource_errors(CacheError, failed),
                map_os_errors(CacheError, failed, suggest_disk_fix, show_path=True),
            ):
                return fetch(staged, self.root.parts_dir(self.entry_name(key)))
        except FetchError as error:
            explained = self.explain_failure(key, error)
            if explained is error:
                raise
            raise explained from error


class _StagingRemovedError(Exception):
    """Another program removed the directory, named in the text, into which a model was fetched."""


@contextlib.contextmanager
def _detect_removal(staged: Path) -> Iterator[None]:
    """Raise _StagingRemovedError for an error whose cause is that the staging directory no longer exists."""
    try:
        yield
    except ResolverError as error:
        if not _has_missing_file(error) or staged.is_dir():
            raise
        raise _StagingRemovedError(staged) from error


def _has_missing_file(error: BaseException) -> bool:
    """Whether an error, or one that led to it, is that of the system for a path that does not exist."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, FileNotFoundError) and not isinstance(found, ResolverError):
            return True
        found = found.__cause__ or found.__context__
    return False


def _warn_if_changed(record: Record, sha256: str) -> None:
    """Log a warning if the archive of a model differs from the previous one, whose sha256 is given."""
    if sha256 and (now := record.origin.sha256) not in ("", sha256):
        log.warning("%s has changed upstream: archive sha256 is now %s, was %s", record.handle, now, sha256)


def entry_name_for_key(key: str) -> str:
    """Return the name of a key's entry: its sha1, as in tensorflow_hub."""
    return hashlib.sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _satisfies(record: Record, pin: Pin) -> bool:
    """Whether the recorded model is known to match the pin; raises IntegrityError if it is known not to match."""
    pin.check_cached(record.origin, record.handle)
    return pin.is_known_to_match(record.origin)
