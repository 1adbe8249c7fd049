"""Explains why TensorFlow could not choose a MetaGraph of a SavedModel by its tags: which there are."""

from __future__ import annotations

import re
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LoadError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.loading import remote

_FAILURE = re.compile(
    r"requires a `tags=` argument|argument to `tags`: (?P<new>\[[^\]]*\])|MetaGraphDef associated with tags (?P<old>.*?) could"
)
_LISTED_MAX = 10


def explain(tf: Any, path: str, text: str) -> LoadError | None:
    """Return the error that lists the tags of each MetaGraph; None if TensorFlow failed for another reason."""
    if (failure := _FAILURE.search(text)) is None:
        return None
    found = [sorted(graph.meta_info_def.tags) for graph in remote.read_meta_graphs(tf, path)]
    if not found:
        return None
    lines = [f"  tags: {show(', '.join(tags)) or '(none)'}" for tags in found[:_LISTED_MAX]]
    more = [f"  and {len(found) - _LISTED_MAX} more"] if len(found) > _LISTED_MAX else []
    first, requested = found[0], (failure["new"] or failure["old"] or "").strip("[]")
    reason = f"the SavedModel has {len(found)} MetaGraphs, and tags choose one"
    if failure["new"] or failure["old"] is not None:
        reason = f"no MetaGraph of the SavedModel has just the tags {requested or '(none)'}"
    return LoadError(
        "\n".join([f"TensorFlow cannot load {show(path)}: {show(reason)}", *lines, *more]),
        fix=Advice(
            python=f"Pass the tags of one: load(handle, tags={first!r})",
            command=f"Pass the tags of one: --tags {show(','.join(first)) or repr('')}",
        ),
    )
