"""Requests for small responses, which are kept in memory: of an API, of a redirect that is not followed."""

from __future__ import annotations

from tfimm_resolver._util.threads import call_cancellably
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http import mirrors
from tfimm_resolver.http.authorization import make_auth
from tfimm_resolver.http.retry import retry
from tfimm_resolver.transfer.preconditions import raise_if_local, raise_if_mirrored_post, raise_if_offline


def get_redirect_target(handle: Handle, url: str) -> str | None:
    """Return the body of a 303 response to ``url``, which is not followed; None for any other response.

    Raises:
        FetchError: if no response arrives, or its status is 400 or higher.
    """

    def request(mirrored: str) -> str | None:
        raise_if_local(handle, mirrored)
        raise_if_offline(handle)
        from tfimm_resolver.http.body import read_redirect_target

        return read_redirect_target(mirrored, str(handle))

    return mirrors.try_each(url, lambda mirrored: call_cancellably(lambda: request(mirrored)))


def get_bytes(handle: Handle, url: str, authorization: str = "", post_data: bytes | None = None) -> bytes:
    """Return the body at ``url``, or at a mirror, of at most 64 MiB; the rest is sent to the host of ``url`` only.

    Raises:
        FetchError: if all tries failed.
    """

    def request(mirrored: str) -> bytes:
        raise_if_local(handle, mirrored)
        raise_if_mirrored_post(handle, url, mirrored, post_data)
        raise_if_offline(handle)
        from tfimm_resolver.http.body import read_small_body
        from tfimm_resolver.http.session import Session, warn_if_tls_verification_disabled

        warn_if_tls_verification_disabled()
        with Session(make_auth(url, authorization, post_data) if mirrored == url else None) as session:
            return retry(lambda: call_cancellably(lambda: read_small_body(session, mirrored, str(handle))))

    return mirrors.try_each(url, request)
