"""Files and archives from a URL: to a place that the caller names, or into the cache of weights."""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError, HandleError, HashError, OfflineError, ResolverError
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, Handle
from tfimm_resolver.hub import layout
from tfimm_resolver.locking import lock as locking_lock
from tfimm_resolver.locking.owner import TOKEN_PREFIXES, is_token_alive
from tfimm_resolver.manifest import FetchResult

_SUFFIX = r"\.(?:weights\.h5|tar\.gz|[A-Za-z0-9_]+)"
_HASH = re.compile(rf"-([0-9a-f]{{8,64}}){_SUFFIX}$")
_FILE = "file"
_TELLING_DIGITS = 8  # of a sha256: as much as a CRC
_BESIDE = ".tfimm_resolver"
"""Ends the names of what lies beside a file while it comes: ``Cargo.lock`` and ``Cargo.parts`` are not ours."""

_reloaded: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar("_reloaded", default=None)
"""What was fetched anew already by an entry point that is loaded with ``force_reload``; None outside of one."""


@contextlib.contextmanager
def force_reload_scope(force_reload: bool) -> Iterator[None]:
    """While an entry point runs: whether what it fetches is fetched anew."""
    before = _reloaded.set(set() if force_reload else None)
    try:
        yield
    finally:
        _reloaded.reset(before)


def download_url_to_file(url: str, dst: str | os.PathLike[str], hash_prefix: str | None = None, progress: bool = True) -> None:
    """Bring what is at a URL to the path ``dst``, whole or not at all; what lies there stays until then.

    What came of a download that was broken off lies in ``<dst>.tfimm_resolver.parts``, and the next call goes on from
    there. Where another user has put a directory of that name, what came does not stay.

    Args:
        url: http or https.
        dst: the path of the file.
        hash_prefix: how its sha256 has to begin.
        progress: show how far it is.

    Raises:
        FetchError: if it did not come; HashError if its sha256 is another one.
        CacheError: if it cannot be written.
    """
    handle = _handle(url)
    path = settings.expand_path(os.fspath(dst))
    prefix = _prefix(hash_prefix)
    if not os.path.isdir(os.path.dirname(path)) or os.path.isdir(path):
        raise CacheError(f"cannot write {path}: {'it is a directory' if os.path.isdir(path) else 'its directory is missing'}")
    settings.validate()
    with contextlib.ExitStack() as after:
        try:
            beside = path + _BESIDE
            lock = locking_lock.acquire(f"{beside}.lock", str(handle))
            assert lock is not None
            after.callback(lock.release)
            _remove_unfinished(beside)
            staged = Path(f"{beside}.{lock.mine.word}.tmp")
            after.callback(fs.remove_tree, str(staged), ignore_errors=True)
            staged.mkdir(mode=0o700)
            brought = _brought(handle, staged, Path(f"{beside}.parts"), _FILE, prefix, is_quiet=not progress)
            _check_hash(brought.origin.sha256, prefix, str(handle))
            fs.fsync_tree(str(staged))
            fs.durable_replace(str(staged / _FILE), path)
        except ResolverError:
            raise
        except OSError as error:
            raise CacheError(f"cannot write {path}: {error.strerror}") from error


def fetch_weights(
    url: str, model_dir: str | os.PathLike[str] | None, file_name: str | None, *, check_hash: bool, progress: bool
) -> str:
    """The path of a file in the cache of weights, or of the directory that an archive unpacked to.

    Raises:
        HandleError: if the URL cannot be read, or ``check_hash`` is wanted and no hash stands in the file's name.
        FetchError: if it did not come; HashError if it has another sha256 than its name says.
        CacheError: if the cache cannot be used.
    """
    handle = _handle(url)
    name = filename_from_url(url, file_name)
    prefix = _named_hash(name) if check_hash else None
    cache, key = layout.weights(model_dir), f"{name} {handle.key}"
    is_archive = name.lower().endswith(ARCHIVE_SUFFIXES)

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        brought = _brought(handle, into, parts, "" if is_archive else name, prefix, is_quiet=not progress)
        _check_hash(brought.origin.sha256, prefix, str(handle))
        return brought

    reloaded = _reloaded.get()
    is_anew = reloaded is not None and key not in reloaded
    known = cache.find(key)
    if prefix is not None and known is not None and not is_anew:
        is_anew = _is_spoilt(cache, known)
    record = cache.ensure(handle.public, key, fill, refresh=is_anew, sha256=handle.sha256)
    if reloaded is not None:
        reloaded.add(key)
    _check_hash(record.origin.sha256, prefix, f"{handle}, cached in {cache.path(record)}")
    return cache.path(record) if is_archive else f"{cache.path(record)}/{name}"


