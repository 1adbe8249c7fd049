"""Opens buckets: imports the client library, finds the address and the credentials, sets the timeouts.

Credentials are looked up as each store's own clients look them up; without any, requests are anonymous. On a machine without a
metadata server, looking for one takes at most a second.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import AccessError, FetchError, OfflineError
from tfimm_resolver.errors.advice import Advice, suggest_local_copy
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.object_store import billing, google_credentials
from tfimm_resolver.object_store.network import choose_ca_sources, make_client_options, make_google_request

CREDENTIALS_FIX = {
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login.",
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run: aws configure.",
    "memory": "",
}

_INSTALL = "pip install 'tfimm_resolver[gs]'"
_ANONYMOUS = "without credentials"
_THIS_MACHINE = "this machine"
_KEY_FILE = "$GOOGLE_APPLICATION_CREDENTIALS"
_METADATA_TIMEOUT_S = 1.0
_REFRESH_INTERVAL = timedelta(minutes=5)
_SEND_TIMEOUT = timedelta(minutes=10)
# The variables that determine how a store is reached; the clients' files do, too.
_VARIABLES = ("AWS_", "CLOUDSDK_", "GCE_", "GOOGLE_", "HOME", "HTTP", "NO_GCE_CHECK", "NO_PROXY", "STORAGE_EMULATOR_HOST")
_CERTIFICATES = ("ALL_PROXY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_")

_process: int | None = None


def import_obstore(url: str) -> Any:
    """Import obstore on first use and return it; ``url`` is for messages.

    Raises:
        OfflineError: if ``TFIMM_RESOLVER_OFFLINE`` is set.
        FetchError: if obstore is not installed, or this process was forked from one that uses it.
    """
    if settings.is_offline() and not url.startswith("memory://"):
        raise OfflineError(
            f"{url} cannot be reached: TFIMM_RESOLVER_OFFLINE is set",
            fix=suggest_local_copy("Unset it, set TFHUB_CACHE_DIR to a local directory"),
        )
    _check_not_forked(url)
    try:
        import obstore
        import obstore.exceptions
    except ImportError as error:
        extra = "s3" if url.startswith("s3://") else "gs"
        raise FetchError(f"{url} needs obstore: {show(error)}", fix=f"pip install 'tfimm_resolver[{extra}]'") from error
    return obstore


def _check_not_forked(url: str) -> None:
    """Raise in a forked child: obstore's threads do not survive a fork, so that every call would wait for them for ever."""
    global _process  # noqa: PLW0603  # which process obstore works in is a fact of the process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise FetchError(
            f"{url} cannot be reached: this process was forked from one that had used a bucket",
            fix=Advice(
                python='Start new processes instead: multiprocessing.set_start_method("spawn").',
                command="Let the program start new processes instead of forked ones.",
            ),
        )


def open_store(scheme: str, bucket: str, *, is_writing: bool = False) -> Any:
    """Return obstore's client for a bucket; changes of the environment and of logins take effect at the next call."""
    prefixes = _VARIABLES + _CERTIFICATES
    variables = tuple(sorted((key, value) for key, value in os.environ.items() if key.upper().startswith(prefixes)))
    limits = (*settings.timeouts_s(), settings.retries())
    billed = tuple(billing.make_headers(scheme, bucket).items())
    return _open_store(scheme, bucket, is_writing, limits, billed, (variables, *_login_times()), os.getpid())


def _login_times() -> Iterator[float]:
    """Yield when each file of credentials was last changed, so that a login is noticed by a process that began before it."""
    for path in ("~/.config/gcloud/application_default_credentials.json", "~/.aws/credentials", "~/.aws/config"):
        try:
            yield os.stat(os.path.expanduser(path)).st_mtime
        except OSError:
            yield 0.0


@functools.lru_cache(maxsize=32)
def _open_store(
    scheme: str,
    bucket: str,
    is_writing: bool,
    limits: tuple[float, ...],
    billed: tuple[tuple[str, str], ...],
    logins: object,
    process: int,
) -> Any:
    from obstore import store

    if scheme == "memory":
        return _open_memory_store(bucket)
    connect_s, read_s, retries = limits
    client: dict[str, Any] = {"connect_timeout": timedelta(seconds=connect_s), "timeout": _SEND_TIMEOUT}
    if not is_writing:  # while a large part is sent, nothing is read
        client["read_timeout"] = timedelta(seconds=read_s)
    retry = {"max_retries": int(retries), "retry_timeout": timedelta(minutes=3)}
    if scheme == "gs":
        config, provider = _configure_google()
        kind: Any = store.GCSStore
    else:
        with _map_botocore_errors():
            config, provider = _configure_amazon()
        kind = store.S3Store
    endpoint = str(config.get("base_url") or config.get("endpoint") or "https://storage.googleapis.com")
    client |= make_client_options(scheme, endpoint)
    client["allow_http"] = endpoint.startswith("http://")
    if billed:
        client["default_headers"] = dict(billed)
    return kind(bucket, config=config, client_options=client, retry_config=retry, credential_provider=provider)


