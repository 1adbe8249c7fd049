"""Which signatures are required: by the models file for a name, and by ``[[trust]]`` of the settings file for a prefix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.settings.config_file import Config, read_config
from tfimm_resolver.trust.prefixes import list_prefix_forms, parse_prefix
from tfimm_resolver.trust.signer import FORM, Signer, parse_signature, parse_signer

_KEYS = ("prefix", "signer", "signature")


class Requirement(NamedTuple):
    """A signature that a model must have.

    Attributes:
        signer: whose.
        signature: the path or the URL of the bundle; empty if the model contains it.
        source: where it is required, for a message.
    """

    signer: Signer
    signature: str
    source: str


class Rule(NamedTuple):
    """A table ``[[trust]]``: what is required of all models whose handles begin with a prefix, in canonical form."""

    prefix: str
    requirement: Requirement


_parsed: list[tuple[Config, tuple[Rule, ...]]] = []
"""The rules of the settings file that was parsed last."""


def list_rules() -> tuple[Rule, ...]:
    """Return the rules of the settings file.

    Raises:
        HandleError: if the file cannot be read, or one of them is not valid.
    """
    config = read_config()
    if "trust" not in config.table:
        return ()
    if not _parsed or _parsed[0][0] is not config:
        _parsed[:] = [(config, _parse_rules(config))]
    return _parsed[0][1]


def list_requirements(handles: Iterable[Handle]) -> list[Requirement]:
    """Return what the settings file requires of a model that has these handles: of each rule with a prefix of one of them.

    Raises:
        HandleError: as ``list_rules`` does.
    """
    rules = list_rules()
    if not rules:
        return []
    forms = {form for handle in handles for form in list_prefix_forms(handle)}
    return [rule.requirement for rule in rules if any(form.startswith(rule.prefix) for form in forms)]


def _parse_rules(config: Config) -> tuple[Rule, ...]:
    tables = config.table["trust"]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise config.make_error("trust", "has to be a list of tables", "Write [[trust]], with prefix and signer below it.")
    return tuple(_parse_rule(config, table, f"trust {number}") for number, table in enumerate(tables, 1))


def _parse_rule(config: Config, table: dict[str, object], name: str) -> Rule:
    if unknown := [key for key in table if key not in _KEYS]:
        raise config.make_error(name, f'has an unknown key "{show(unknown[0])}"', f"Known: {', '.join(_KEYS)}.")
    if missing := [key for key in ("prefix", "signer") if key not in table]:
        raise config.make_error(
            name, f"has no {missing[0]}", FORM if missing == ["signer"] else "Write the prefix of handles."
        )
    try:
        prefix, signer = parse_prefix(table["prefix"]), parse_signer(table["signer"], config.folder)
        signature = parse_signature(table["signature"], config.folder) if "signature" in table else ""
    except HandleError as error:
        raise HandleError(f"{show(config.path)}: {show(name)}: {error.text}", fix=error.advice) from error
    return Rule(prefix, Requirement(signer, signature, f"{name} in {config.path}"))