def filename_from_url(url: str, file_name: str | None = None) -> str:
    """The name of a file that comes from a URL: the last part of its path, if no other one is said.

    Raises:
        HandleError: if there is none, or it is no name of a file.
    """
    name = unquote(_handle(url).path.rpartition("/")[2]) if file_name is None else file_name
    if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", name):
        raise HandleError(f"{name!r} is no name of a file", fix='Say one by file_name="model.weights.h5".')
    return name


def _handle(url: str) -> Handle:
    handle = Handle.parse(url)
    if handle.scheme not in ("http", "https"):
        raise HandleError(f"{handle} is no http or https URL")
    return handle


def _brought(handle: Handle, into: Path, parts: Path, name: str, prefix: str | None, *, is_quiet: bool) -> FetchResult:
    """Bring a file of that name, or unpack an archive where there is none; the caller compares its sha256 with ``prefix``."""
    from tfimm_resolver.transfer.downloader import Downloader

    is_hash_known = len(prefix or "") >= _TELLING_DIGITS
    transfer = Downloader(handle, parts, is_quiet=is_quiet, is_hash_known=is_hash_known)
    try:
        if name:
            transfer.file(handle.url(), into, name)
        else:
            transfer.archive(handle.url(), into)
    except OfflineError as error:
        if not settings.is_offline():
            raise
        text = f"{handle} is not in {into.parent}\n  TFIMM_RESOLVER_OFFLINE is set"
        raise error.retold(text, "Unset it, or copy that directory here.") from error
    return FetchResult(transfer.origin, transfer.files)


def _remove_unfinished(path: str) -> None:
    """Remove what processes staged that died while they brought the same file; for one who holds its lock."""
    folder, name = os.path.split(path)
    for other in os.listdir(folder):
        word, _, kind = other.removeprefix(f"{name}.").partition(".")
        is_staged = other.startswith(f"{name}.") and kind in ("tmp", "parts") and word.startswith(TOKEN_PREFIXES)
        if is_staged and not is_token_alive(word, by_us=False):
            fs.remove_tree(f"{folder}/{other}", ignore_errors=True)


def _is_spoilt(cache: Cache, known: Record) -> bool:
    """Whether a byte of a cached file is another one than came."""
    return any(cache.root.hash_faults(known))


def _named_hash(name: str) -> str:
    found = _HASH.search(name)
    if found is None:
        raise HandleError(
            f"check_hash: no hash stands in the name {name!r}",
            fix="It has to end in a hyphen, at least 8 digits of its sha256 and the extension: resnet18-5c106cde.weights.h5.",
        )
    return found[1]


def _prefix(said: str | None) -> str | None:
    if said is not None and not re.fullmatch("[0-9a-f]{1,64}", said.lower() if isinstance(said, str) else ""):
        raise HandleError(f"hash_prefix is {said!r}", fix="It has to be the beginning of a sha256 in hexadecimal digits.")
    return said and said.lower()


def _check_hash(sha256: str, prefix: str | None, what: str) -> None:
    if prefix is not None and not sha256.startswith(prefix):
        # torch.hub's words, which its users look for.
        raise HashError(
            f'invalid hash value (expected "{prefix}", got "{sha256}")\n  of {what}',
            fix="Nothing else has that hash: ask whoever published it, or leave the check out if you trust what came.",
        )
