"""Requires signatures, of each model that is fetched, before it is visible, and of each that is found: the only place."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.record import (
    DESCRIPTOR_SUFFIX,
    ENTRY_DIR_PATTERN,
    MAX_RECORD_BYTES,
    Record,
    decode_record,
    hash_tree,
)
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import HandleError, ModelsFileError, ResolverError, SignatureError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.fragment import split_fragment
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import FetchResult, FileEntry, SignedBy
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.settings import Config
    from tfimm_resolver.trust.policy import Requirement

log = logging.getLogger("tfimm_resolver")

_verified: dict[tuple[object, ...], SignedBy] = {}
"""What this process has verified: the state of a tree and what was required of it, with the signer."""


def list_requirements(resolved: ResolvedPlan, config: Config | None = None) -> list[Requirement]:
    """Return the signatures that a model must have, whichever way led to it.

    What the models file requires counts also if its handle is overridden, or a mirror is used. A prefix counts for each
    handle on the way: the one that was asked for, what it stands for, and that of a cached copy. ``config`` is the settings
    file if the caller has just read it.

    Raises:
        HandleError: if the settings file is not valid.
    """
    found = [resolved.model.requirement] if resolved.model is not None and resolved.model.requirement else []
    if has_rules(config):
        from tfimm_resolver.trust import policy

        found += policy.list_requirements(list_handles(resolved))
    return found


def list_requirements_of(record: Record) -> list[Requirement]:
    """Return the signatures that a cached model must have: by its handle, and as a model of the models files in use.

    A models file that cannot be used counts as empty: it is an error when one of its names is resolved.
    """
    found: list[Requirement] = []
    with contextlib.suppress(ModelsFileError):
        for entry in discovery.list_entries():
            if entry.requirement is not None and _is_record_of(record, entry.parse_handle()):
                source = f"for the name {entry.requirement.source}, not for its handle alone"
                found.append(entry.requirement._replace(source=source))
    if has_rules() and (handle := _parse(record.handle)) is not None:
        from tfimm_resolver.trust import policy

        found += policy.list_requirements([handle])
    return found


def is_signed(resolved: ResolvedPlan, location: ModelLocation) -> bool:
    """Whether a model has to be signed, or its signature was verified: its files must not change through other names."""
    record = location.record
    has_signer = record is not None and (record.signed_by is not None or bool(list_requirements_of(record)))
    return has_signer or bool(list_requirements(resolved))


def has_rules(config: Config | None = None) -> bool:
    """Whether the settings file has rules; those who have none do not pay for reading them."""
    return "trust" in (config or settings.read_config()).table


def verify_fetched(into: Path, result: FetchResult, requirements: Iterable[Requirement], label: str) -> FetchResult:
    """Verify the signatures of files that were fetched into a staging directory; return the result with the signer.

    ``label`` is the model's name in an error.

    Raises:
        SignatureError: if one is missing or not valid; nothing was published.
    """
    for requirement in requirements:
        files = hash_tree(str(into)) if result.files is None else result.files
        signed_by = _verify_tree(str(into), files, requirement, label)
        result = result._replace(files=files, signed_by=signed_by)
    return result


def check(location: ModelLocation, requirements: Iterable[Requirement], label: str) -> SignedBy | None:
    """Check that a model that was found has the signatures that are required; return the signer, if any is known.

    What was verified when the model was fetched is in its record. Otherwise it is verified now, once in a process: the
    requirement may be newer than the copy, and a record in a root of others is not believed.

    Raises:
        SignatureError: if a signature is missing, by another signer, or does not match the files.
    """
    record = _get_own_record(location)
    found = recorded = record.signed_by if record is not None else None
    for requirement in requirements:
        if recorded is None or not requirement.signer.is_satisfied_by(recorded):
            found = _verify_once(location, requirement, label)
    return found


def _verify_once(location: ModelLocation, requirement: Requirement, label: str) -> SignedBy:
    if "://" in location.path:
        raise SignatureError(
            f"{show(label)} has to be signed by {requirement.signer.describe()} ({requirement.source}), "
            f"and files in a bucket, {show(location.path)}, are not verified",
            fix="Fetch it again, which verifies it before it is stored, or use a local copy.",
        )
    trusted = tuple(requirement.signer.list_trusted())  # a key that was replaced counts at once
    key = (location.path, tuple(_describe_files(location)), requirement, trusted)
    if key not in _verified:
        _verified[key] = verify_again(location.path, _get_own_record(location), requirement, label)
    return _verified[key]


def _get_own_record(location: ModelLocation) -> Record | None:
    """Return the record of a model, unless others wrote it: what it says of the files and the signer may be wrong."""
    return None if location.is_read_only else location.record


def check_path(request: Request, path: str) -> None:
    """Check the directory that ``set_model_cache`` or the directory of names has for a name; raises SignatureError."""
    resolved = plan_path(request, path)
    check(ModelLocation(split_fragment(path)[0]), list_requirements(resolved), resolved.label)


def plan_path(request: Request, path: str) -> ResolvedPlan:
    """Return the plan for the directory that ``set_model_cache`` or the directory of names has for a name."""
    model = discovery.find_entry(request.handle.text) if request.handle.is_name else None
    return ResolvedPlan("override", request.stand_for(Handle.parse(path)), InPlace(split_fragment(path)[0]), model)


def verify_again(tree: str, record: Record | None, requirement: Requirement, label: str) -> SignedBy:
    """Verify the signature of a model on this machine's disk; raises SignatureError.

    The files are compared as the record has them; without one, or for a record of others, which must not be passed, they
    are hashed. The certificates have to have been valid when a signature was verified first, which the record says; else
    now.
    """
    _check_links(tree)
    is_recorded = record is not None and record.files is not None
    with map_os_errors(SignatureError, f"the files in {show(tree)} cannot be read"):
        files = record.files if record is not None and is_recorded else hash_tree(tree)
    return _verify_tree(tree, files or (), requirement, label, _get_time_s(record))


def _verify_tree(tree: str, files: Iterable[FileEntry], requirement: Requirement, label: str, time_s: float = 0) -> SignedBy:
    from tfimm_resolver.trust.statement import SIGNATURE_FILES
    from tfimm_resolver.trust.verification import verify

    files, failures = list(files), list[str]()
    fix: Fix = ""
    required = f"{show(label)} has to be signed by {requirement.signer.describe()} ({requirement.source})"
    for source, data in _list_bundles(tree, requirement):
        try:
            return verify(data, requirement.signer, files, tree, time_s=time_s)
        except SignatureError as error:
            failures.append(f"{source}: {error.text}")
            fix = error.advice
    if not failures:
        names = " or ".join(SIGNATURE_FILES)
        failures, fix = [f"it contains no signature, {names}"], "Write where its signature is: signature = PATH or URL."
    raise SignatureError("\n  ".join([required, *failures]), fix=fix)


def _list_bundles(tree: str, requirement: Requirement) -> Iterator[tuple[str, bytes]]:
    """Yield the bundles that may have the signature, each with a name for a message: the configured one, else the model's."""
    from tfimm_resolver.trust.bundle import BYTES_MAX
    from tfimm_resolver.trust.statement import SIGNATURE_FILES

    if requirement.signature:
        yield show(requirement.signature), _read_bundle(requirement.signature, BYTES_MAX)
        return
    for name in SIGNATURE_FILES:
        path = os.path.join(tree, name)
        if os.path.lexists(path):
            with map_os_errors(SignatureError, f"the signature {show(name)} cannot be read"):
                yield name, fs.read_regular(path, BYTES_MAX, follow=True)


