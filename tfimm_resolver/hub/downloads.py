"""Downloads files and archives: to a path that the caller chooses, or into the cache of weights."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import safe_parts
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import ArchiveError, CacheError, HandleError, HashError, OfflineError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, Handle
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.hub import layout
from tfimm_resolver.locking import lock as locks
from tfimm_resolver.locking.owner import PARTS, TOKEN_PREFIXES, is_token_alive
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.sources import web_pages

_EXTENSION = r"\.(?:weights\.h5|tar\.gz|[A-Za-z0-9_]+)"
_HASH = re.compile(rf"-([0-9a-f]{{8,64}}){_EXTENSION}$")
_FILE = "file"
_MIN_TRUSTED_DIGITS = 8  # of a sha256: as much as a CRC
_SUFFIX_BESIDE = ".tfimm_resolver"
"""Part of the names of temporary files beside a download, so that they never collide with a ``Cargo.lock`` or the like."""

_reloaded_keys: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar("_reloaded_keys", default=None)
"""Keys that the running entry point has already downloaded again because of ``force_reload``; None without it."""


@contextlib.contextmanager
def force_reload_scope(force_reload: bool) -> Iterator[None]:
    """Make downloads in the body ignore cached copies, each URL once, if ``force_reload`` is true."""
    before = _reloaded_keys.set(set() if force_reload else None)
    try:
        yield
    finally:
        _reloaded_keys.reset(before)


def download_url_to_file(url: str, dst: str | os.PathLike[str], hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download a URL to the file ``dst``, which is replaced only when the download is complete.

    An interrupted download is kept in ``<dst>.tfimm_resolver.parts`` and resumed by the next call, unless a directory of
    that name belongs to another user.

    Args:
        url: an http or https URL.
        dst: the path of the file.
        hash_prefix: the first hexadecimal digits of the expected sha256.
        progress: show progress.

    Raises:
        FetchError: if the download fails; HashError if the sha256 does not match.
        CacheError: if the file cannot be written.

    Example:
        >>> url = "https://models.example/half_plus_two/1.tar.gz"
        >>> tfimm_resolver.hub.download_url_to_file(url, "model.tar.gz", progress=False)
        >>> import os
        >>> os.listdir()
        ['model.tar.gz']
    """
    handle = _parse_url(url)
    path = settings.expand_path(dst)
    prefix = _normalize_prefix(hash_prefix)
    settings.check_output_path(path)
    settings.validate()
    with contextlib.ExitStack() as after, map_os_errors(CacheError, f"cannot write {show(path)}", _suggest_lock_fix):
        path_prefix = path + _SUFFIX_BESIDE
        lock = locks.acquire(f"{path_prefix}.lock", str(handle))
        assert lock is not None
        after.callback(lock.release)
        _remove_unfinished(path_prefix)
        staged = Path(f"{path_prefix}.{lock.owner.token}.tmp")
        after.callback(fs.remove_tree, str(staged), ignore_errors=True)
        staged.mkdir(mode=0o700)
        result = _download(handle, staged, Path(f"{path_prefix}.{PARTS}"), _FILE, prefix, is_quiet=not progress)
        _check_hash(result.origin.sha256, prefix, str(handle))
        fs.fsync_tree(str(staged))
        fs.durable_replace(str(staged / _FILE), path)


def _suggest_lock_fix(error: OSError) -> str:
    """Return what to do about a lock file beside the target that cannot be used, which another user can have put there."""
    path = str(error.filename or "")
    if not path.endswith(f"{_SUFFIX_BESIDE}.lock"):
        return ""
    return f"Remove {path}, or write to a directory in which no other user can create files."


def fetch_weights(
    url: str, model_dir: str | os.PathLike[str] | None, file_name: str | None, *, check_hash: bool, progress: bool
) -> str:
    """Return the path of a file in the cache of weights, or of a directory with an unpacked archive; download it if needed.

    Raises:
        HandleError: if the URL is malformed, or ``check_hash`` is set and the file name contains no hash.
        FetchError: if the download fails; HashError if the sha256 does not match the file name.
        CacheError: if the cache cannot be used; without ``model_dir``, also if another user can have written the copy.
    """
    handle = _parse_url(url)
    name = filename_from_url(url, file_name)
    prefix = _extract_hash(name) if check_hash else None
    cache, key = layout.open_weights(model_dir), f"{name} {handle.key}"
    is_archive = name.lower().endswith(ARCHIVE_SUFFIXES)

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        reserve = functools.partial(tiers.make_room, cache=cache) if model_dir is None else None
        result = _download(handle, into, parts, "" if is_archive else name, prefix, is_quiet=not progress, reserve=reserve)
        _check_hash(result.origin.sha256, prefix, str(handle))
        return result

    reloaded = _reloaded_keys.get()
    must_reload = reloaded is not None and key not in reloaded
    known = cache.find(key)
    if prefix is not None and known is not None and not must_reload:
        _check_tree(cache.path(known), model_dir)
        must_reload = _is_damaged(cache, known)
    settings.cache_limits()  # a wrong one is an error before the download
    record = tiers.ensure(cache, handle.redacted, key, fill, refresh=must_reload, pin=Pin(handle.sha256))
    ModelLocation(cache.path(record), record).hold(is_new=record != known)
    if record != known and model_dir is None:
        tiers.make_room(0, cache)
    if reloaded is not None:
        reloaded.add(key)
    _check_tree(cache.path(record), model_dir)
    _check_hash(record.origin.sha256, prefix, f"{handle}, cached in {cache.path(record)}")
    return cache.path(record) if is_archive else f"{cache.path(record)}/{name}"


