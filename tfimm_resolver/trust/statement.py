"""Reads and writes the statement that is signed, of OpenSSF Model Signing: the hash of each file of a model."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import safe_parts
from tfimm_resolver.errors import ArchiveError, SignatureError
from tfimm_resolver.manifest import SAVED_MODEL_FILES, FileEntry
from tfimm_resolver.trust.bundle import expect, parse_unambiguous_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

SIGNATURE_FILES = ("model.sig", ".kaggle/signing.json")
"""Where a model contains its own signature; these files are never signed."""

GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What the reference implementation leaves out of a signature."""

SINGLE_FILE = "."
"""The name of the one file, if not a directory was signed."""

_VALUES_MAX = 600_000
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")
_SHARD = re.compile(r"(.+):(0|[1-9][0-9]{0,18}):([1-9][0-9]{0,18})", re.DOTALL)
_HASH_NAMES = {"sha256": "sha256", "blake2": "blake2b", "blake2b": "blake2b", "blake3": "blake3"}
_LOADED_DIRECTORIES = ("variables", "assets", "assets.extra")
_LOADED_FILES = (*SAVED_MODEL_FILES, "fingerprint.pb", "keras_metadata.pb")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signer says of a model.

    Attributes:
        subject: the name of the model, which is informative only.
        hash_name: the algorithm of the hashes: ``sha256``, ``blake2b`` or ``blake3``.
        digests: the hash of each file, or with shards of each part of a file, ``PATH:START:END``.
        ignored: the paths that the signer left out, with everything below them.
        shard_bytes: the size of a part; 0 if files are hashed as one.
    """

    subject: str
    hash_name: str
    digests: dict[str, str] = field(repr=False)
    ignored: tuple[str, ...] = ()
    shard_bytes: int = 0

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Parse a statement, whose signature was verified before.

        Raises:
            SignatureError: if it is not a statement of this kind, contradicts itself, or has a path that is not one below
                the model.
        """
        facts = parse_unambiguous_json(payload, "the statement", _VALUES_MAX)
        for key, required in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
            if expect(facts, key, str) != required:
                raise SignatureError(f"{show(key)} of the statement is {show(facts[key])}, not {required}")
        predicate, subjects = expect(facts, "predicate", dict), expect(facts, "subject", list)
        if len(subjects) != 1 or not isinstance(subjects[0], dict):
            raise SignatureError(f"the statement is about {len(subjects)} models, not one")
        method = expect(predicate, "serialization", dict)
        hash_name = _HASH_NAMES.get(expect(method, "hash_type", str), "")
        shard_bytes = _read_shard_bytes(method)
        if not hash_name:
            raise SignatureError(f"hashes of the kind {show(method['hash_type'])} are not supported")
        algorithm = f"{hash_name}-sharded-{shard_bytes}" if shard_bytes else hash_name
        digests = _read_digests(expect(predicate, "resources", list), algorithm, is_sharded=bool(shard_bytes))
        _check_root(expect(subjects[0], "digest", dict), digests)
        ignored = tuple(_read_ignored(method))
        return cls(str(subjects[0].get("name", "")), hash_name, digests, ignored, shard_bytes)

    @property
    def needs_hashing(self) -> bool:
        """Whether the files have to be read, since the hashes are of another kind than those in a record."""
        return self.hash_name != "sha256" or bool(self.shard_bytes)

    def is_ignored(self, path: str) -> bool:
        """Whether a file is not part of the signature: the signer left it out, or it is a signature itself."""
        return path in SIGNATURE_FILES or any(one == "." or path == one or path.startswith(f"{one}/") for one in self.ignored)

    def select_signed(self, files: Iterable[FileEntry]) -> list[FileEntry]:
        """Return the files that have to be as the signer says.

        Raises:
            SignatureError: if the signer left out a file that TensorFlow reads, or nothing is signed.
        """
        signed = []
        for file in files:
            if not self.is_ignored(file.path) or file.path in self.digests:
                signed.append(file)
            elif _is_loaded(file.path):
                raise SignatureError(f"the signature leaves out {show(file.path)}, which TensorFlow reads")
        if not self.digests:
            raise SignatureError("the signature is about no files")
        return signed


def write_statement(subject: str, files: Iterable[FileEntry], ignored: Iterable[str] = ()) -> bytes:
    """Return the statement about files, with their sha256, as the reference implementation of model signing writes it."""
    resources = [{"name": one.path, "algorithm": "sha256", "digest": one.sha256} for one in sort_as_paths(files)]
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    method: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if left_out := sorted(ignored):
        method["ignore_paths"] = left_out
    facts = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": method, "resources": resources},
    }
    return json.dumps(facts, indent=2).encode()


def sort_as_paths(files: Iterable[FileEntry]) -> list[FileEntry]:
    """Return files in the order of their components, in which the digest of all of them is computed."""
    return sorted(files, key=lambda file: file.path.split("/"))


def _read_shard_bytes(method: dict[str, Any]) -> int:
    name = expect(method, "method", str)
    if not isinstance(method.get("allow_symlinks", False), bool) or name not in ("files", "shards"):
        raise SignatureError(f"the serialization {show(name)} is not supported")
    if name == "files":
        return 0
    size = method.get("shard_size")  # of a protobuf Struct, all of whose numbers are floats
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 1 <= size <= 1 << 62 or size != int(size):
        raise SignatureError("shard_size is not a number of bytes")
    return int(size)


def _read_digests(resources: list[Any], algorithm: str, *, is_sharded: bool) -> dict[str, str]:
    digests: dict[str, str] = {}
    for resource in resources:
        if not isinstance(resource, dict) or expect(resource, "algorithm", str) != algorithm:
            raise SignatureError(f"a file of the statement has no hash of the kind {algorithm}")
        name, digest = expect(resource, "name", str), expect(resource, "digest", str)
        if not _DIGEST.fullmatch(digest):
            raise SignatureError(f"the hash of {show(name)} is not hexadecimal, or has a wrong length")
        _check_name(name, is_sharded=is_sharded)
        if name in digests:
            raise SignatureError(f"{show(name)} occurs twice in the statement")
        digests[name] = digest
    return digests


def _check_name(name: str, *, is_sharded: bool) -> None:
    found = _SHARD.fullmatch(name) if is_sharded else None
    if is_sharded and (found is None or int(found[2]) >= int(found[3])):
        raise SignatureError(f"{show(name)} is not a part of a file, PATH:START:END")
    path = found[1] if found else name
    if path == SINGLE_FILE:
        return
    try:
        safe_parts(path, is_canonical=True)
    except ArchiveError as error:
        raise SignatureError(f"the statement names a file that no model has: {error.text}") from error


def _check_root(digest: dict[str, Any], digests: dict[str, str]) -> None:
    """Check the one hash of all hashes, by which other documents refer to the model."""
    root = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    if digest.get("sha256") != root:
        raise SignatureError("the hash of the model in the statement is not that of its files")


def _read_ignored(method: dict[str, Any]) -> Iterable[str]:
    """Yield the ignored paths; one that leads out of the model, or is absolute, has no effect."""
    ignored = method.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(one, str) for one in ignored):
        raise SignatureError("ignore_paths is not a list of paths")
    for one in ignored:
        path = posixpath.normpath(one) if one else ""
        if path and ".." not in one.split("/"):
            yield path


def _is_loaded(path: str) -> bool:
    *folders, name = path.split("/")
    return name in _LOADED_FILES or any(folder in _LOADED_DIRECTORIES for folder in folders)
