"""Which operations of models are refused: by the environment, by ``ops`` of the settings file, and by the models file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.settings.config_file import Config, read_config

OPS = "TFIMM_RESOLVER_OPS"

KINDS = ("on-load-writes", "writes", "reads", "network", "python", "hidden-graph")
"""What can be refused."""

DEFAULT_KINDS = ("on-load-writes", "network", "python", "hidden-graph")
"""What is refused with ``TFIMM_RESOLVER_OPS=refuse``."""

AT_LOAD, AT_RESOLVE = "load", "resolve"
FORM = 'Write ops = { refuse = ["on-load-writes", "network", "python", "hidden-graph"] }.'

_MODES = ("", "report", "refuse")
_KEYS = ("refuse", "at")
_CONFIG_KEYS = ("prefix", "refuse", "allow", "at")


class Policy(NamedTuple):
    """What is refused of a model.

    Attributes:
        refuse: kinds of operations.
        at: ``load``; or ``resolve``, if not even the path of such a model may be returned.
        source: where that is set, for a message.
    """

    refuse: tuple[str, ...]
    at: str = AT_LOAD
    source: str = ""


class _Rule(NamedTuple):
    """A table of the settings file: for handles with a prefix in canonical form, or for all if it is empty."""

    prefix: str
    policy: Policy
    allow: tuple[str, ...]


_parsed: list[tuple[Config, tuple[_Rule, ...]]] = []
"""The rules of the settings file that was parsed last."""


def list_policies(handles: Iterable[Handle]) -> list[Policy]:
    """Return what the environment and the settings file refuse of a model that has these handles.

    A rule with a prefix counts if one of the handles has the prefix; what it allows only if all have it, names left out.

    Raises:
        HandleError: if the variable or the settings file is not valid.
    """
    found = [Policy(DEFAULT_KINDS, source=OPS)] if _is_refused_by_variable() else []
    rules = _list_rules()
    if not rules:
        return found
    from tfimm_resolver.trust.prefixes import matches_prefix  # takes 4 ms that only a rule pays

    handles = [handle for handle in handles if not handle.is_name]
    allowed = {
        kind
        for rule in rules
        if rule.allow and handles and all(_is_below(handle, rule.prefix) for handle in handles)
        for kind in rule.allow
    }
    for rule in rules:
        if not rule.prefix or any(matches_prefix(handle, rule.prefix) for handle in handles):
            refuse = tuple(kind for kind in rule.policy.refuse if kind not in allowed)
            found.append(rule.policy._replace(refuse=refuse))
    return [policy for policy in found if policy.refuse]


def has_policies() -> bool:
    """Whether the environment or the settings file refuses anything; raises HandleError as ``list_policies`` does."""
    return _is_refused_by_variable() or "ops" in read_config().table


def may_refuse_paths(config: Config | None = None) -> bool:
    """Whether the settings file has a rule at ``resolve``; raises HandleError as ``list_policies`` does.

    ``config`` is the file if the caller has just read it.
    """
    _is_refused_by_variable()  # a wrong value is an error, whatever is done with the model
    rules = _list_rules(config)
    return bool(rules) and any(rule.policy.at == AT_RESOLVE for rule in rules)


def _is_refused_by_variable() -> bool:
    mode = os.environ.get(OPS, "")
    if mode not in _MODES:
        raise HandleError(f"{OPS} is {mode!r}", fix="Set it to report or refuse.")
    return mode == "refuse"


def parse_policy(value: object, source: str) -> Policy:
    """Parse ``{ refuse = ["python"], at = "resolve" }``, as a models file has it.

    Raises:
        HandleError: if it is something else.
    """
    table = _check_table(value, _KEYS)
    if "refuse" not in table:
        raise HandleError("ops refuses nothing", fix=FORM)
    return Policy(_parse_kinds(table["refuse"], "refuse"), _parse_time(table), source)


def _list_rules(config: Config | None = None) -> tuple[_Rule, ...]:
    config = config or read_config()
    if "ops" not in config.table:
        return ()
    if not _parsed or _parsed[0][0] is not config:
        value = config.table["ops"]
        tables = value if isinstance(value, list) else [value]
        _parsed[:] = [(config, tuple(_parse_rule(config, table, number) for number, table in enumerate(tables, 1)))]
    return _parsed[0][1]


def _parse_rule(config: Config, value: object, number: int) -> _Rule:
    from tfimm_resolver.trust.prefixes import parse_prefix

    try:
        table = _check_table(value, _CONFIG_KEYS)
        prefix = parse_prefix(table["prefix"]) if "prefix" in table else ""
        allow = _parse_kinds(table.get("allow", []), "allow")
        refuse = _parse_kinds(table.get("refuse", []), "refuse")
        if not (refuse or allow):
            raise HandleError("ops refuses nothing, and allows nothing", fix=FORM)
        if allow and not prefix:
            raise HandleError(
                "ops allows something, and has no prefix", fix="Write the prefix of handles for which it is allowed."
            )
        return _Rule(prefix, Policy(refuse, _parse_time(table), f"ops {number} in {config.path}"), allow)
    except HandleError as error:
        raise HandleError(f"{show(config.path)}: ops {number}: {error.text}", fix=error.advice) from error


def _is_below(handle: Handle, prefix: str) -> bool:
    """Whether a handle begins with a prefix; a path only if its links, too, do not lead out of there."""
    from tfimm_resolver.trust.prefixes import matches_prefix

    if handle.scheme or "://" in prefix:
        return matches_prefix(handle, prefix)
    return f"{os.path.realpath(handle.path)}/".startswith(os.path.realpath(prefix) + "/" * prefix.endswith("/"))


def _check_table(value: object, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HandleError("ops has to be a table", fix=FORM)
    if unknown := [key for key in value if key not in known]:
        raise HandleError(f'ops has an unknown key "{show(unknown[0])}"', fix=f"Known: {', '.join(known)}.")
    return value


def _parse_kinds(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise HandleError(f"{field} of ops has to be a list of texts", fix=FORM)
    if unknown := [kind for kind in value if kind not in KINDS]:
        raise HandleError(f'{field} of ops has an unknown kind "{show(unknown[0])}"', fix=f"Known: {', '.join(KINDS)}.")
    return tuple(dict.fromkeys(value))


def _parse_time(table: dict[str, Any]) -> str:
    at = table.get("at", AT_LOAD)
    if at not in (AT_LOAD, AT_RESOLVE):
        raise HandleError(f"at of ops is {at!r:.80}", fix=f'Write at = "{AT_LOAD}" or at = "{AT_RESOLVE}".')
    return str(at)
