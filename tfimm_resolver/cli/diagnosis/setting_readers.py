"""Every function that reads settings and may refuse them: ``doctor`` calls the same ones as ``resolve``."""

from __future__ import annotations

from collections.abc import Callable

from tfimm_resolver import settings
from tfimm_resolver.http import hosts, mirrors
from tfimm_resolver.models_file import discovery
from tfimm_resolver.settings import network
from tfimm_resolver.sources import github, kaggle_credentials
from tfimm_resolver.trust import operation_policy, policy

_EXAMPLE_URLS = ("https://models.example", "http://models.example")


def _read_grace_without_locks() -> None:
    settings.grace_s(has_locks=False)


def _require_proxy_libraries() -> None:
    for proxy in map(network.choose_proxy, _EXAMPLE_URLS):
        if proxy is not None and proxy.is_socks:
            from tfimm_resolver.http.connections import require_socks  # urllib3, which only this proxy needs

            require_socks(proxy)


READERS: tuple[Callable[[], object], ...] = (
    settings.cache_root,
    settings.cache_roots,
    settings.local_root,
    settings.urls_root,
    settings.names_root,
    settings.hub_root,
    settings.get_dir,
    settings.extra_roots,
    settings.read_config,
    settings.cache_limits,
    settings.describe_limits,
    settings.grace_s,
    _read_grace_without_locks,
    settings.load_format,
    settings.validate,
    settings.models_files,
    settings.hosts_file,
    hosts.read_hosts,
    mirrors.read_mirrors,
    policy.list_rules,
    operation_policy.may_refuse_paths,
    discovery.list_entries,
    kaggle_credentials.get_base_url,
    github.get_base_url,
    _require_proxy_libraries,
)
"""What they raise is a problem."""