@functools.cache
def _open_memory_store(bucket: str) -> Any:
    """Return a bucket that lasts as long as this process."""
    from obstore.store import MemoryStore

    return MemoryStore()


def has_credentials(scheme: str) -> bool:
    """Whether requests for a bucket would carry credentials."""
    return describe_credentials(scheme) != _ANONYMOUS


def describe_credentials(scheme: str) -> str:
    """Say, for messages, which credentials requests carry, without revealing any of them."""
    if scheme == "s3":
        with _map_botocore_errors():
            credentials = _create_botocore_session().get_credentials()
        return f"with the credentials of {credentials.method}" if credentials else _ANONYMOUS
    source = _find_google_credentials()
    return f"with the credentials of {source}" if source else _ANONYMOUS


def _configure_google() -> tuple[dict[str, Any], Callable[[], dict[str, Any]] | None]:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")  # the variable that redirects Google's own clients
    if emulator:
        return {
            "base_url": emulator if "://" in emulator else f"http://{emulator}",
            "skip_signature": True,
            "bearer_token": "",
        }, None
    source = _find_google_credentials()
    if not source:
        return {"skip_signature": True, "bearer_token": ""}, None  # without the latter, obstore looks for credentials to write
    unusable = f"the credentials of {source} cannot be used"
    path = os.environ["GOOGLE_APPLICATION_CREDENTIALS"] if source == _KEY_FILE else source
    try:
        import google.auth.exceptions
        from google.auth import compute_engine

        if source == _THIS_MACHINE:
            credentials: Any = compute_engine.Credentials()  # type: ignore[no-untyped-call]
        else:
            with map_os_errors(AccessError, f"{unusable}: {show(path)} cannot be read", CREDENTIALS_FIX["gs"]):
                credentials = google_credentials.load_credentials(path)
    except ImportError as error:
        raise FetchError(f"the credentials of {source} need google-auth: {show(error)}", fix=_INSTALL) from error
    except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
        raise AccessError(f"{unusable}: {show(path)}: {show(error)}", fix=CREDENTIALS_FIX["gs"]) from error

    def provide() -> dict[str, Any]:
        credentials.refresh(make_google_request())
        expiry = credentials.expiry
        return {"token": credentials.token, "expires_at": expiry.replace(tzinfo=timezone.utc) if expiry else None}

    return {}, provide


def _find_google_credentials() -> str:
    """Return where Google's clients would find credentials; empty for nowhere.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    if os.environ.get("STORAGE_EMULATOR_HOST"):  # it needs none
        return ""
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return _KEY_FILE
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    if os.path.isfile(path := os.path.join(folder, "application_default_credentials.json")):
        return path
    return (
        _THIS_MACHINE if _has_google_metadata(os.environ.get("NO_GCE_CHECK", ""), os.environ.get("GCE_METADATA_HOST")) else ""
    )


@functools.cache
def _has_google_metadata(no_check: str, host: str | None) -> bool:
    """Whether Google's metadata server, which gives its machines credentials, answers; tried once, for at most a second."""
    if no_check.lower() == "true":
        return False
    import http.client

    connection = http.client.HTTPConnection(host or "169.254.169.254", timeout=_METADATA_TIMEOUT_S)
    try:
        connection.request("GET", "/", headers={"Metadata-Flavor": "Google"})
        return connection.getresponse().getheader("Metadata-Flavor") == "Google"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _map_botocore_errors() -> Iterator[None]:
    """Raise AccessError for what botocore cannot use in its files and variables."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):  # by name: botocore need not be installed
            raise
        raise AccessError(f"the settings for s3:// cannot be used: {show(error)}", fix=CREDENTIALS_FIX["s3"]) from error


def _configure_amazon() -> tuple[dict[str, Any], Callable[[], dict[str, Any]] | None]:
    session = _create_botocore_session()
    region = session.get_config_variable("region") or "us-east-1"
    # botocore's client knows all ways to set a region or an endpoint; given any keys, it looks for no credentials.
    meta = session.create_client("s3", region_name=region, aws_access_key_id="-", aws_secret_access_key="-").meta
    config = {"region": meta.region_name, "endpoint": meta.endpoint_url, "request_payer": billing.pays_amazon()}
    credentials = session.get_credentials()
    if credentials is None:
        return {**config, "skip_signature": True}, None

    def provide() -> dict[str, Any]:
        now = credentials.get_frozen_credentials()
        expiry = datetime.now(timezone.utc) + _REFRESH_INTERVAL  # botocore renews them in time; it only has to be asked again
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": expiry,
        }

    return config, provide


def _create_botocore_session() -> Any:
    try:
        import botocore.session
    except ImportError as error:
        raise FetchError(f"s3:// needs botocore: {show(error)}", fix="pip install 'tfimm_resolver[s3]'") from error
    session = botocore.session.Session()
    sources = choose_ca_sources("s3")
    if sources.is_explicit and os.path.isfile(sources.paths[0]):  # else botocore uses its own
        session.set_config_variable("ca_bundle", sources.paths[0])
    session.set_config_variable("metadata_service_timeout", _METADATA_TIMEOUT_S)
    session.set_config_variable("metadata_service_num_attempts", 1)
    return session
