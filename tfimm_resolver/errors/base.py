"""Base class of all errors, and the errors of handles and of fetching."""

from __future__ import annotations

import re
import sys
from typing import Any, TypeVar

from tfimm_resolver._util.outgoing import clean_exceptions, clean_text
from tfimm_resolver.errors.advice import Advice, Fix, make_advice


class ResolverError(Exception):
    """Base class of every error that this package raises on purpose; its texts hold no secrets and no control characters.

    Attributes:
        text: what was asked for, what happened and where the package looked.
        fix: what to do next, for a caller in Python; empty if no remedy is known.
        advice: what to do next, for a caller in Python and for a user of the command line.
        exit_code: the exit code of the command line.

    Example:
        >>> try:
        ...     tfimm_resolver.resolve("no_such_model")
        ... except tfimm_resolver.errors.ResolverError as error:
        ...     print(error.code, error.exit_code)
        unknown-handle 2
    """

    exit_code = 1
    _usual_fix: Fix = ""
    """What to do next, if the place that raises the error knows nothing better."""
    _is_own = True
    """Tells it from foreign exceptions, of which no text is trusted; for ``_util.outgoing``."""

    def __init__(self, text: str, *, fix: Fix | None = None) -> None:
        clean_exceptions(sys.exc_info()[1])
        self.text, self.advice = clean_text(text), make_advice(self._usual_fix if fix is None else fix).convert(clean_text)
        self.fix = self.advice.python
        super().__init__(self._join_texts())

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        """Restore a copy or a pickle, which was created with the complete message as its text."""
        super().__setstate__(state)
        self.args = (self._join_texts(),)

    def _join_texts(self) -> str:
        """Return the message that a traceback ends with: the fix comes last."""
        return f"{self.text}\n  {self.fix}" if self.fix else self.text

    @property
    def has_usual_fix(self) -> bool:
        """Whether the advice is that of every error of this class."""
        return self.advice == make_advice(self._usual_fix)

    @property
    def code(self) -> str:
        """The kind of error as ``--json`` names it: ``not-found`` for a NotFoundError."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", type(self).__name__.removesuffix("Error")).lower()


class HandleError(ResolverError, ValueError):
    """The handle is not well-formed, or neither a str nor a path.

    Example:
        >>> tfimm_resolver.resolve("ftp://host/model")
        Traceback (most recent call last):
        tfimm_resolver.errors.UnknownHandleError: ...
        >>> tfimm_resolver.resolve("https://models.example/m.tar.gz", sha256="abc")
        Traceback (most recent call last):
        tfimm_resolver.errors.HandleError: ...
    """

    exit_code = 2


class UnknownHandleError(HandleError, FileNotFoundError):
    """The handle is not an override, a model name, an existing path or a URL of a known source.

    Example:
        >>> try:
        ...     tfimm_resolver.resolve("no_such_model")
        ... except FileNotFoundError as error:
        ...     print(type(error).__name__)
        UnknownHandleError
    """


class MissingOverrideError(UnknownHandleError):
    """The path given to ``set_model_cache`` does not exist.

    Example:
        >>> with tfimm_resolver.using(models={"lion": "missing"}):
        ...     tfimm_resolver.resolve("lion")
        Traceback (most recent call last):
        tfimm_resolver.errors.MissingOverrideError: ...
    """

    @property
    def code(self) -> str:
        """The code of an UnknownHandleError, of which this is a special case."""
        return "unknown-handle"


class ModelsFileError(HandleError):
    """A models file cannot be read or written, or its content is not valid.

    Example:
        >>> with open("tfimm-models.toml", "w") as file:
        ...     _ = file.write('[models.lion]')
        >>> tfimm_resolver.resolve("lion")
        Traceback (most recent call last):
        tfimm_resolver.errors.ModelsFileError: ...
    """


_FetchError = TypeVar("_FetchError", bound="FetchError")


class FetchError(ResolverError, OSError):
    """The model could not be fetched.

    Attributes:
        is_passing: whether the error is transient, so that a retry may succeed.
        status: the status of the HTTP response; None without a response.
        retry_after_s: the delay in seconds that the Retry-After header asked for; None without one.
        is_page: whether an HTML page, such as one that asks for a login, was received instead of an archive.

    Example:
        >>> try:
        ...     tfimm_resolver.resolve("https://models.example/missing/1.tar.gz")
        ... except tfimm_resolver.errors.FetchError as error:
        ...     print(error.status, error.is_passing)
        404 False
    """

    exit_code = 3

    def __init__(
        self,
        text: str,
        *,
        fix: Fix | None = None,
        is_passing: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
        is_page: bool = False,
    ) -> None:
        super().__init__(text, fix=fix)
        self.is_passing, self.status, self.retry_after_s, self.is_page = is_passing, status, retry_after_s, is_page

    def with_message(self: _FetchError, text: str, fix: str | Advice | None = None) -> _FetchError:
        """Return the same error with another text and, unless it is None, another fix."""
        fix = self.advice if fix is None else fix
        properties = {name: getattr(self, name) for name in ("is_passing", "status", "retry_after_s", "is_page")}
        return type(self)(text, fix=fix, **properties)


class NotFoundError(FetchError, FileNotFoundError):
    """The server, bucket or directory was reached and does not have the model.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/missing/1.tar.gz")
        Traceback (most recent call last):
        tfimm_resolver.errors.NotFoundError: ...
        >>> issubclass(tfimm_resolver.errors.NotFoundError, FileNotFoundError)
        True
    """


class UnknownRefError(NotFoundError, ValueError):
    """The repository has no such branch or tag, and no branch or tag points to such a commit.

    Example:
        >>> issubclass(tfimm_resolver.errors.UnknownRefError, tfimm_resolver.errors.NotFoundError)
        True
    """


class AccessError(FetchError, PermissionError):
    """The server or bucket was reached and requires credentials or consent to a licence.

    Example:
        >>> issubclass(tfimm_resolver.errors.AccessError, PermissionError)
        True
    """


class OfflineError(FetchError):
    """The network is needed and is switched off or unreachable.

    Example:
        >>> import os
        >>> os.environ["TFIMM_RESOLVER_OFFLINE"] = "1"
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        Traceback (most recent call last):
        tfimm_resolver.errors.OfflineError: ...
        >>> del os.environ["TFIMM_RESOLVER_OFFLINE"]
    """


class TransferTimeoutError(FetchError, TimeoutError):
    """The server took too long to respond or to send more data.

    Example:
        >>> issubclass(tfimm_resolver.errors.TransferTimeoutError, TimeoutError)
        True
    """


class ResolveTimeoutError(FetchError, TimeoutError):
    """The model did not arrive within the ``timeout_s`` of the call.

    Example:
        >>> try:
        ...     tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz", timeout_s=0)
        ... except TimeoutError as error:
        ...     print(type(error).__name__)
        ResolveTimeoutError
    """


class IntegrityError(FetchError):
    """Downloaded or cached bytes do not match the expected hash or size.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz", sha256="0" * 64)
        Traceback (most recent call last):
        tfimm_resolver.errors.IntegrityError: ...
    """

    _usual_fix = "Download it again; if the error persists, it was changed or is damaged where it comes from."


class HashError(IntegrityError, RuntimeError):
    """A file does not have the sha256 that its name or the caller gives.

    Example:
        >>> url = "https://models.example/half_plus_two/1.tar.gz"
        >>> tfimm_resolver.hub.download_url_to_file(url, "1.tar.gz", hash_prefix="00000000")
        Traceback (most recent call last):
        tfimm_resolver.errors.HashError: ...
    """


class ArchiveError(FetchError):
    """The archive is damaged or contains a member that must not be unpacked.

    Example:
        >>> with open("model.tar.gz", "wb") as file:
        ...     _ = file.write(b"not an archive")
        >>> tfimm_resolver.resolve("model.tar.gz")
        Traceback (most recent call last):
        tfimm_resolver.errors.ArchiveError: ...
    """

    _usual_fix = "Download or copy it again; if the error persists, ask its publisher for an archive that is not damaged."


class UnsupportedMemberError(ArchiveError):
    """The archive has a member that cannot be unpacked here: a device, a link to nothing, or a name that is not allowed.

    Example:
        >>> issubclass(tfimm_resolver.errors.UnsupportedMemberError, tfimm_resolver.errors.ArchiveError)
        True
    """

    _usual_fix = "Ask its publisher for an archive without that member, or unpack it by hand and give the directory's path."


class SourceError(FetchError):
    """A source from another package cannot be loaded or does not follow the protocol of a source.

    Example:
        >>> issubclass(tfimm_resolver.errors.SourceError, tfimm_resolver.errors.FetchError)
        True
    """


class CancelledError(ResolverError):
    """The event ``cancel`` of the call was set, or asyncio cancelled what waited for it.

    Example:
        >>> import threading
        >>> stop = threading.Event()
        >>> stop.set()
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz", cancel=stop)
        Traceback (most recent call last):
        tfimm_resolver.errors.CancelledError: ...
    """

    exit_code = 130
