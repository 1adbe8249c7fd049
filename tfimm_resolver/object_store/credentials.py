"""How buckets are reached: which library, address, credentials and time limits.

Credentials are looked for as the clients of each store do it; a machine that has none asks anonymously, and no look-up of a
metadata server that is not there takes longer than a second.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver.errors import AccessError, FetchError, OfflineError

CREDENTIALS_FIX = {
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login.",
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run: aws configure.",
    "memory": "",
}

_INSTALL = "pip install 'tfimm_resolver[gs]'"
_ANONYMOUS = "without credentials"
_THIS_MACHINE = "this machine"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_METADATA_S = 1.0
_REFRESHED_EVERY = timedelta(minutes=5)
_SENT_WITHIN = timedelta(minutes=10)
# What decides how a store is reached, beside what the clients' files say.
_VARIABLES = ("AWS_", "CLOUDSDK_", "GCE_", "GOOGLE_", "HOME", "HTTP", "NO_GCE_CHECK", "NO_PROXY", "STORAGE_EMULATOR_HOST")
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

_process: int | None = None


def import_obstore(place: str) -> Any:
    """obstore, imported now and not before.

    Raises:
        OfflineError: if no socket may be opened.
        FetchError: if it is not installed.
    """
    if settings.is_offline() and not place.startswith("memory://"):
        raise OfflineError(
            f"{place} cannot be reached: TFIMM_RESOLVER_OFFLINE is set",
            fix="Unset it, set TFHUB_CACHE_DIR to a local directory, or say where a copy is: set_model_cache(handle, path).",
        )
    _refuse_forked(place)
    try:
        import obstore
        import obstore.exceptions
    except ImportError as error:
        extra = "s3" if place.startswith("s3://") else "gs"
        raise FetchError(f"{place} needs obstore: {error}", fix=f"pip install 'tfimm_resolver[{extra}]'") from error
    return obstore


def _refuse_forked(place: str) -> None:
    """obstore's threads do not come along into a forked child, where every call would wait for them for ever."""
    global _process  # noqa: PLW0603  # which process obstore works in is a fact of the process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise FetchError(
            f"{place} cannot be reached: this process was forked from one that had used a bucket",
            fix='Start it anew: multiprocessing.set_start_method("spawn").',
        )


def store(scheme: str, bucket: str, *, is_writing: bool = False) -> Any:
    """The bucket as obstore has it; what the environment says counts at each call."""
    telling = _VARIABLES + _CERTIFICATES
    said = tuple(sorted((key, value) for key, value in os.environ.items() if key.upper().startswith(telling)))
    limits = (*settings.timeouts_s(), settings.retries())
    return _store(scheme, bucket, is_writing, limits, (said, *_stamps()), os.getpid())


def _stamps() -> Iterator[float]:
    """When somebody last logged in, for a process that began sooner."""
    places = ("~/.config/gcloud/application_default_credentials.json", "~/.aws/credentials", "~/.aws/config")
    for place in places:
        try:
            yield os.stat(os.path.expanduser(place)).st_mtime
        except OSError:
            yield 0.0


@functools.lru_cache(maxsize=32)
def _store(scheme: str, bucket: str, is_writing: bool, limits: tuple[float, ...], said: object, process: int) -> Any:
    from obstore import store

    if scheme == "memory":
        return _in_memory(bucket)
    connect_s, read_s, retries = limits
    client: dict[str, Any] = {"connect_timeout": timedelta(seconds=connect_s), "timeout": _SENT_WITHIN}
    if not is_writing:  # while a large piece is sent, nothing is read
        client["read_timeout"] = timedelta(seconds=read_s)
    authority = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), None)
    if authority is not None and os.path.isfile(authority):
        with open(authority, encoding="utf-8") as file:
            client["root_certificate"] = file.read()
    retry = {"max_retries": int(retries), "retry_timeout": timedelta(minutes=3)}
    if scheme == "gs":
        config, provider = _google()
        kind: Any = store.GCSStore
    else:
        with _telling_amazon():
            config, provider = _amazon()
        kind = store.S3Store
    client["allow_http"] = str(config.get("base_url") or config.get("endpoint") or "").startswith("http://")
    return kind(bucket, config=config, client_options=client, retry_config=retry, credential_provider=provider)


@functools.cache
def _in_memory(bucket: str) -> Any:
    """A bucket that lasts as long as this process."""
    from obstore.store import MemoryStore

    return MemoryStore()


