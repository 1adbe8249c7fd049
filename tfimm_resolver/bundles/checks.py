"""The sha256 or the signature that the caller of an import requires of the bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.bundles.stream import BundleStream
from tfimm_resolver.errors import HandleError, SignatureError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust.bundle import BYTES_MAX
from tfimm_resolver.trust.signer import FORM, Signer, parse_signer
from tfimm_resolver.trust.statement import SINGLE_FILE


@dataclass(frozen=True, slots=True)
class BundleChecks:
    """The required hash and signature, compared at the end of a bundle, before anything is published.

    Attributes:
        sha256: the hash that the bundle must have; None if the caller has not given one.
        signature: the path of its signature; empty if there is none.
        signer: who has to have signed it.
    """

    sha256: str | None
    signature: str = ""
    signer: Signer | None = None

    @classmethod
    def parse(
        cls, sha256: str | None, signature: str | os.PathLike[str] | None, signer: Mapping[str, Any] | None
    ) -> BundleChecks:
        """Parse the arguments of an import; raises HandleError if they are not valid."""
        if signature is None and signer is None:
            return cls(sha256)
        if signature is None or signer is None:
            missing = "a signature needs a signer" if signer is None else "a signer needs a signature"
            raise HandleError(missing, fix=FORM if signer is None else "Give the path of the signature.")
        return cls(sha256, settings.check_path(signature), parse_signer(dict(signer), os.getcwd()))

    @property
    def is_pinned(self) -> bool:
        """Whether the caller knows the bundle; a hash in the name of the file may come from the exporter."""
        return self.sha256 is not None or self.signer is not None

    def check_signature(self, stream: BundleStream, name: str) -> None:
        """Verify the signature of a bundle that was read to its end; raises SignatureError if it is not valid."""
        if self.signer is None:
            return
        from tfimm_resolver.trust.verification import verify

        with map_os_errors(SignatureError, f"the signature {show(self.signature)} cannot be read", "Nothing was imported."):
            data = fs.read_regular(self.signature, BYTES_MAX, follow=True)
        try:
            verify(data, self.signer, [FileEntry(SINGLE_FILE, stream.size_bytes, stream.sha256)], name)
        except SignatureError as error:
            text = f"the bundle {show(name)} is not signed by {self.signer.describe()}: {error.text}"
            raise SignatureError(text, fix="Nothing was imported.") from error
