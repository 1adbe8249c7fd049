"""URLs of objects at Google's and Amazon's hosts: what is denied or not found there may be right as a handle of the bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.urls import STORE_HOST_ENDS, has_signature
from tfimm_resolver.errors import AccessError, NotFoundError
from tfimm_resolver.errors.advice import join_advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import get_model_directory

_HOST_ENDS = (*STORE_HOST_ENDS, "storage.cloud.google.com")


@contextlib.contextmanager
def suggest_bucket_handle(handle: Handle) -> Iterator[None]:
    """Add the bucket's handle to the advice of an AccessError or NotFoundError; it is read with the user's credentials."""
    try:
        yield
    except (AccessError, NotFoundError) as error:
        if not handle.host.endswith(_HOST_ENDS) or has_signature(handle.query) or _is_graph(handle):
            raise  # for a graph, its directory is suggested elsewhere
        from tfimm_resolver.handles import buckets

        meant = buckets.find_bucket_handle(f"{handle.host.rpartition('@')[2]}{handle.path}")
        if meant is None:
            raise
        kind = "To read it with your credentials" if handle.is_archive else "If it is a directory in a bucket"
        raise error.with_message(error.text, join_advice([error.advice, f"{kind}, write {show(meant)}"])) from error


def _is_graph(handle: Handle) -> bool:
    return get_model_directory(handle.path) != handle.path
