"""The page of events, and their JSON schema."""

from __future__ import annotations

import json
from typing import Any

from tools.reference.markdown import GENERATED, make_table

Schema = dict[str, Any]

_HEAD = """# Events

A program can watch what happens to models: `tfimm_resolver.on_event(callback)` calls a function with each event, a
dictionary; `--progress json`, or `TFIMM_RESOLVER_PROGRESS=json`, prints each one as a line of JSON on stderr,
instead of the progress for a person. Then stderr has nothing but such lines, except for what other packages
and wrong options print. The same schema for programs: [event_schemas.json](event_schemas.json).

- A call of `resolve` emits `resolve.start`, then any of the others, and at the end `done` or `error`. So does each
  model that `load`, `sync`, `add` and `export` resolve. Its events have the same `id`.
- A callback may be called from several threads, and the download waits for it. An exception that it raises is logged,
  and ends nothing, unless it is `SystemExit` or `KeyboardInterrupt`, which end the call. To stop a download, set the event
  that `resolve(..., cancel=event)` has.
- New events and fields may be added at any time. `version` is raised if a field changes its meaning or goes.
"""
_SUBSCRIBER = """## Metrics for Prometheus

Counts what was received, and how long models took. It needs `prometheus_client`; the object that `on_event` returns
ends it by `close()`, or at the end of a `with` block.

<!-- not run: it needs prometheus_client -->
```py
import tfimm_resolver
from prometheus_client import Counter, Histogram, start_http_server

resolved = Counter("tfimm_models_resolved", "Models, by how they were provided", ["state"])
received = Counter("tfimm_received_bytes", "Bytes received")
failed = Counter("tfimm_models_failed", "Models that could not be resolved", ["code"])
seconds = Histogram("tfimm_resolve_seconds", "Seconds for a model", buckets=(0.01, 0.1, 1, 10, 60, 600))


def count(event):
    if event["event"] == "done":
        resolved.labels(event["state"]).inc()
        received.inc(event["fetched_bytes"])
        seconds.observe(event["seconds"])
    elif event["event"] == "error":
        failed.labels(event["code"]).inc()


tfimm_resolver.on_event(count)
start_http_server(9100)
```

## Counts of a cache

For each root, hits, misses, and the bytes that were fetched and evicted are counted, by user and machine, below
`~/.local/state/tfimm_resolver` (`XDG_STATE_HOME`). They are approximate: a hit is never written by itself, and a process that
fetches many models writes once in a second and when it ends.
"""


def _text(meaning: str, *, null: bool = False, choices: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"type": ["string", "null"] if null else "string", "description": meaning}
    return {**schema, "enum": [*choices]} if choices else schema


def _number(meaning: str, *, null: bool = False, kind: str = "integer") -> Schema:
    return {"type": [kind, "null"] if null else kind, "minimum": 0, "description": meaning}


def _object(meaning: str, fields: dict[str, Schema]) -> Schema:
    return {"type": "object", "description": meaning, "properties": fields, "required": [*fields]}


_ENVELOPE: dict[str, Schema] = {
    "event": _text("the name of the event"),
    "version": _number("the version of this schema"),
    "time": _text("when, in UTC as in ISO 8601"),
    "id": _text("the call that it belongs to; unknown for work that no call began", null=True),
    "handle": _text("the handle of that call, without secrets", null=True),
}
_SECONDS = _number("the seconds since `resolve.start`", kind="number")
_TOTAL = _number("the size of the download, if it is known", null=True)
EVENTS: dict[str, tuple[str, dict[str, Schema]]] = {
    "resolve.start": ("a model is looked for", {}),
    "lock.wait": ("another process fetches it, which is waited for", {"owner": _text("that process")}),
    "fetch.start": (
        "a download begins",
        {"total_bytes": _TOTAL, "resumed_bytes": _number("what an earlier download has left")},
    ),
    "fetch.bytes": (
        "a download goes on; at most twice a second",
        {"done_bytes": _number("what is received, with what was resumed"), "total_bytes": _TOTAL},
    ),
    "fetch.retry": (
        "a request failed, and is made again",
        {
            "text": _text("what failed"),
            "delay_s": _number("the seconds until then", kind="number"),
            "number": _number("how often it has failed in a row"),
        },
    ),
    "fetch.mirror": ("a source failed, and the next mirror is asked", {"text": _text("what failed")}),
    "verify": (
        "the files are complete and have the hashes that are known",
        {"files": _number("their number"), "size_bytes": _number("their total size")},
    ),
    "publish": (
        "the model is in the cache",
        {"path": _text("its directory or URL"), "size_bytes": _number("its size")},
    ),
    "evict": (
        "something was removed from the cache, for its limits or by `prune`",
        {
            "path": _text("what was removed"),
            "kind": _text("what it was", choices=("model", "replaced copy", "partial download")),
            "size_bytes": _number("its size"),
        },
    ),
    "done": (
        "the call ends",
        {
            "path": _text("its result"),
            "state": _text(
                "how it was provided; `unchanged`: a refresh found the same model",
                choices=("cached", "fetched", "unchanged"),
            ),
            "fetched_bytes": _number("what was received"),
            "seconds": _SECONDS,
        },
    ),
    "error": (
        "the call fails",
        {
            "code": _text("the kind of error, such as `not-found`; `internal` for one of Python"),
            "text": _text("what happened"),
            "fix": _text("what to do; may be empty"),
            "seconds": _SECONDS,
        },
    ),
    "log": (
        "a message for a person, of the command line only; without `id` and `handle`",
        {"level": _text("such as `info`, `warning`, `error`"), "text": _text("the message")},
    ),
}


def make_schemas() -> str:
    """Return the schema of each event, by its name."""
    dialect, schemas = "https://json-schema.org/draft/2020-12/schema", {}
    for name, (meaning, fields) in EVENTS.items():
        envelope = {key: field for key, field in _ENVELOPE.items() if name != "log" or key not in ("id", "handle")}
        schemas[name] = {"$schema": dialect, **_object(meaning, {**envelope, **fields})}
    return json.dumps(schemas, indent=1) + "\n"


def make_page() -> str:
    """Return the page."""
    rows = [[f"`{key}`", _describe(field)] for key, field in _ENVELOPE.items()]
    parts = [_HEAD, "## Fields of every event\n", make_table(["field", "meaning"], rows), "## The events\n"]
    events = [
        [f"`{name}`", meaning, "; ".join(f"`{key}`: {_describe(field)}" for key, field in fields.items())]
        for name, (meaning, fields) in EVENTS.items()
    ]
    parts += [make_table(["event", "when", "fields"], events), _SUBSCRIBER]
    return GENERATED + "\n" + "\n".join(parts)


def _describe(field: dict[str, Any]) -> str:
    choices = ", ".join(f"`{one}`" for one in field.get("enum", ()))
    unknown = " (or null)" if "null" in field["type"] else ""
    return f"{field['description']}{unknown}{': ' * bool(choices)}{choices}"
