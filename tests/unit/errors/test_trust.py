"""The error of a missing signature is what callers catch: wrong bytes, and a lack of permission."""

from __future__ import annotations

from tfimm_resolver.errors import IntegrityError, SignatureError


def test_it_has_an_exit_code_of_its_own() -> None:
    error = SignatureError("it is not signed", fix="Sign it.")
    assert isinstance(error, IntegrityError) and isinstance(error, PermissionError)
    assert (error.exit_code, error.code, error.is_passing) == (10, "signature", False)
