"""Explains why TensorFlow could not choose a MetaGraph of a SavedModel by its tags: which there are."""

from __future__ import annotations

import re
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LoadError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.loading import remote

_FAILURE = re.compile(r"requires a `tags=` argument|argument to `tags`|MetaGraphDef associated with tags")
_LISTED_MAX = 10


def explain(tf: Any, path: str, text: str) -> LoadError | None:
    """Return the error that lists the tags of each MetaGraph; None if TensorFlow failed for another reason."""
    if not _FAILURE.search(text):
        return None
    found = [sorted(graph.meta_info_def.tags) for graph in remote.read_meta_graphs(tf, path)]
    if not found:
        return None
    lines = [f"  tags: {show(', '.join(tags)) or '(none)'}" for tags in found[:_LISTED_MAX]]
    more = [f"  and {len(found) - _LISTED_MAX} more"] if len(found) > _LISTED_MAX else []
    count = "one MetaGraph, which has other tags" if len(found) == 1 else f"{len(found)} MetaGraphs, and tags choose one"
    first = found[0]
    return LoadError(
        "\n".join([f"TensorFlow cannot load {show(path)}: the SavedModel has {count}", *lines, *more]),
        fix=Advice(python=f"Pass the tags of one: load(handle, tags={first!r})", command=f"--tags '{show(','.join(first))}'"),
    )