def _read_bundle(source: str, max_bytes: int) -> bytes:
    if "://" in source:
        from tfimm_resolver.transfer.small_requests import get_bytes

        try:
            return get_bytes(handle := Handle.parse(source), handle.url())
        except ResolverError as error:
            raise SignatureError(f"the signature cannot be fetched: {error.text}", fix=error.advice) from error
    with map_os_errors(SignatureError, f"the signature {show(source)} cannot be read", "Correct its path."):
        return fs.read_regular(source, max_bytes, follow=True)


def list_handles(resolved: ResolvedPlan) -> Iterator[Handle]:
    """Yield every handle of a request: those on the way, the last one, and those of the cached copies that a path is in."""
    yield from resolved.request.former
    yield resolved.handle
    if isinstance(resolved.plan, InPlace):
        if (handle := _parse(resolved.plan.path)) is not None:
            yield handle
        yield from filter(None, (_parse(record.handle) for record in list_records(resolved.plan.path)))


def list_records(path: str) -> Iterator[Record]:
    """Yield the record of each cached model that a local path may be in, as it is written and where its links lead.

    All of them, since a model may contain a directory with a name and a record like those of the cache.
    """
    if "://" in path:
        return
    for spelling in dict.fromkeys((os.path.realpath(path), os.path.abspath(path))):
        current = spelling
        while (parent := os.path.dirname(current)) != current:
            name = os.path.basename(current)
            if ENTRY_DIR_PATTERN.fullmatch(name) and (record := _read_record(parent, name)) is not None:
                yield record
            current = parent


def _read_record(root: str, name: str) -> Record | None:
    try:
        data = fs.read_regular(os.path.join(root, name.partition(".")[0] + DESCRIPTOR_SUFFIX), MAX_RECORD_BYTES)
        record = Record.parse(decode_record(data), name)
    except (OSError, ResolverError):
        return None
    return record if record.handle else None


def _is_record_of(record: Record, handle: Handle) -> bool:
    """Whether a record is that of a handle, as far as it can be told from the handle that it has."""
    if not handle.scheme:
        return local.find_path(handle) == record.handle
    recorded = _parse(record.handle)
    return recorded is not None and (handle.redacted == record.handle or recorded.key == handle.key)


def _parse(text: str) -> Handle | None:
    try:
        return Handle.parse(text)
    except HandleError:
        return None


def _get_time_s(record: Record | None) -> float:
    """Return when the signature of a model was verified first, in seconds since 1970; 0 if it was not."""
    if record is None or record.signed_by is None:
        return 0
    try:
        return clock.parse_time_s(record.signed_by.verified_at)
    except ValueError:
        return 0


def _describe_files(location: ModelLocation) -> Iterator[object]:
    """Yield what changes if a model does: its record, else the state of each of its files and directories."""
    record = _get_own_record(location)
    if record is not None and record.files is not None:
        yield record.tree, record.fetched_at
        return
    for name in sorted(fs.walk(location.path, folders=True)):
        try:
            status = os.stat(os.path.join(location.path, name))
        except OSError:
            yield name
        else:
            yield name, *fs.get_state(status)


def _check_links(tree: str) -> None:
    """Refuse a directory that is a link: what is in it would be read, but not compared."""
    for name in fs.walk(tree, folders=True):
        path = os.path.join(tree, name)
        if os.path.islink(path) and os.path.isdir(path):
            raise SignatureError(f"{show(path)} is a link to a directory, which a signature does not cover")
