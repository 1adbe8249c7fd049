"""Compares the files of a model with a signed statement; reads them only for hashes of a kind that records do not have."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfimm_resolver._util.fs import open_regular_target
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust.statement import SINGLE_FILE, Statement

log = logging.getLogger("tfimm_resolver")

_READ_BYTES = 1 << 20
_NAMES_MAX = 3


def compare(statement: Statement, files: Iterable[FileEntry], tree: str) -> None:
    """Check that a model has exactly the files that a statement names, with those hashes.

    Args:
        statement: what the signer says.
        files: those of the model, with their sha256, which was computed when they were written.
        tree: the directory that they are in, or its URL; read only if the statement has hashes of another kind.

    Raises:
        SignatureError: if a file was changed, is missing, or is not in the statement.
    """
    signed = statement.select_signed(files)
    if statement.needs_hashing:
        if "://" in tree:
            raise SignatureError(f"its {statement.hash_name} hashes cannot be compared in a bucket")
        log.warning("reading all files of %s again: the signature has %s", tree, _describe_hashes(statement))
        actual = dict(_hash_again(statement, signed, tree))
    else:
        actual = {file.path: file.sha256 for file in signed}
    if actual == statement.digests:
        return
    if (found := _is_one_file(actual)) or _is_one_file(statement.digests):
        raise SignatureError(_describe_other_file(is_file=found, is_signed_file=_is_one_file(statement.digests)))
    changed = [name for name in actual if name in statement.digests and actual[name] != statement.digests[name]]
    missing, extra = statement.digests.keys() - actual.keys(), actual.keys() - statement.digests.keys()
    parts = [("changed", changed), ("missing", missing), ("not signed", extra)]
    raise SignatureError("; ".join(f"{word}: {_list_names(names)}" for word, names in parts if names))


def _is_one_file(names: Iterable[str]) -> bool:
    """Whether names are those of one file, or of its parts, and not of the files in a directory."""
    return any(name == SINGLE_FILE or name.startswith(f"{SINGLE_FILE}:") for name in names)


def _describe_other_file(*, is_file: bool, is_signed_file: bool) -> str:
    """Return why one file does not match a statement; it has no name there that would help a user."""
    if is_file and is_signed_file:
        return "this file is not the one that was signed, or was changed since"
    return "a directory was signed, and this is one file" if is_file else "one file was signed, and this is a directory"


def _describe_hashes(statement: Statement) -> str:
    return f"{statement.hash_name} hashes" + (f" of parts of {statement.shard_bytes} bytes" if statement.shard_bytes else "")


def _list_names(names: Iterable[str]) -> str:
    found = sorted(names)
    rest = f" and {len(found) - _NAMES_MAX} more" if len(found) > _NAMES_MAX else ""
    return ", ".join(map(show, found[:_NAMES_MAX])) + rest


def _hash_again(statement: Statement, files: list[FileEntry], tree: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of each file, or of each part; an empty file has no parts."""
    start = _choose_hash(statement.hash_name)
    shard_bytes = statement.shard_bytes
    if shard_bytes and sum(-(-file.size_bytes // shard_bytes) for file in files) != len(statement.digests):
        raise SignatureError("the parts of files in the statement are not those of the model")
    for file in files:
        path = tree if file.path == SINGLE_FILE else join_safely(tree, file.path)
        with map_os_errors(SignatureError, f"{show(path)} cannot be read"):
            for begin in range(0, file.size_bytes, shard_bytes) if shard_bytes else (0,):
                end = min(begin + shard_bytes, file.size_bytes) if shard_bytes else file.size_bytes
                yield f"{file.path}:{begin}:{end}" if shard_bytes else file.path, _hash_range(path, begin, end, start())


def _hash_range(path: str, begin: int, end: int, digest: Any) -> str:
    with open(path, "rb", buffering=0, opener=open_regular_target) as file:
        file.seek(begin)
        remaining = end - begin
        while remaining and (chunk := file.read(min(_READ_BYTES, remaining))):
            digest.update(chunk)
            remaining -= len(chunk)
    text: str = digest.hexdigest()
    return text


def _choose_hash(name: str) -> Callable[[], Any]:
    if name != "blake3":
        return functools.partial(hashlib.new, name)
    try:
        import blake3
    except ImportError as error:
        fix = "Install it: pip install 'tfimm_resolver[signing]'."
        raise SignatureError("the signature has blake3 hashes, and blake3 is not installed", fix=fix) from error
    start: Callable[[], Any] = blake3.blake3
    return start
