"""Writes a bill of materials for cached models: CycloneDX 1.6, the same bytes for the same models."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import join_safely, safe_parts
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice, suggest_refresh
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import find_cached
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.sources.plan import InPlace

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

_CARD, _CARD_BYTES_MAX = "README.md", 1 << 20
_LICENSE = re.compile(r"license: *['\"]?([\w.+-]{1,100})['\"]?\s*", re.ASCII)
_IN_PLACE_FIX = "Give the handle it was fetched from; of a directory of your own, make an archive and resolve that."
_NAMESPACE = uuid.UUID("6f1e5ab4-6b6a-5c0e-9f43-0d9a6b6f6c11")


def make_sbom(names: str | Iterable[str] = ()) -> str:
    """Return a bill of materials as JSON, CycloneDX 1.6: a component of the type ``machine-learning-model`` for each model.

    It has each model's handle, version and hashes, its files with theirs, who signed it, and its licence, if the model card
    says it. It has neither a date nor a path of this machine, so that the same models give the same bytes.

    Args:
        names: of cached models; by default those of the models files in use, else all that are cached.

    Raises:
        UnknownHandleError: if a model is not cached, or is used in place, such as a directory.
        CacheError: if the package cyclonedx-python-lib is not installed, or nothing is known of a model's files.
        ModelsFileError: if a models file cannot be used.

    Example:
        >>> import json
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model] = json.loads(tfimm_resolver.maintenance.make_sbom())["components"]
        >>> model["type"], model["name"], len(model["components"])
        ('machine-learning-model', 'https://models.example/half_plus_two/1.tar.gz', 3)
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        fix = "Install it: pip install 'tfimm_resolver[sbom]'."
        raise CacheError("a bill of materials needs cyclonedx-python-lib, which is not installed", fix=fix) from error
    models = {entry.handle: _make_component(name, entry, path) for name, entry, path in _list_models(names)}
    bom = Bom(components=[models[handle] for handle in sorted(models)], serial_number=uuid.UUID(int=0))
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the library writes no time then
    digest = hashlib.sha256(JsonV1Dot6(bom).output_as_string().encode()).hexdigest()
    bom.serial_number = uuid.uuid5(_NAMESPACE, digest)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _list_models(names: str | Iterable[str]) -> Iterator[tuple[str, Record, str]]:
    """Yield the name, the record and the path of each model."""
    requested = list_names(names, "names") or [entry.name for entry in discovery.list_entries()]
    if not requested:
        for model in inventory.list_models():
            if model.entry is not None and not model.other_root:
                yield model.name, model.entry.record, model.path
    for name in requested:
        found = _find(name)
        if found[0].files is None:
            raise CacheError(
                f"no hashes are known of the files of {show(name)}, which this package has not fetched",
                fix=suggest_refresh(name),
            )
        yield name, *found


def _find(name: str) -> tuple[Record, str]:
    """Return the record and the path of a model; a signature that is required is verified."""
    try:
        resolved = rules.match_rule(Request.parse(name))
        found = find_cached(resolved)
    except UnknownHandleError:  # a name that only the inventory knows
        entry = inventory.select([name])[0].entry
        return (entry.record, entry.path) if entry else (Record("", ""), "")
    if found is None:
        fetch = Advice(python=f"resolve({show(name)!r})", command=f"tfimm-resolver resolve {show(name)}")
        raise UnknownHandleError(f"{show(name)} is not cached", fix=fetch.convert(lambda call: f"Fetch it first: {call}"))
    if found.record is None and isinstance(resolved.plan, InPlace) and resolved.rule != rules.CACHED_NAME:
        raise UnknownHandleError(f"{show(name)} is at {show(found.path)}, not in the cache", fix=_IN_PLACE_FIX)
    return found.record or Record("", ""), found.path


def _make_component(name: str, record: Record, path: str) -> Component:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.component import Component, ComponentType

    handle, origin = Handle.parse(record.handle), record.origin
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=origin.sha256)] if origin.sha256 else []
    properties = {"handle": record.handle, "ref": origin.ref, "archive_size_bytes": str(origin.size_bytes or "")}
    if record.signed_by is not None:
        facts = {key: value for key, value in record.signed_by.facts().items() if key != "verified_at"}
        properties |= {f"signed_by:{key}": value or "" for key, value in facts.items()}
    reference = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(record.handle), hashes=hashes)
    return Component(
        name=name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{record.tree.partition('.')[0]}",
        version=origin.commit or _find_version(handle) or None,
        hashes=hashes,
        licenses=_read_licenses(record, path),
        external_references=[reference] if handle.scheme else [],
        properties=[Property(name=f"tfimm_resolver:{key}", value=value) for key, value in properties.items() if value],
        components=list(_make_files(record)),
    )


def _make_files(record: Record) -> Iterator[Any]:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    for file in record.files or ():
        yield Component(
            name=file.path,
            type=ComponentType.FILE,
            bom_ref="file:" + "/".join((record.tree.partition(".")[0], *safe_parts(file.path))),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
            properties=[Property(name="tfimm_resolver:size_bytes", value=str(file.size_bytes))],
        )


def _find_version(handle: Handle) -> str:
    """Return the version at the end of a handle, as TF Hub and Kaggle number them; empty if there is none."""
    last = handle.path.rpartition("/")[2].partition(".")[0]
    return last if last.isdecimal() and last.isascii() else ""


def _read_licenses(record: Record, path: str) -> list[Any]:
    """Return the licence in the header of the model card, as Hugging Face has it, if there is one."""
    text = _read_card(path) if any(file.path == _CARD for file in record.files or ()) and "://" not in path else ""
    head = text.split("\n---", 1)[0] if text.startswith("---\n") else ""
    found = next((match[1] for line in head.split("\n") if (match := _LICENSE.fullmatch(line))), None)
    if found is None:
        return []
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.spdx import fixup_id

    known = fixup_id(found)
    return [DisjunctiveLicense(id=known) if known else DisjunctiveLicense(name=found)]


def _read_card(path: str) -> str:
    try:
        return fs.read_regular(join_safely(path, _CARD), _CARD_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
