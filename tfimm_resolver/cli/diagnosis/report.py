"""Everything that ``doctor`` and ``env`` report, gathered once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import MASK, mask_secrets, mask_value
from tfimm_resolver.cli.diagnosis import configuration, network, roots, software
from tfimm_resolver.cli.diagnosis.findings import PROBLEM, Finding, catch_errors
from tfimm_resolver.cli.diagnosis.roots import RootFacts
from tfimm_resolver.cli.diagnosis.setting_readers import READERS
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.models_file import discovery

_PREFIXES = ("TFIMM_", "TFHUB_", "KAGGLEHUB_", "HF_")
_NAMED = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CI", "KAGGLE_KERNEL_RUN_TYPE", "CUDA_VISIBLE_DEVICES")
_TOKEN = re.compile(r"(?=.*\d)[\w.~+=-]{16,}")
"""A value that may be a token which was pasted into the wrong variable: no setting has one like it, and no usual path."""

_QUOTED_TOKEN = re.compile(r"(?<=['\"])(?=[\w.~+=-]*\d)[\w.~+=-]{16,}")
_SECRET = ("TOKEN", "KEY", "PASSWORD", "SECRET", "CREDENTIAL")
_SECRET_CHARACTERS_MIN = 8


@dataclass(frozen=True, slots=True)
class Report:
    """The state of this environment.

    Attributes:
        roots: the cache directories.
        models: what is cached.
        findings: what is wrong, problems first.
    """

    roots: list[RootFacts]
    models: list[CachedModel]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == PROBLEM]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind != PROBLEM]

    @property
    def size_bytes(self) -> int:
        """The total size of the models in the cache itself, without those that are stored under their names."""
        return sum(model.size_bytes for model in self.models if model.entry and not model.other_root)


def make_report(*, online: bool = False) -> Report:
    """Look at everything; send requests only if ``online``."""
    models, unlisted = roots.list_models()
    directories = roots.inspect_roots(models)
    found = [
        *catch_errors(*READERS),
        *unlisted,
        *roots.check_roots(directories, models),
        *configuration.check_configuration(),
        *software.check_software(),
        *network.check_network(),
        *(network.check_hosts() if online else ()),
    ]
    unique = dict[str, Finding]()
    for finding in found:
        text = _hide_tokens(finding.text)
        unique.setdefault(text, replace(finding, text=text, fix=_hide_tokens(finding.fix)))
    return Report(directories, models, sorted(unique.values(), key=lambda finding: finding.kind != PROBLEM))


def collect_facts(report: Report) -> dict[str, Any]:
    """Return the facts for a bug report, without secrets."""
    own = [model for model in report.models if model.entry and not model.other_root]
    facts = {
        **software.collect_facts(),
        "roots": [root.facts() for root in report.roots],
        "extra_roots": _try(settings.extra_roots, list[str]()),
        "models_files": _try(discovery.find_files, list[str]()),
        "config_file": _try(_find_config, None),
        "limits": _try(settings.describe_limits, dict[str, str]()),
        "models": {
            "count": len(own),
            "size_bytes": report.size_bytes,
            "damaged": sum(model.state == "damaged" for model in own),
        },
        **network.collect_facts(),
        "variables": dict(_list_variables()),
    }
    return {name: _mask(value) for name, value in facts.items()}


def _mask(value: Any) -> Any:
    """Return a fact without the secrets in its texts: a path may have one in a name."""
    if isinstance(value, dict):
        return {name: _mask(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_mask(item) for item in value]
    return _hide_tokens(mask_secrets(value)) if isinstance(value, str) else value


def _hide_tokens(text: str) -> str:
    """Return a text without what may be a token in the wrong place: the values of variables, and in quotes those of files."""
    for name, value in os.environ.items():
        if len(value) >= _SECRET_CHARACTERS_MIN and _is_setting(name) and _may_be_secret(name, value):
            text = text.replace(value, MASK)
    return _QUOTED_TOKEN.sub(MASK, text)


def _is_setting(name: str) -> bool:
    return name.startswith(_PREFIXES) or name in _NAMED


def _may_be_secret(name: str, value: str) -> bool:
    return any(word in name for word in _SECRET) or _TOKEN.fullmatch(value) is not None


def _list_variables() -> Iterator[tuple[str, str]]:
    """Yield the variables that are set, without what may be a secret."""
    for name, value in sorted(os.environ.items()):
        if _is_setting(name):
            yield name, "(set)" if _may_be_secret(name, value) else mask_value(value)


def _find_config() -> str | None:
    path = settings.config_file()
    return path if path and os.path.isfile(path) else None


def _try(read: Any, default: Any) -> Any:
    try:
        return read()
    except ResolverError:  # reported as a problem
        return default
