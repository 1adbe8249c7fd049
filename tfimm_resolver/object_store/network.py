"""Certificate authorities and proxies for the libraries that access buckets, by the same rules as for HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfimm_resolver.settings import network

_EVERY_HOST = "0.0.0.0/0,::/0,*"


def choose_ca_sources(scheme: str) -> network.CaSources:
    """Return the sources of trusted certificates for a bucket; Amazon's own variable comes first for its buckets."""
    return network.choose_ca_sources(*(("AWS_CA_BUNDLE",) if scheme == "s3" else ()))


def make_client_options(scheme: str, url: str) -> dict[str, Any]:
    """Return obstore's options for connections to the service at ``url``.

    Raises:
        FetchError: if a variable names certificates that cannot be read, or does not hold the URL of a proxy.
    """
    options: dict[str, Any] = {}
    if certificates := network.read_certificates(choose_ca_sources(scheme)):
        options["root_certificate"] = certificates
    if (proxy := network.choose_proxy(url)) is not None:
        options["proxy_url"] = proxy.full_url
    else:  # obstore reads the variables itself, but does not know all forms of no_proxy: a proxy that is used for no host
        options |= {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": _EVERY_HOST}
    return options


def make_google_request() -> Callable[..., Any]:
    """Return google-auth's transport, which gets tokens: the named exception to the rule that only ``http`` sends requests."""
    import google.auth.transport.urllib3

    def request(url: str, *args: Any, **options: Any) -> Any:
        return google.auth.transport.urllib3.Request(_open_pools(url))(url, *args, **options)  # type: ignore[no-untyped-call]

    return request


def _open_pools(url: str) -> Any:
    import ssl

    import urllib3

    options: dict[str, Any] = {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)} if url.startswith("https:") else {}
    if options:
        options["ssl_context"].load_verify_locations(cadata=network.read_certificates(choose_ca_sources("gs")))
    proxy = network.choose_proxy(url)
    if proxy is None:
        return urllib3.PoolManager(**options)
    if proxy.is_socks:
        from urllib3.contrib.socks import SOCKSProxyManager

        return SOCKSProxyManager(proxy.full_url, **options)
    login = f"{proxy.user}:{proxy.password}" if proxy.user or proxy.password else None
    return urllib3.ProxyManager(proxy.url, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **options)
