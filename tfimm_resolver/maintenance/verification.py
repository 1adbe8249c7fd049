"""Compares cached files with their recorded hashes, and fetches damaged models again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs, tables
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.contents import MODEL
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, HandleError, IntegrityError, ResolverError, SignatureError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import SHORTENED
from tfimm_resolver.maintenance import inventory, views
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import signatures
from tfimm_resolver.resolution.cached_names import derive_entry_name
from tfimm_resolver.resolution.resolver import resolve
from tfimm_resolver.saved_model import content


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The outcome for one cached model.

    Attributes:
        model: the model; after a repair, as it is now.
        state: ``ok``, ``damaged``, ``unsigned`` if a signature that is required is missing, not valid, or cannot be verified,
            or ``unverified`` if no hashes were recorded for it.
        faults: a message for each file that is not as recorded.
        files: the number of its files.
        seconds: how long the verification took.
        is_repaired: whether it was fetched again; None unless a repair was tried.
        is_changed: whether the repair fetched a different archive than before.
        error: why it could not be repaired; None otherwise.
        signed_by: who has signed it, if a signature is required now or was when it was fetched.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> (result,) = tfimm_resolver.maintenance.verify(["https://models.example/half_plus_two/1.tar.gz"])
        >>> result.state, result.faults, result.files, result.error
        ('ok', (), 3, None)
    """

    model: CachedModel
    state: str
    faults: tuple[str, ...] = ()
    files: int = 0
    seconds: float = 0.0
    is_repaired: bool | None = None
    is_changed: bool = False
    error: ResolverError | None = None
    signed_by: SignedBy | None = None


class VerifyResults(list[VerifyResult]):
    """A list of results, which a notebook shows as a table.

    Example:
        >>> tfimm_resolver.maintenance.verify()
        []
    """

    def _repr_html_(self) -> str:
        return tables.format_html(views.make_verify_table(self))


def verify(names: str | CachedModel | Iterable[str | CachedModel] = (), *, repair: bool = False) -> VerifyResults:
    """Read every file of the given or of all cached models, and compare it with the hash recorded when it was fetched.

    Signatures that the models file or the settings file requires are verified, too.

    Args:
        names: as for ``select``; all models if there are none.
        repair: fetch damaged models again; a failure is the ``error`` of the result.

    Raises:
        UnknownHandleError: if a name matches no cached model, or more than one.
        CacheError: if the cache cannot be read.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> with open(f"{path}/saved_model.pb", "wb") as file:
        ...     _ = file.write(b"damaged")
        >>> [result.state for result in tfimm_resolver.maintenance.verify()]
        ['damaged']
        >>> [(result.state, result.is_repaired) for result in tfimm_resolver.maintenance.verify(repair=True)]
        [('ok', True)]
    """
    return VerifyResults(iterate_results(names, repair=repair))


def iterate_results(names: str | CachedModel | Iterable[str | CachedModel], *, repair: bool) -> Iterator[VerifyResult]:
    """Yield what ``verify`` returns, each result as soon as it is known."""
    for model in inventory.select(names):
        result = _verify_model(model)
        yield _repair(result) if repair and result.state == "damaged" else result


def _verify_model(model: CachedModel) -> VerifyResult:
    started_s = clock.get_monotonic_s()
    files = model.entry.record.files if model.entry else None
    file_count = len(files) if files is not None else sum(1 for _ in fs.walk(model.path))
    faults = tuple(_find_damaged_files(model))
    state, signed_by = "damaged" if faults else "unverified" if files is None else "ok", None
    if not faults:
        try:
            signed_by = _verify_signatures(model)
        except SignatureError as error:
            state, faults = "unsigned", tuple(error.text.split("\n  "))
    return VerifyResult(model, state, faults, file_count, round(clock.get_monotonic_s() - started_s, 3), signed_by=signed_by)


def _verify_signatures(model: CachedModel) -> SignedBy | None:
    """Verify the signatures that are required of a model, also one that was verified before; return the signer.

    Raises:
        SignatureError: if one is missing or not valid, or a key that it names cannot be read.
        HandleError: if the settings file is not valid.
    """
    record = model.entry.record if model.entry else None
    own_record = None if model.is_read_only else record
    found = own_record.signed_by if own_record else None
    for requirement in signatures.list_requirements_of(record or Record(model.path, "")):
        try:
            if settings.is_bucket(model.path):  # verified before it was stored, or else by no one
                signatures.check(ModelLocation(model.path, record), [requirement], model.name)
            else:
                found = signatures.verify_again(model.path, own_record, requirement, model.name)
        except HandleError as error:  # a key of this model: the others are verified nevertheless
            raise SignatureError(f"{error.text} ({requirement.source})", fix=error.advice) from error
    return found


def _find_damaged_files(model: CachedModel) -> Iterator[str]:
    """Read every file of a model and yield a message for each that does not match its record."""
    if model.entry is None:
        yield from content.find_missing_content(model.path)
    elif model.entry.record.files is not None:
        yield from inventory.open_owner(model).root.verify_hashes(model.entry.record)
    elif model.entry.defect:
        yield model.entry.defect


def _repair(result: VerifyResult) -> VerifyResult:
    model = result.model
    try:
        resolve(_find_repair_handle(model), refresh=True)
    except ResolverError as error:
        return replace(result, is_repaired=False, error=error)
    name = model.entry.name if model.entry else ""
    cached = [other for other in inventory.list_models() if other.entry and not other.other_root and other.entry.name == name]
    now = _verify_model(cached[0]) if cached else None
    if now is None or now.state != "ok":
        changed = IntegrityError(
            f"{show(model.name)} could not be fetched again: its handle now leads to another model, "
            "or a part of it was not recorded"
        )
        return replace(result, is_repaired=False, error=changed)
    before, after = _get_sha256(model), _get_sha256(now.model)
    return replace(now, is_repaired=True, is_changed=bool(before) and before != after)


def _get_sha256(model: CachedModel) -> str:
    return model.entry.record.origin.sha256 if model.entry else ""


def _find_repair_handle(model: CachedModel) -> str:
    if model.is_read_only:
        raise CacheError(
            f"{show(model.other_root)} is an extra root, which is read-only", fix="Ask the owner of that root to repair it."
        )
    if model.entry is None:
        raise CacheError(
            f"{show(model.path)} was put there under its name, and where it came from is not recorded",
            fix="Replace the directory by a complete copy of the model.",
        )
    if model.kind != MODEL:
        raise CacheError(
            f"{show(model.name)} was fetched by the hub, which fetches it again when it is loaded and is not complete",
            fix=Advice(
                python=f"Remove it, and load it again: maintenance.remove({model.name!r}).",
                command=f"Remove it, and load it again: tfimm-resolver rm {shlex.quote(show(model.name))}",
            ),
        )
    for known in discovery.list_entries():  # resolving by name applies its pin and its mirrors
        if entry_name_for_key(known.parse_handle().key) == model.entry.name:
            return known.name
    handle = model.entry.record.handle
    derived = derive_entry_name(model.entry.record) if handle else None
    is_other = derived not in (None, model.entry.name)
    if not handle or handle.endswith(SHORTENED) or is_other:
        missing = "its user or password was" if is_other else "its query was"
        raise CacheError(
            f"the full handle of {show(model.name)} is unknown: {missing} not recorded, as it may contain a secret",
            fix=Advice(
                python="Fetch it again with its full handle: tfimm_resolver.resolve(handle, refresh=True).",
                command="Fetch it again with its full handle: tfimm-resolver resolve --refresh HANDLE.",
            ),
        )
    return handle
