"""The pin of a model: what its archive has to be, and the one comparison with what it is."""

from __future__ import annotations

from dataclasses import dataclass

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import IntegrityError
from tfimm_resolver.errors.advice import Advice, join_advice, suggest_refresh
from tfimm_resolver.manifest import Origin

CONTENT_KEY = "sha256:"
"""The beginning of the key of an archive on this machine's disk; the hash of its content follows."""


_ACCEPTED = "If you trust what the server sent, correct the pin; "
_ACCEPT_FIX = Advice(
    python=_ACCEPTED + "project.lock([name], update=True) does so in a models file. The download was discarded.",
    command=_ACCEPTED + "`tfimm-resolver lock --update NAME` does so in a models file. The download was discarded.",
)


@dataclass(frozen=True, slots=True)
class Pin:
    """What is known in advance of an archive.

    Attributes:
        sha256: the hash that it must have, 64 hexadecimal digits; None if any is accepted.
        size_bytes: the size that it must have; None if any is accepted.
    """

    sha256: str | None = None
    size_bytes: int | None = None

    def is_known_to_match(self, origin: Origin) -> bool:
        """Whether the archive is known to have the pinned hash; True for every archive if no hash is pinned."""
        return self.sha256 in (None, origin.sha256)

    def cover_key(self, key: str) -> Pin:
        """Return the pin with the hash that a key contains, if any: what is cached under it has to be known to match, too."""
        if not key.startswith(CONTENT_KEY) or self.sha256 is not None:
            return self
        return Pin(key.removeprefix(CONTENT_KEY), self.size_bytes)

    def check_cached(self, origin: Origin, handle: str) -> None:
        """Compare the archive of a cached model; what is not recorded is not compared.

        Raises:
            IntegrityError: if the hash or the size is known to differ.
        """
        if origin.sha256 and not self.is_known_to_match(origin):
            hashes = f"  cached {origin.sha256}\n  pinned {self.sha256}"
            raise _make_error(f"{show(handle)} is cached with a different sha256:\n{hashes}", handle, self.sha256)
        if None not in (self.size_bytes, origin.size_bytes) and origin.size_bytes != self.size_bytes:
            sizes = f"  cached {origin.size_bytes} bytes\n  pinned {self.size_bytes} bytes"
            raise _make_error(f"the archive of {show(handle)} has a different size:\n{sizes}", handle, self.sha256)

    def check_fetched(self, origin: Origin, handle: str) -> None:
        """Check that what was fetched for a pinned handle was an archive with that hash, before it is published.

        Raises:
            IntegrityError: if its hash is not known, as when a source of another package writes the files itself; or differs.
        """
        if self.sha256 is not None and not origin.sha256:
            raise IntegrityError(
                f"{show(handle)} is pinned, but its source has no archive whose sha256 could be compared",
                fix="Remove the pin if you trust the source. Only an archive can be pinned.",
            )
        self.check_cached(origin, handle)

    def check_received(self, origin: Origin, handle: str) -> None:
        """Compare the hash of an archive that was downloaded just now; raises IntegrityError if it differs."""
        if not self.is_known_to_match(origin):
            raise IntegrityError(
                f"{show(handle)} has a different sha256:\n  received {origin.sha256}\n  pinned   {self.sha256}",
                fix=_ACCEPT_FIX,
            )


def _make_error(text: str, handle: str, sha256: str | None) -> IntegrityError:
    return IntegrityError(text, fix=join_advice([suggest_refresh(handle, sha256), "Or correct the pin."]))


NO_PIN = Pin()