def filename_from_url(url: str, file_name: str | None = None) -> str:
    """Return ``file_name`` if given, else the last part of the URL's path.

    Raises:
        HandleError: if that is not a file name.
    """
    name = unquote(_parse_url(url).path.rpartition("/")[2]) if file_name is None else file_name
    with contextlib.suppress(ArchiveError):
        if isinstance(name, str) and safe_parts(name, is_canonical=True) == (name,):
            return name
    fix = Advice(
        python='Pass one, as file_name="model.weights.h5".',
        command="Ask the author of the repository to name the file, or use a URL that ends in its name.",
    )
    raise HandleError(f"{name!r:.200} is not a file name", fix=fix)


def _parse_url(url: str) -> Handle:
    handle = Handle.parse(url)
    if handle.scheme not in ("http", "https"):
        raise HandleError(f"{handle} is not an http or https URL", fix="Give the URL of the file.")
    web_pages.plan(handle)
    return handle


def _download(
    handle: Handle,
    into: Path,
    parts: Path,
    name: str,
    prefix: str | None,
    *,
    is_quiet: bool,
    reserve: Callable[[int], object] | None = None,
) -> FetchResult:
    """Download a file under that name, or unpack an archive if the name is empty; the caller checks the sha256."""
    from tfimm_resolver.transfer.downloader import Downloader

    is_hash_known = len(prefix or "") >= _MIN_TRUSTED_DIGITS
    transfer = Downloader(handle, parts, is_quiet=is_quiet, is_hash_known=is_hash_known, reserve=reserve)
    try:
        if name:
            transfer.file(handle.url(), into, name)
        else:
            transfer.archive(handle.url(), into)
    except OfflineError as error:
        if not settings.is_offline():
            raise
        text = f"{handle} is not cached in {into.parent}\n  TFIMM_RESOLVER_OFFLINE is set"
        raise error.with_message(text, "Unset it, or copy the entry from a machine that has it.") from error
    return FetchResult(transfer.origin, transfer.files)


def _remove_unfinished(path: str) -> None:
    """Remove what dead processes left of downloads of the same file; the caller must hold its lock."""
    folder, name = os.path.split(path)
    for other in os.listdir(folder):
        token, _, kind = other.removeprefix(f"{name}.").partition(".")
        is_staged = other.startswith(f"{name}.") and kind in ("tmp", PARTS) and token.startswith(TOKEN_PREFIXES)
        if is_staged and not is_token_alive(token, assume_own_alive=False):
            fs.remove_tree(f"{folder}/{other}", ignore_errors=True)


def _check_tree(tree: str, model_dir: str | os.PathLike[str] | None) -> None:
    """Check a cached copy before it is read: its owners, and that no file is one that blocks its reader, such as a pipe.

    Owners and links are not checked in a ``model_dir``, which the caller chose.

    Raises:
        CacheError: if the copy is not to be read.
    """
    if model_dir is None:
        return layout.check_owners(tree)
    for name in fs.walk(tree):
        if os.path.exists(path := f"{tree}/{name}") and not (os.path.isfile(path) or os.path.isdir(path)):
            raise CacheError(
                f"{show(path)} is neither a file nor a directory: it is not used",
                fix=f"Remove {show(tree)} and the record beside it, to download it again.",
            )


def _is_damaged(cache: Cache, known: Record) -> bool:
    """Return whether a cached file does not match its recorded hash."""
    return any(cache.root.verify_hashes(known))


def _extract_hash(name: str) -> str:
    found = _HASH.search(name)
    if found is None:
        raise HandleError(
            f"check_hash: the file name {name!r} does not contain a hash",
            fix="It must end in a hyphen, at least 8 digits of the sha256 and the extension: resnet18-5c106cde.weights.h5.",
        )
    return found[1]


def _normalize_prefix(prefix: str | None) -> str | None:
    if prefix is not None and not re.fullmatch("[0-9a-f]{1,64}", prefix.lower() if isinstance(prefix, str) else ""):
        raise HandleError(f"hash_prefix is {prefix!r}", fix="It must be the beginning of a sha256, in hexadecimal digits.")
    return prefix and prefix.lower()


def _check_hash(sha256: str, prefix: str | None, what: str) -> None:
    if prefix is not None and not sha256.startswith(prefix):
        # The wording of torch.hub, which its users search for.
        raise HashError(
            f'invalid hash value (expected "{prefix}", got "{sha256}")\n  of {what}',
            fix="Ask the publisher for the right hash, or omit the check if you trust the file.",
        )
