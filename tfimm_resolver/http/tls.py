"""TLS contexts that trust the certificate authorities of ``settings.network``."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError
from tfimm_resolver.settings import network

DISABLED = "TFHUB_DISABLE_CERT_VALIDATION"


def make_context(*variables: str) -> ssl.SSLContext:
    """Return a context for connections, by the environment at this moment.

    ``variables`` are asked before those that ``choose_ca_sources`` knows.

    Raises:
        FetchError: if a file or directory that the user named cannot be read, or holds no certificate.
    """
    if not settings.is_tls_verified():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    sources = network.choose_ca_sources(*variables)
    paths = sources.paths
    if sources.is_explicit:  # writing to a file does not change the time of its directory
        paths = tuple(file for path in paths for file in (path, *_list_files(path)))
    return _make_verifying_context(sources, tuple(_stamp(path) for path in paths))


def describe_trust() -> str:
    """Name the sources of trusted certificates, for messages."""
    return network.choose_ca_sources().description if settings.is_tls_verified() else DISABLED


def _list_files(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return network.list_certificate_files(path)
    return []


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
def _make_verifying_context(sources: network.CaSources, _: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a bundle may hold the intermediate certificate only, as for curl
    errors: list[OSError] = []
    for path in sources.paths:
        try:
            _load(context, path)
        except OSError as error:  # also ssl.SSLError: it holds no certificate
            errors.append(error)
    if sources.is_explicit and len(errors) == len(sources.paths):
        reason = errors[0].strerror or str(errors[0])
        raise FetchError(f"{sources.description} cannot be read: {show(reason)}", fix="Correct or unset it.")
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    if not os.path.isdir(path):
        return context.load_verify_locations(cafile=path)
    context.load_verify_locations(capath=path)
    for file in network.list_certificate_files(path) if not _has_hashed_names(path) else ():
        with contextlib.suppress(OSError):  # a key, for example
            context.load_verify_locations(cafile=file)


def _has_hashed_names(folder: str) -> bool:
    """Whether OpenSSL can find certificates in a directory by their hashes, as ``openssl rehash`` names them."""
    return any(network.HASHED_NAME.fullmatch(name) for name in os.listdir(folder))
