"""One HTTP request and its response: sessions, retries, credentials, mirrors, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.http.body import ResponseBody
    from tfimm_resolver.http.retry import RetryPolicy
    from tfimm_resolver.http.session import Session
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ResponseBody": "tfimm_resolver.http.body",
            "RetryPolicy": "tfimm_resolver.http.retry",
            "Session": "tfimm_resolver.http.session",
        },
    )

__all__ = [
    "ResponseBody",
    "RetryPolicy",
    "Session",
]
