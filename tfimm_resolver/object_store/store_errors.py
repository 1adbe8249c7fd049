"""Translates the errors of obstore, which distinguish failures only by their text, into ours."""

from __future__ import annotations

import re

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.retry import CONFLICT_STATUSES, is_retryable_status
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    TransferTimeoutError,
)
from tfimm_resolver.errors.advice import Fix, join_advice
from tfimm_resolver.object_store import billing, credentials
from tfimm_resolver.object_store.network import choose_ca_sources

NOT_FOUND_FIX = "Check the bucket's name and the path."
NAME_FIX = "Check the path behind the name of the bucket."
RECORD_FIX = "Check what has written it, and remove it if it is not a record of this package."
_REASON_CHARACTERS = 300
_STATUS = re.compile(r"status code: (\d{3})")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_OFFLINE_FIX = "Check the network and the proxy variables (https_proxy, no_proxy)."
_CERTIFICATE_FIX = "Behind a proxy that intercepts TLS, set SSL_CERT_FILE to the file of its CA certificate."
_TIMEOUT_FIX = "Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S higher."


def translate_error(scheme: str, url: str, error: Exception, action: str) -> FetchError:
    """Return our error for one of obstore, whose errors from listing and from the network differ in their text only."""
    text, _, details = str(error).partition("\n\nDebug source")
    if "invalid path" in text:
        reason = " ".join(text.split())[:_REASON_CHARACTERS]
        return ArchiveError(f"{url} contains an object name that cannot be a file path: {show(reason)}")
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    if status == 404:
        return NotFoundError(f"{url} does not exist", fix=NOT_FOUND_FIX, status=status)
    if status == 416:
        return IntegrityError(f"{url} is shorter than expected", status=status)
    if status in (401, 403) or "credential provider: " in text:
        reason = f"HTTP {status}" if status else text.partition("credential provider: ")[2].strip()[:_REASON_CHARACTERS]
        used = credentials.describe_credentials(scheme)
        advice = _suggest_access(scheme, text)
        return AccessError(f"{url} cannot be {action} {used} ({show(reason)})", fix=advice, status=status)
    if status is None and "kind: Timeout" in details:
        return TransferTimeoutError(f"{url} did not answer in time", fix=_TIMEOUT_FIX, is_passing=True)
    if status is None and "InvalidCertificate" in details:
        trusted_by = choose_ca_sources(scheme).description
        text = f"{url} could not be {action}: its TLS certificate is not trusted by {trusted_by}"
        return FetchError(text, fix=_CERTIFICATE_FIX)
    if status is None and "kind: Connect," in details:  # and not ConnectionReset
        return OfflineError(f"{url} cannot be reached: no connection", fix=_OFFLINE_FIX, is_passing=True)
    fix: Fix = "Try again later."
    is_passing = status is None or is_retryable_status(status) or status in CONFLICT_STATUSES
    if "redirect without LOCATION" in text or (scheme == "s3" and status == 400):
        fix, is_passing = "If the bucket is in another region, set AWS_DEFAULT_REGION to that region.", False
    if is_billing_refusal(scheme, text):
        fix = billing.GOOGLE_FIX
    message = _MESSAGE.search(text)
    reason = " ".join((message[1] if message else text if not status else "").split())[:_REASON_CHARACTERS]
    reason = ": ".join(part for part in (f"HTTP {status}" if status else "", reason) if part)
    return FetchError(f"{url} could not be {action}: {show(reason)}", fix=fix, is_passing=is_passing, status=status)


def is_billing_refusal(scheme: str, text: str) -> bool:
    """Whether the text of an obstore error may say that Google wants a project to bill; the answer to HEAD gives no reason."""
    found = _STATUS.search(text)
    if scheme != "gs" or not found or found[1] not in ("400", "403"):
        return False
    return billing.is_project_missing(text) or (found[1] == "400" and _MESSAGE.search(text) is None)


def _suggest_access(scheme: str, text: str) -> Fix:
    """Return what to do about a denied request."""
    fixes: list[Fix] = [credentials.CREDENTIALS_FIX[scheme]]
    if scheme == "s3" and not billing.pays_amazon():
        fixes.append(billing.AMAZON_FIX)
    if scheme == "gs" and billing.is_project_missing(text):
        fixes.insert(0, billing.GOOGLE_FIX)
    return join_advice(fixes)
