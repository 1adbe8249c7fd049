"""Buckets whose readers pay for requests: who is billed.

https://cloud.google.com/storage/docs/requester-pays
https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html
"""

from __future__ import annotations

import os

GOOGLE_FIX = (
    "If the readers of this bucket pay (requester pays), set GOOGLE_CLOUD_QUOTA_PROJECT, or GOOGLE_CLOUD_PROJECT, to the "
    "project of yours that is billed."
)
AMAZON_FIX = "If the readers of this bucket pay (requester pays), set AWS_REQUEST_PAYER=requester: your account is billed."

_ACCEPTED = ("requester", "true", "1", "yes", "on")
_project_buckets: set[str] = set()
"""Buckets of Google's that have asked for a project; it is sent to no other, as it requires a right on that project."""


def find_project() -> str:
    """Return the project that Google is to bill; empty if none is set."""
    return os.environ.get("GOOGLE_CLOUD_QUOTA_PROJECT") or os.environ.get("GOOGLE_CLOUD_PROJECT") or ""


def is_project_missing(text: str) -> bool:
    """Whether an answer of Google's says that a bucket requires a project to bill."""
    return "UserProjectMissing" in text or "requester pays" in text


def send_project(bucket: str) -> bool:
    """Send the project to a bucket from now on; return False if none is set."""
    if not find_project():
        return False
    _project_buckets.add(bucket)
    return True


def stop_sending_project(bucket: str) -> None:
    """Undo ``send_project``."""
    _project_buckets.discard(bucket)


def make_headers(scheme: str, bucket: str) -> dict[str, str]:
    """Return the headers that name the project, for a bucket that has asked for one."""
    project = find_project() if scheme == "gs" and bucket in _project_buckets else ""
    return {"x-goog-user-project": project} if project else {}


def pays_amazon() -> bool:
    """Whether the user accepts to be billed by Amazon, as other programs read that variable."""
    return os.environ.get("AWS_REQUEST_PAYER", "").strip().lower() in _ACCEPTED
