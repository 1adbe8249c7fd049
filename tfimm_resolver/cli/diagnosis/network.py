"""How connections are made: proxies, certificates, credentials; requests are sent only to check that hosts can be reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import mask_value, show
from tfimm_resolver.cli.diagnosis.findings import Finding, catch_errors, make_note, make_problem
from tfimm_resolver.errors import FetchError, ResolverError
from tfimm_resolver.settings import network
from tfimm_resolver.settings.network import Proxy
from tfimm_resolver.sources import github, kaggle_credentials

_EXAMPLE_HOST = "models.example"
_CREDENTIAL_VARIABLES = (
    *("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GITHUB_TOKEN"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "NETRC"),
)
_CREDENTIAL_FILES = (
    *("~/.kaggle/kaggle.json", "~/.kaggle/access_token", "~/.cache/huggingface/token", "~/.netrc"),
    *("~/.config/gcloud/application_default_credentials.json", "~/.aws/credentials"),
)
_HUGGING_FACE = "https://huggingface.co"


def collect_facts() -> dict[str, Any]:
    """Return how connections are made; of credentials only where they are."""
    hosts = settings.hosts_file()[0] if not any(catch_errors(settings.hosts_file)) else ""
    files = [path for path in (*_CREDENTIAL_FILES, hosts) if path and os.path.isfile(os.path.expanduser(path))]
    return {
        "offline": settings.is_offline(),
        "tls_verified": settings.is_tls_verified(),
        "ca_sources": network.choose_ca_sources().description,
        "proxies": [
            {"variable": proxy.variable, "url": proxy.url, "has_login": bool(proxy.user or proxy.password)}
            for proxy in _list_proxies()
        ],
        "mirrors": mask_value(settings.mirrors()) or None,
        "credentials": [*(name for name in _CREDENTIAL_VARIABLES if os.environ.get(name)), *files],
    }


def check_network() -> Iterator[Finding]:
    """Yield what is wrong with the settings of connections; sends nothing."""
    for scheme in ("https", "http"):
        yield from catch_errors(lambda scheme=scheme: network.choose_proxy(f"{scheme}://{_EXAMPLE_HOST}"))  # type: ignore[misc]
    for proxy in _list_proxies():
        if proxy.user and not proxy.password:
            text = f"{proxy.variable} has a user for the proxy {show(proxy.url)}, but no password"
            yield make_problem("proxy-password", text, "write the password after the user and a colon, percent-encoded")
    yield from _check_certificates()
    if settings.is_offline():
        text = "TFIMM_RESOLVER_OFFLINE is set: nothing is downloaded"
        yield make_note("offline", text, "unset it to download models")


def _check_certificates() -> Iterator[Finding]:
    if not settings.is_tls_verified():
        text = "TFHUB_DISABLE_CERT_VALIDATION is true: anyone on the way can replace what is downloaded"
        yield make_note("tls-not-verified", text, "unset it, and name your certificate in REQUESTS_CA_BUNDLE")
        return
    sources = network.choose_ca_sources()
    missing = [path for path in sources.paths if sources.is_explicit and not os.path.exists(path)]
    for path in missing:
        variables = sources.description.replace(path, "").strip("= ")
        text = f"the file of certificates {show(path)} does not exist ({show(variables)})"
        yield make_problem("ca-missing", text, "correct the variable, or unset it to use the system's certificates")
    if not missing:
        yield from catch_errors(_read_certificates)


def _read_certificates() -> None:
    from tfimm_resolver.http import tls

    tls.make_context()


def _list_proxies() -> list[Proxy]:
    found = dict[str, Proxy]()
    for scheme in ("https", "http"):
        try:
            proxy = network.choose_proxy(f"{scheme}://{_EXAMPLE_HOST}")
        except ResolverError:  # reported as a problem
            continue
        if proxy is not None:
            found[proxy.variable] = proxy
    return list(found.values())


def check_hosts() -> Iterator[Finding]:
    """Send one request to each service, and yield a problem for each that cannot be reached."""
    if settings.is_offline():
        yield make_note("offline", "no host was contacted: TFIMM_RESOLVER_OFFLINE is set", "unset it")
        return
    for choose in (kaggle_credentials.get_base_url, github.get_base_url, _get_hugging_face_url):
        try:
            url = choose()
        except ResolverError:  # reported with the settings
            continue
        yield from _check_host(url)


def _check_host(url: str) -> Iterator[Finding]:
    from tfimm_resolver.http.body import abort_response
    from tfimm_resolver.http.session import Session, get

    host = show(urlsplit(url).netloc.rpartition("@")[2])
    try:
        with Session() as session:
            response = get(session, url, follow=False)
            abort_response(response)
    except FetchError as error:
        fix = error.advice.command or "check the network and the proxy; a mirror can stand in: TFIMM_RESOLVER_MIRRORS"
        yield make_problem("unreachable", f"{host} cannot be reached: {error.text}", fix)


def _get_hugging_face_url() -> str:
    return os.environ.get("HF_ENDPOINT") or _HUGGING_FACE
