"""Settings that have no effect or cannot be used: misspelt variables, and files of required signatures that are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cli.diagnosis.findings import Finding, catch_errors, make_note, make_problem
from tfimm_resolver.models_file import discovery
from tfimm_resolver.trust import policy
from tfimm_resolver.trust.policy import Requirement

PREFIX = "TFIMM_RESOLVER_"
NAMES = (
    *("CONNECTIONS", "CONNECT_TIMEOUT_S", "EXTRA_ROOTS", "GRACE", "GRACE_WITHOUT_LOCKS", "HOSTS_FILE", "KEY_PASSWORD"),
    *("LOCAL_COPY", "LOCK_TIMEOUT_S", "MAX_AGE", "MAX_BYTES", "MAX_MEMBERS", "MAX_RATIO", "MAX_SIZE", "MIN_FREE", "MIRRORS"),
    *("OFFLINE", "OPS", "PROGRESS", "QUIET", "READ_TIMEOUT_S", "RETRIES"),
)
"""The variables with that prefix, without it; a test compares them with the code."""


def check_configuration() -> Iterator[Finding]:
    """Yield what is configured and has no effect, or cannot be used."""
    yield from _check_variables()
    yield from _check_signatures()


def _check_variables() -> Iterator[Finding]:
    """Yield a problem for each variable that looks like a known one, and a note for any other that is not known."""
    for name in sorted(os.environ):
        rest = name.removeprefix(PREFIX)
        if rest == name or rest in NAMES or not os.environ[name]:
            continue
        text = f"{show(name)} is set, but no variable of that name is read"
        if similar := _find_similar(rest):
            yield make_problem("unknown-variable", text, f"did you mean {PREFIX}{similar}?")
        else:
            yield make_note("unknown-variable", text, "unset it, unless another version of this package reads it")


def _find_similar(rest: str) -> str:
    import difflib

    close = difflib.get_close_matches(rest.upper(), NAMES, n=1, cutoff=0.75)
    return close[0] if close else ""


def _check_signatures() -> Iterator[Finding]:
    """Yield a problem for each key, certificate or signature that a rule names and that cannot be read."""
    required = list[Requirement]()
    yield from catch_errors(
        lambda: required.extend(rule.requirement for rule in policy.list_rules()),
        lambda: required.extend(entry.requirement for entry in discovery.list_entries() if entry.requirement),
    )
    for one in required:
        for finding in catch_errors(one.signer.list_trusted):
            yield replace(finding, text=f"{finding.text}; required by {show(one.source)}")
        if one.signature and "://" not in one.signature and not os.path.isfile(one.signature):
            text = f"the signature {show(one.signature)} does not exist; {show(one.source)} requires it"
            yield make_problem("signature-missing", text, "correct its path, or put the file there")
