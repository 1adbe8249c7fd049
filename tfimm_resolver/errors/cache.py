"""The errors of the cache directory and its locks."""

from __future__ import annotations

from tfimm_resolver.errors.base import ResolverError


class CacheError(ResolverError, OSError):
    """The cache directory or bucket cannot be read or written.

    Attributes:
        missing_bytes: how much more room the model needs on a full disk, as far as that is known; else 0.

    Example:
        >>> with open("a_file", "w"), tfimm_resolver.using(dir="a_file"):
        ...     tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        Traceback (most recent call last):
        tfimm_resolver.errors.CacheError: ...
    """

    exit_code = 4
    missing_bytes: int = 0


class LockTimeoutError(CacheError, TimeoutError):
    """Another process held the lock of the model for longer than TFIMM_RESOLVER_LOCK_TIMEOUT_S.

    Example:
        >>> issubclass(tfimm_resolver.errors.LockTimeoutError, TimeoutError)
        True
    """
