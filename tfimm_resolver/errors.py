"""What can go wrong, as one tree:

* ResolverError
  x HandleError                (also a ValueError)
    + UnknownHandleError       (also a FileNotFoundError)
    + ModelsFileError
  x FetchError                 (also an OSError)
    + NotFoundError            (also a FileNotFoundError)
      - UnknownRefError        (also a ValueError)
    + AccessError              (also a PermissionError)
    + OfflineError
    + TransferTimeoutError     (also a TimeoutError)
    + IntegrityError
      - HashError              (also a RuntimeError)
    + ArchiveError
    + SourceError
  x CacheError                 (also an OSError)
    + LockTimeoutError         (also a TimeoutError)
  x LoadError
    + NotASavedModelError      (also a ValueError)
    + MissingOpError           (also a NotImplementedError)
    + UnseenFilesError         (also a FileNotFoundError)
    + TensorTooLargeError      (also a ValueError)
    + TensorFlowMissingError   (also an ImportError)
    + EntryPointError          (also a RuntimeError)
    + MissingDependencyError   (also a RuntimeError)
    + UntrustedError           (also a PermissionError)
    + WeightsError             (also a ValueError)
"""

from __future__ import annotations

import re
from typing import TypeVar

__all__ = [
    "AccessError",
    "ArchiveError",
    "CacheError",
    "EntryPointError",
    "FetchError",
    "HandleError",
    "HashError",
    "IntegrityError",
    "LoadError",
    "LockTimeoutError",
    "MissingDependencyError",
    "MissingOpError",
    "ModelsFileError",
    "NotASavedModelError",
    "NotFoundError",
    "OfflineError",
    "ResolverError",
    "SourceError",
    "TensorFlowMissingError",
    "TensorTooLargeError",
    "TransferTimeoutError",
    "UnknownHandleError",
    "UnknownRefError",
    "UnseenFilesError",
    "UntrustedError",
    "WeightsError",
]


def __dir__() -> list[str]:
    return __all__


class ResolverError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        text: what was asked, what happened, where it looked.
        fix: what to do next; empty where nothing is known to help.
        exit_code: what the command line exits with.
    """

    exit_code = 1

    def __init__(self, text: str, *, fix: str = "") -> None:
        super().__init__(f"{text}\n  {fix}" if fix else text)
        self.text = text
        self.fix = fix

    @property
    def code(self) -> str:
        """The kind of error in the words of ``--json``: ``not-found`` for a NotFoundError."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", type(self).__name__.removesuffix("Error")).lower()


class HandleError(ResolverError, ValueError):
    """The handle cannot be read."""

    exit_code = 2


class UnknownHandleError(HandleError, FileNotFoundError):
    """No override, name, path or source answers to this handle."""


class ModelsFileError(HandleError):
    """A models file cannot be read or written, or says what it may not."""


_Told = TypeVar("_Told", bound="FetchError")


class FetchError(ResolverError, OSError):
    """The model could not be brought here.

    Attributes:
        is_passing: whether the same may well succeed a little later.
        status: of the HTTP answer that refused it; None if there was no answer.
        retry_after_s: for how long that answer asked to be left alone; None if it did not say.
    """

    exit_code = 3

    def __init__(
        self,
        text: str,
        *,
        fix: str = "",
        is_passing: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text, fix=fix)
        self.is_passing, self.status, self.retry_after_s = is_passing, status, retry_after_s

    def retold(self: _Told, text: str, fix: str | None = None) -> _Told:
        """The same error with another text, or fix."""
        fix = self.fix if fix is None else fix
        return type(self)(text, fix=fix, is_passing=self.is_passing, status=self.status, retry_after_s=self.retry_after_s)


class NotFoundError(FetchError, FileNotFoundError):
    """The place answered, and has no such model."""


class UnknownRefError(NotFoundError, ValueError):
    """The repository has no such branch, tag, or commit at the tip of one."""


class AccessError(FetchError, PermissionError):
    """The place answered, and wants credentials or consent."""


class OfflineError(FetchError):
    """The network is needed, and is off or out of reach."""


class TransferTimeoutError(FetchError, TimeoutError):
    """The place took too long to answer or to go on."""


class IntegrityError(FetchError):
    """What arrived, or lies in the cache, is not what was promised."""


class HashError(IntegrityError, RuntimeError):
    """A file has another sha256 than its name, or the caller, says."""


class ArchiveError(FetchError):
    """The archive is damaged, or holds a member that may not be unpacked."""


class SourceError(FetchError):
    """A source from another package cannot be loaded, or does not do what a source does."""


class CacheError(ResolverError, OSError):
    """The cache root cannot be read or written."""

    exit_code = 4


class LockTimeoutError(CacheError, TimeoutError):
    """Another process held the entry for longer than we may wait."""


class LoadError(ResolverError):
    """The path was resolved, but TensorFlow cannot load it."""

    exit_code = 5


class NotASavedModelError(LoadError, ValueError):
    """The directory holds no saved_model.pb, .pbtxt or .cpb."""


class MissingOpError(LoadError, NotImplementedError):
    """The model needs ops that another package brings."""


class UnseenFilesError(LoadError, FileNotFoundError):
    """A remote worker was to read the model's files, and does not see them."""


class TensorTooLargeError(LoadError, ValueError):
    """A tensor is larger than what TensorFlow sends from one process to another."""


class TensorFlowMissingError(LoadError, ImportError):
    """Loading needs TensorFlow, and it is not installed."""


class EntryPointError(LoadError, RuntimeError):
    """A hubconf.py cannot be imported, has no such entry point, or the entry point raised."""


class MissingDependencyError(LoadError, RuntimeError):
    """A hubconf.py needs packages that are not installed."""


class UntrustedError(LoadError, PermissionError):
    """Nobody said that code of this repository may be run here."""


class WeightsError(LoadError, ValueError):
    """A file of weights cannot be read."""
