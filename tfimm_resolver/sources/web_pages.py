"""Pages of well-known hosts that show a model or a file: refused before any request, with the handle to use instead."""

from __future__ import annotations

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle

SCHEMES = ("http", "https")

HOSTS = (
    *("github.com", "www.github.com", "gist.github.com", "huggingface.co", "www.huggingface.co", "hf.co", "gitlab.com"),
    *("bitbucket.org", "www.kaggle.com", "kaggle.com", "tfhub.dev", "drive.google.com", "www.dropbox.com"),
    *("console.cloud.google.com", "console.aws.amazon.com", "s3.console.aws.amazon.com"),
)
"""Hosts whose pages ``handles.pages`` recognizes; here, as that module is imported for them only."""


def plan(handle: Handle) -> None:
    """Return None, as a page is not a model.

    Raises:
        HandleError: if the handle is the URL of a page; the advice names the handle or the URL to use.
    """
    host = handle.host.rpartition("@")[2]
    if host not in HOSTS:
        return
    from tfimm_resolver.handles import pages

    page = pages.find_page(f"{handle.scheme}://{host}{handle.path}?{handle.query}")
    if page is not None:
        raise HandleError(f"{handle} is the page of {page.title}, not the URL of a download", fix=page.advice)
