"""Errors of the cache."""

from __future__ import annotations

from tfimm_resolver.errors.cache import CacheError, LockTimeoutError


def test_a_lock_that_is_not_released_is_an_error_of_the_cache_and_a_timeout() -> None:
    error = LockTimeoutError("it is locked", fix="Wait.")
    assert isinstance(error, CacheError) and isinstance(error, TimeoutError) and isinstance(error, OSError)
    assert (error.missing_bytes, error.exit_code, error.code) == (0, 4, "lock-timeout")
