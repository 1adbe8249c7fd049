"""Facts about a model's files: their paths, sizes and hashes, and where they came from."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfimm_resolver._util.outgoing import repr_fields

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")


def get_model_directory(path: str) -> str:
    """Return the directory of a SavedModel for the path of its graph, and any other path as it is."""
    directory, _, name = path.rpartition("/")
    return directory if name in SAVED_MODEL_FILES else path


class FileEntry(NamedTuple):
    """One file of a model; ``path`` is relative, with ``/``."""

    path: str
    size_bytes: int
    sha256: str


class Origin(NamedTuple):
    """Where a model's files came from.

    Attributes:
        url: the last URL of a chain of redirects, without its query; the path of a local archive.
        etag: as the server sent it.
        size_bytes: of the archive, packed.
        sha256: of the archive, or of the one file; empty if the model was neither.
        ref: the branch or tag of a repository, in full: ``refs/heads/main``.
        commit: the commit of that repository.
        modified: the Last-Modified date, where it identifies a version without an ETag.
        claimed_sha256: what an unverified bundle says of the archive's hash, instead of ``sha256``; it satisfies no pin.
        adopted_from: the tool from whose cache on this machine the files were taken, such as ``kagglehub``; else empty.
    """

    url: str = ""
    etag: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    ref: str = ""
    commit: str = ""
    modified: str = ""
    claimed_sha256: str = ""
    adopted_from: str = ""

    @property
    def stated_sha256(self) -> str:
        """The hash of the archive, known or only claimed, to tell versions apart; empty if there is none."""
        return self.sha256 or self.claimed_sha256

    def describe_claim(self) -> str:
        """Return, for an error message, why a copy with a claimed hash does not count as one that has it."""
        return "was imported from a bundle whose own sha256 was not given, so that its hash is only a claim and matches no pin"

    def make_unverified(self) -> Origin:
        """Return the origin with its hash marked as a claim."""
        return self._replace(sha256="", claimed_sha256=self.stated_sha256)

    def __repr__(self) -> str:
        return repr_fields(self)

    @classmethod
    def parse(cls, facts: dict[str, Any]) -> Origin:
        """Parse the origin in a record; ignore fields that another version of this package may have added."""
        size_bytes = facts.get("size_bytes")
        names = ("url", "etag", "modified", "sha256", "ref", "commit", "claimed_sha256", "adopted_from")
        texts = {name: str(facts[name]) for name in names if name in facts}
        return cls(**texts, size_bytes=None if size_bytes is None else parse_size(size_bytes))


class SignedBy(NamedTuple):
    """The signer of the files of a model, as it was verified.

    Attributes:
        kind: how: ``key``, ``certificate`` or ``sigstore``.
        trusted_sha256: the hash of the public key, or of the certificate at the end of the chain, that the user trusts.
        identity: the signer's name in the certificate; empty for a key.
        issuer: who confirmed that identity, for ``sigstore``.
        verified_at: ISO 8601, UTC.
        bundle_sha256: the hash of the bundle that contains the signature.
    """

    kind: str
    trusted_sha256: str = ""
    identity: str = ""
    issuer: str = ""
    verified_at: str = ""
    bundle_sha256: str = ""

    def __repr__(self) -> str:
        return repr_fields(self)

    def describe(self) -> str:
        """Return who signed, in a few words."""
        if self.kind == "key":
            return f"key sha256:{self.trusted_sha256[:16]}"
        return f"{self.identity or 'certificate'}, {self.issuer or f'certified by sha256:{self.trusted_sha256[:16]}'}"

    def facts(self) -> dict[str, str | None]:
        """Return the fields that ``--json`` prints; a value that is not known is None."""
        return {name: text or None for name, text in self._asdict().items()}

    @classmethod
    def parse(cls, facts: Any) -> SignedBy | None:
        """Parse what a record says; None if it says nothing."""
        if not isinstance(facts, dict):
            return None
        names = ("kind", "trusted_sha256", "identity", "issuer", "verified_at", "bundle_sha256")
        return cls(**{name: str(facts.get(name, "")) for name in names})


class FetchResult(NamedTuple):
    """The result of fetching a model.

    Attributes:
        origin: where the files came from.
        files: every file that was written, sorted by path; None if they were not hashed while they were written.
        fetched_at: when they were downloaded from their publisher, as in a record; empty if that was just now.
        signed_by: who signed them; None if no signature is required.
    """

    origin: Origin
    files: tuple[FileEntry, ...] | None = None
    fetched_at: str = ""
    signed_by: SignedBy | None = None


def parse_size(value: Any) -> int:
    """Convert a value to a file size in bytes.

    Raises:
        ValueError: if it is out of range or not a number; also what else ``int`` raises.
    """
    size_bytes = int(value)
    if not 0 <= size_bytes < 1 << 63:
        raise ValueError
    return size_bytes
