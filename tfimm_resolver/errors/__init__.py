"""The exceptions that the package raises, as one tree:

* ResolverError
  x HandleError                (also a ValueError)
    + UnknownHandleError       (also a FileNotFoundError)
      - MissingOverrideError
    + ModelsFileError
  x FetchError                 (also an OSError)
    + NotFoundError            (also a FileNotFoundError)
      - UnknownRefError        (also a ValueError)
    + AccessError              (also a PermissionError)
    + OfflineError
    + TransferTimeoutError     (also a TimeoutError)
    + ResolveTimeoutError      (also a TimeoutError)
    + IntegrityError
      - HashError              (also a RuntimeError)
      - SignatureError         (also a PermissionError)
    + ArchiveError
      - UnsupportedMemberError
    + SourceError
  x CacheError                 (also an OSError)
    + LockTimeoutError         (also a TimeoutError)
  x PolicyError                (also a PermissionError)
  x CancelledError
  x LoadError
    + NotASavedModelError      (also a ValueError)
    + DamagedModelError        (also a ValueError)
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

from tfimm_resolver.errors.base import (
    AccessError,
    ArchiveError,
    CancelledError,
    FetchError,
    HandleError,
    HashError,
    IntegrityError,
    MissingOverrideError,
    ModelsFileError,
    NotFoundError,
    OfflineError,
    ResolverError,
    ResolveTimeoutError,
    SourceError,
    TransferTimeoutError,
    UnknownHandleError,
    UnknownRefError,
    UnsupportedMemberError,
)
from tfimm_resolver.errors.cache import CacheError, LockTimeoutError
from tfimm_resolver.errors.loading import (
    DamagedModelError,
    EntryPointError,
    LoadError,
    MissingDependencyError,
    MissingOpError,
    NotASavedModelError,
    PolicyError,
    TensorFlowMissingError,
    TensorTooLargeError,
    UnseenFilesError,
    UntrustedError,
    WeightsError,
)
from tfimm_resolver.errors.trust import SignatureError

__all__ = [
    "AccessError",
    "ArchiveError",
    "CacheError",
    "CancelledError",
    "DamagedModelError",
    "EntryPointError",
    "FetchError",
    "HandleError",
    "HashError",
    "IntegrityError",
    "LoadError",
    "LockTimeoutError",
    "MissingDependencyError",
    "MissingOpError",
    "MissingOverrideError",
    "ModelsFileError",
    "NotASavedModelError",
    "NotFoundError",
    "OfflineError",
    "PolicyError",
    "ResolveTimeoutError",
    "ResolverError",
    "SignatureError",
    "SourceError",
    "TensorFlowMissingError",
    "TensorTooLargeError",
    "TransferTimeoutError",
    "UnknownHandleError",
    "UnknownRefError",
    "UnseenFilesError",
    "UnsupportedMemberError",
    "UntrustedError",
    "WeightsError",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # the public path, in tracebacks and pickles


def __dir__() -> list[str]:
    return __all__