def has_credentials(scheme: str) -> bool:
    """Whether a bucket would be asked with credentials."""
    return credentials_name(scheme) != _ANONYMOUS


def credentials_name(scheme: str) -> str:
    """With which credentials a bucket is asked, for messages; no value of them."""
    if scheme == "s3":
        with _telling_amazon():
            credentials = _amazon_session().get_credentials()
        return f"with the credentials of {credentials.method}" if credentials else _ANONYMOUS
    source = _google_source()
    return f"with the credentials of {source}" if source else _ANONYMOUS


def _google() -> tuple[dict[str, Any], Callable[[], dict[str, Any]] | None]:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")  # by which Google's own clients are pointed elsewhere
    if emulator:
        return {
            "base_url": emulator if "://" in emulator else f"http://{emulator}",
            "skip_signature": True,
            "bearer_token": "",
        }, None
    source = _google_source()
    if not source:
        return {"skip_signature": True, "bearer_token": ""}, None  # the latter, too, or it looks for some to write
    try:
        import google.auth
        import google.auth.exceptions
        from google.auth import compute_engine
        from google.auth.transport.requests import Request

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a gcloud login has no project to charge, which a bucket does not ask for
            if source == _THIS_MACHINE:
                credentials: Any = compute_engine.Credentials()  # type: ignore[no-untyped-call]
            else:
                credentials, _ = google.auth.default(scopes=[_SCOPE])
    except ImportError as error:
        raise FetchError(f"the credentials of {source} need google-auth: {error}", fix=_INSTALL) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise AccessError(f"the credentials of {source} are of no use: {error}", fix=CREDENTIALS_FIX["gs"]) from error

    def provide() -> dict[str, Any]:
        credentials.refresh(Request())
        expiry = credentials.expiry
        return {"token": credentials.token, "expires_at": expiry.replace(tzinfo=timezone.utc) if expiry else None}

    return {}, provide


def _google_source() -> str:
    """Where Google's clients would find credentials.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    if os.environ.get("STORAGE_EMULATOR_HOST"):  # which asks for none
        return ""
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return "$GOOGLE_APPLICATION_CREDENTIALS"
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    if os.path.isfile(path := os.path.join(folder, "application_default_credentials.json")):
        return path
    return _THIS_MACHINE if _is_on_google(os.environ.get("NO_GCE_CHECK", ""), os.environ.get("GCE_METADATA_HOST")) else ""


@functools.cache
def _is_on_google(no_check: str, host: str | None) -> bool:
    """Whether a metadata server answers that gives this machine credentials; asked once, for a second at most."""
    if no_check.lower() == "true":
        return False
    import http.client

    connection = http.client.HTTPConnection(host or "169.254.169.254", timeout=_METADATA_S)
    try:
        connection.request("GET", "/", headers={"Metadata-Flavor": "Google"})
        return connection.getresponse().getheader("Metadata-Flavor") == "Google"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _telling_amazon() -> Iterator[None]:
    """What is wrong with the files and variables of Amazon's client, in words of ours."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):  # which need not be there
            raise
        raise AccessError(f"the settings for s3:// are of no use: {error}", fix=CREDENTIALS_FIX["s3"]) from error


def _amazon() -> tuple[dict[str, Any], Callable[[], dict[str, Any]] | None]:
    session = _amazon_session()
    region = session.get_config_variable("region") or "us-east-1"
    # The client knows every place where a region or another address may be set; with keys of any kind it looks for none.
    meta = session.create_client("s3", region_name=region, aws_access_key_id="-", aws_secret_access_key="-").meta
    config = {"region": meta.region_name, "endpoint": meta.endpoint_url}
    credentials = session.get_credentials()
    if credentials is None:
        return {**config, "skip_signature": True}, None

    def provide() -> dict[str, Any]:
        now = credentials.get_frozen_credentials()
        expiry = datetime.now(timezone.utc) + _REFRESHED_EVERY  # botocore knows when, and gives new ones in time
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": expiry,
        }

    return config, provide


def _amazon_session() -> Any:
    try:
        import botocore.session
    except ImportError as error:
        raise FetchError(f"s3:// needs botocore: {error}", fix="pip install 'tfimm_resolver[s3]'") from error
    session = botocore.session.Session()
    session.set_config_variable("metadata_service_timeout", _METADATA_S)
    session.set_config_variable("metadata_service_num_attempts", 1)
    return session
