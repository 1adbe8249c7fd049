"""``tfimm-resolver why``: explains how a name or a handle is resolved."""

from __future__ import annotations

import click

from tfimm_resolver import settings
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_handle
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.errors import PolicyError, SignatureError
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.resolution import explain
from tfimm_resolver.trust.operation_policy import Policy


@click.command(short_help="Explain how a name or a handle is resolved.")
@click.argument("name", shell_complete=complete_handle)
@common
@click.pass_obj
def command(output: Output, name: str) -> int:
    """Explain how NAME, which may be any handle, is resolved: the path, the rule, and the locations that are not used.

    Downloads nothing.
    """
    why = explain.explain(name)
    name = inventory.redact(name)
    if output.as_json:
        resolved = why.resolved
        facts = {
            "asked": name,
            "path": why.path,
            "rule": resolved.rule,
            "said_by": why.decided_by,
            "handle": str(resolved.handle),
        }
        facts |= {"subdirectory": resolved.request.subdirectory} if resolved.request.subdirectory else {}
        pin = {"sha256": resolved.handle.sha256, "size_bytes": why.size_bytes}
        not_used = [{"place": location, "reason": reason} for location, reason in why.rejected]
        error = {"error": error_to_json(why.error)} if why.error else {}
        signatures = {
            "signature_required": [f"{one.signer.describe()} ({one.source})" for one in why.requirements],
            "signed_by": why.signed_by.facts() if why.signed_by else None,
        }
        operations = {
            "operations_refused": [_describe_policy(one) for one in why.policies],
            "load_refused": why.refusal.text if why.refusal else None,
        }
        output.print_json({**facts, **pin, **signatures, **operations, "not_used": not_used, **error})
    else:
        _print(output, name, why)
    return why.error.exit_code if why.error else 0


def _explain_missing_path(why: explain.Explanation) -> str:
    if isinstance(why.error, SignatureError):
        return "no path: the cached copy lacks a signature that is required"
    if isinstance(why.error, PolicyError):
        return "no path: the model has operations that are refused, or cannot be searched"
    if why.error:
        return "no path: the cached copy does not match the pin"
    if settings.is_offline() and why.resolved.handle.scheme not in ("", "file"):
        return "not cached, and not fetched while TFIMM_RESOLVER_OFFLINE is set"
    return "unknown: resolve asks the server for the location" if why.needs_network else "not cached: resolve fetches it"


def _describe_policy(policy: Policy) -> str:
    return f"{', '.join(policy.refuse)} at {policy.at} ({policy.source})"


def _print(output: Output, name: str, why: explain.Explanation) -> None:
    handle, size_bytes = why.resolved.handle, why.size_bytes
    if not output.is_quiet:
        output.print_path(why.path or _explain_missing_path(why))
    elif why.path:
        output.print_path(why.path)
    rows = [("asked", name), ("rule", f"{why.resolved.rule}, {why.decided_by}")]
    if str(handle) != name:
        rows.append(("handle", str(handle)))
    if why.resolved.request.subdirectory:
        rows.append(("directory", why.resolved.request.subdirectory))
    if handle.sha256:
        rows.append(("pin", f"sha256 {handle.sha256}{'' if size_bytes is None else f', {format_size(size_bytes)}'}"))
    if why.signed_by:
        rows.append(("signed by", why.signed_by.describe()))
    rows += [("requires", f"signature by {one.signer.describe()} ({one.source})") for one in why.requirements]
    rows += [("refuses", _describe_policy(one)) for one in why.policies]
    if why.refusal:
        rows.append(("", "the path can be used, but the model is not loaded: it has such operations"))
    rows += [
        ("" if number else "not used", f"{location} ({reason})") for number, (location, reason) in enumerate(why.rejected)
    ]
    for label, text in () if output.is_quiet else rows:
        output.print_line(f"  {label:<9}  {text}")
    if why.error:
        output.print_error(why.error)
