"""URLs of a graph, ``.../saved_model.pb``, which is one file of a model: names the handle of the model, where one is known."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError, IntegrityError
from tfimm_resolver.handles.git import format_github_handle
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS, Handle
from tfimm_resolver.handles.hugging_face import format_hugging_face_handle
from tfimm_resolver.manifest import get_model_directory

# Compiled when used: each download from a page of TF Hub's protocol comes here.
_GITHUB_PAGE = r"/(?P<repo>[^/]+/[^/]+)/(?:blob|raw|tree)/(?P<ref>[^/]+)(?:/(?P<folder>.*))?"
_GITHUB_RAW = r"/(?P<repo>[^/]+/[^/]+)/(?:refs/heads/)?(?P<ref>[^/]+)(?:/(?P<folder>.*))?"
_HUGGING_FACE = r"/(?P<repo>[^/]+/[^/]+)/(?:blob|raw|resolve)/(?P<ref>[^/]+)(?:/(?P<folder>.*))?"


@contextlib.contextmanager
def explain_errors(handle: Handle) -> Iterator[None]:
    """Add to the error for the URL of a graph which handle stands for the model."""
    try:
        yield
    except FetchError as error:
        if isinstance(error, IntegrityError) or get_model_directory(handle.path) == handle.path:
            raise
        raise _explain(handle, error) from error


def _explain(handle: Handle, error: FetchError) -> FetchError:
    name = handle.path.rpartition("/")[2]
    text = f"{error.text}\n  {show(name)} is one file of a SavedModel, which is a directory"
    if (model := suggest_handle(handle)) is None:
        return error.with_message(text, "Use the URL of an archive of that directory: .tar.gz or .zip.")
    return error.with_message(text, f"Use the handle of the model: {show(model)}")


def suggest_handle(handle: Handle) -> str | None:
    """Return the handle of the model whose graph is at a URL; None if the host has no directories that can be listed."""
    host, path = handle.host.rpartition("@")[2], get_model_directory(handle.path)
    pattern = {"github.com": _GITHUB_PAGE, "raw.githubusercontent.com": _GITHUB_RAW}.get(host)
    if pattern and (found := re.fullmatch(pattern, path)):
        return format_github_handle(found["repo"], found["ref"], found["folder"])
    if host in HUGGING_FACE_HOSTS and (found := re.fullmatch(_HUGGING_FACE, path)):
        return format_hugging_face_handle(found["repo"], found["ref"], found["folder"])
    from tfimm_resolver.handles import buckets

    return buckets.find_bucket_handle(f"{host}{path}")
