"""Imports huggingface_hub on first use, and translates its errors into this package's."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import find_safe_cause, register_secret, show
from tfimm_resolver._util.retry import Failure, classify_failure, is_retryable_status
from tfimm_resolver.errors import (
    AccessError,
    CacheError,
    FetchError,
    NotFoundError,
    OfflineError,
    ResolverError,
    TransferTimeoutError,
)
from tfimm_resolver.errors.advice import suggest_local_copy
from tfimm_resolver.errors.os_errors import suggest_disk_fix
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.http import mirrors

ENDPOINT_FIX = "Check HF_ENDPOINT if it is set, and whether a proxy puts pages of its own in between."

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_TRUE = ("1", "ON", "YES", "TRUE")
_REASON_CHARACTERS = 300
_QUERY = re.compile(r"\?[^\s'\"]+")


def import_huggingface_hub(handle: str) -> Any:
    """Import huggingface_hub and return it; ``handle`` is for messages.

    Raises:
        OfflineError: if a variable says to stay offline.
        FetchError: if huggingface_hub is not installed.
    """
    variables = [variable for variable in _OFFLINE if os.environ.get(variable, "").upper() in _TRUE]
    if settings.is_offline() or variables:
        raise OfflineError(
            f"{handle} cannot be fetched: {variables[0] if variables else 'TFIMM_RESOLVER_OFFLINE'} is set",
            fix=suggest_local_copy("Unset it"),
        )
    mirrors.require_direct(handle)
    try:
        import huggingface_hub
    except ImportError as error:
        raise FetchError(f"{handle} needs huggingface_hub: {show(error)}", fix="pip install 'tfimm_resolver[hf]'") from error
    register_secret(huggingface_hub.get_token() or "")
    return huggingface_hub


@contextlib.contextmanager
def map_hf_errors(model: HuggingFaceModel) -> Iterator[None]:
    """Translate the errors of huggingface_hub and of its HTTP library into ours; nothing else does."""
    try:
        yield
    except ResolverError:
        raise
    except Exception as error:
        found = error
        while isinstance(found.__cause__, Exception) and _get_class_names(found) & {"LocalEntryNotFoundError"}:
            found = found.__cause__  # the network error behind it
        # A signed URL, in the error's own text or in that of a cause, is a secret.
        safe = None if _QUERY.search(_collect_texts(error)) else find_safe_cause(error)
        raise _translate_error(found, model) from safe


def _translate_error(error: Exception, model: HuggingFaceModel) -> ResolverError:
    kinds, response = _get_class_names(error), getattr(error, "response", None)
    status: int | None = getattr(response, "status_code", None)
    if "OfflineModeIsEnabled" in kinds:
        return OfflineError(f"{model.key} cannot be fetched: huggingface_hub is offline", fix="Unset HF_HUB_OFFLINE.")
    if status is not None:
        return _translate_status(error, kinds, status, model)
    reason = _QUERY.sub("?…", " ".join(str(error).split()))[:_REASON_CHARACTERS] or type(error).__name__
    failure = classify_failure(error)
    if failure is Failure.TIMEOUT:
        return TransferTimeoutError(
            f"{model.key}: Hugging Face did not answer in time",
            fix="Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S higher.",
            is_passing=True,
        )
    if failure is Failure.UNREACHABLE:
        fix = "Check the network, the proxy, and HF_ENDPOINT if it is set."
        return OfflineError(f"{model.key}: Hugging Face cannot be reached: {show(reason)}", fix=fix, is_passing=True)
    if failure is None and isinstance(error, OSError) and error.errno is not None:
        text = f"{model.key} cannot be written: {show(error.strerror)}: {show(error.filename or 'its files')}"
        return CacheError(text, fix=suggest_disk_fix(error))
    if failure is Failure.BROKEN or isinstance(error, OSError):
        return FetchError(f"{model.key}: the connection broke off: {show(reason)}", fix="Try again.", is_passing=True)
    return FetchError(
        f"{model.key}: the response is not Hugging Face's: {type(error).__name__}: {show(reason)}",
        fix=ENDPOINT_FIX,
    )


def _translate_status(error: Exception, kinds: set[str], status: int, model: HuggingFaceModel) -> FetchError:
    """Return the error for a response with an error status."""
    page = f"{(os.environ.get('HF_ENDPOINT') or 'https://huggingface.co').rstrip('/')}/{model.repository}"
    message = " ".join(str(getattr(error, "server_message", None) or "").split())[:_REASON_CHARACTERS]
    answered = f"{model.key}: answered {status}" + (f": {_QUERY.sub('?…', message)!r}" if message else "")
    used = f"\n  requested {_describe_token()}"
    token = "Create a token at https://huggingface.co/settings/tokens, and set HF_TOKEN, or run: hf auth login."
    if "GatedRepoError" in kinds:
        fix = f"Open {page}, log in, and ask for access. {token}"
        return AccessError(f"{answered}\n  the repository is gated{used}", fix=fix, status=status)
    if "RevisionNotFoundError" in kinds:
        text = f"{answered}\n  the repository has no revision {model.revision or 'main'!r}"
        return NotFoundError(text, fix=f"{page}/branches lists its revisions.", status=status)
    if kinds & {"EntryNotFoundError", "RemoteEntryNotFoundError"}:
        text = f"{answered}\n  the repository has no folder {model.folder!r}"
        return NotFoundError(text, fix=f"{page}/tree/{model.revision} lists its folders.", status=status)
    if "RepositoryNotFoundError" in kinds:
        fix = f"Check the spelling. If it is private: {token}"
        return NotFoundError(f"{answered}\n  there is no such repository, or it is private{used}", fix=fix, status=status)
    if status in (401, 403):
        return AccessError(f"{answered}{used}", fix=f"Open {page}. {token}", status=status)
    if status in (404, 410):
        return NotFoundError(answered, fix="Check the spelling.", status=status)
    is_passing = is_retryable_status(status)
    return FetchError(answered, fix="Server error: try again later.", is_passing=is_passing, status=status)


def _describe_token() -> str:
    """Say, for messages, which token huggingface_hub sends, without revealing it."""
    import huggingface_hub

    if variable := next((variable for variable in _TOKENS if os.environ.get(variable)), None):
        return f"with the token of {variable}"
    return "with the token that hf auth login saved" if huggingface_hub.get_token() else "without a token"


def _get_class_names(error: BaseException) -> set[str]:
    """Return the names of an error's classes; their modules depend on the HTTP library that huggingface_hub uses."""
    return {kind.__name__ for kind in type(error).__mro__}


def _collect_texts(error: BaseException | None) -> str:
    """Return what a traceback would show of an error and its causes."""
    texts = list[str]()
    while error is not None and len(texts) < 20:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
