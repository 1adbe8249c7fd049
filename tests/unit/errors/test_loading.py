"""Errors of loading: their kinds, and that each is public."""

from __future__ import annotations

import pytest

from tfimm_resolver import errors
from tfimm_resolver.errors import loading

KINDS = {
    loading.NotASavedModelError: ("not-a-saved-model", ValueError),
    loading.DamagedModelError: ("damaged-model", ValueError),
    loading.MissingOpError: ("missing-op", NotImplementedError),
    loading.UnseenFilesError: ("unseen-files", FileNotFoundError),
    loading.TensorTooLargeError: ("tensor-too-large", ValueError),
    loading.TensorFlowMissingError: ("tensor-flow-missing", ImportError),
    loading.EntryPointError: ("entry-point", RuntimeError),
    loading.MissingDependencyError: ("missing-dependency", RuntimeError),
    loading.UntrustedError: ("untrusted", PermissionError),
    loading.WeightsError: ("weights", ValueError),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_loading_is_also_a_builtin_exception(kind: type[errors.ResolverError]) -> None:
    error, (code, builtin) = kind("it failed", fix="Try again."), KINDS[kind]
    assert isinstance(error, (loading.LoadError, builtin)) and issubclass(kind, builtin)
    assert (error.code, error.exit_code, str(error)) == (code, 5, "it failed\n  Try again.")


def test_each_error_of_loading_is_listed_here_and_public() -> None:
    defined = {one for one in vars(loading).values() if isinstance(one, type) and issubclass(one, loading.LoadError)}
    assert defined == {*KINDS, loading.LoadError}
    assert all(getattr(errors, kind.__name__) is kind for kind in defined)


def test_an_error_of_loading_is_not_an_error_of_fetching() -> None:
    assert not issubclass(loading.LoadError, errors.FetchError)
