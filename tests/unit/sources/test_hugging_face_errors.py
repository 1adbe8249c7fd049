"""Tests of ``sources.hugging_face_errors``: errors of huggingface_hub become errors of this package."""

from __future__ import annotations

import errno
import traceback
from types import SimpleNamespace

import pytest

from tfimm_resolver import errors
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.sources.hugging_face_errors import import_huggingface_hub, map_hf_errors

MODEL = HuggingFaceModel("ada", "models", "main", "weights")


class RepositoryNotFoundError(Exception):
    """Has the name that huggingface_hub uses."""


class GatedRepoError(RepositoryNotFoundError):
    """Has the name that huggingface_hub uses."""


class RevisionNotFoundError(Exception):
    """Has the name that huggingface_hub uses."""


class EntryNotFoundError(Exception):
    """Has the name that huggingface_hub uses."""


class LocalEntryNotFoundError(Exception):
    """Has the name that huggingface_hub uses."""


class OfflineModeIsEnabled(Exception):  # noqa: N818
    """Has the name that huggingface_hub uses."""


def with_status(error: Exception, status: int, message: str = "") -> Exception:
    """Add the response of the server to an error, as huggingface_hub does."""
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    error.server_message = message  # type: ignore[attr-defined]
    return error


def translate(error: Exception) -> errors.ResolverError:
    """Return the error into which another one is translated."""
    with pytest.raises(errors.ResolverError) as caught, map_hf_errors(MODEL):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (with_status(GatedRepoError(), 403), errors.AccessError, "the repository is gated"),
        (with_status(RepositoryNotFoundError(), 401), errors.NotFoundError, "no such repository, or it is private"),
        (with_status(RevisionNotFoundError(), 404), errors.NotFoundError, "no revision 'main'"),
        (with_status(EntryNotFoundError(), 404), errors.NotFoundError, "no folder 'weights'"),
        (with_status(Exception(), 403), errors.AccessError, "answered 403"),
        (with_status(Exception(), 410), errors.NotFoundError, "answered 410"),
        (OfflineModeIsEnabled(), errors.OfflineError, "huggingface_hub is offline"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), errors.CacheError, "cannot be written: No space left"),
        (ValueError("not JSON"), errors.FetchError, "not Hugging Face's: ValueError: not JSON"),
    ],
)
def test_each_failure_has_its_own_kind_of_error(error: Exception, expected: type[Exception], text: str) -> None:
    found = translate(error)
    assert type(found) is expected and text in found.text and MODEL.key in found.text


@pytest.mark.parametrize(("status", "expected"), [(500, True), (503, True), (429, True), (400, False)])
def test_only_transient_errors_of_the_server_are_worth_another_try(status: int, expected: bool) -> None:
    found = translate(with_status(Exception(), status, "busy"))
    assert isinstance(found, errors.FetchError) and found.is_passing is expected and "'busy'" in found.text


def test_the_network_error_behind_a_missing_local_file_is_the_reason() -> None:
    outer = LocalEntryNotFoundError("not in the local cache")
    outer.__cause__ = with_status(Exception(), 500)
    assert "answered 500" in translate(outer).text


def test_a_signed_url_is_shown_neither_in_the_error_nor_in_its_causes() -> None:
    url = "https://storage/f?Signature=hidden"
    inner = ValueError(f"broken: {url}")
    outer = ValueError(f"cannot read {url}")
    outer.__cause__ = inner
    for error in (outer, with_status(Exception(url), 400, f"bad {url}")):
        found = translate(error)
        assert "hidden" not in "".join(traceback.format_exception(found))


def test_errors_of_this_package_pass_unchanged() -> None:
    known = errors.IntegrityError("differs")
    assert translate(known) is known


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TFIMM_RESOLVER_OFFLINE"])
def test_offline_the_library_is_not_imported(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(errors.OfflineError, match=f"hf://ada/models cannot be fetched: {variable} is set"):
        import_huggingface_hub("hf://ada/models")
