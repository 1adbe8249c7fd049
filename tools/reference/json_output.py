"""The page of JSON output, and the JSON schemas of what each command prints with ``--json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tools.reference.markdown import GENERATED, make_table

Schema = dict[str, Any]

_HEAD = """# JSON output

With `--json` each command prints one JSON object on stdout; progress stays on stderr. Sizes are whole bytes,
times are UTC as in ISO 8601, and what is not known is `null`. Fields are only ever added. Secrets in texts
are masked; paths are exact. The same schemas for programs: [json_schemas.json](json_schemas.json); the
project's tests compare the output of each command with them.

An error is an object, too: `{"error": {"code": "unknown-handle", "text": "…", "fix": "…"}}`, with the [exit
code](exit_codes.md) of its class. Wrong options have the code `usage` and exit code 2.
"""


def _text(meaning: str, *, null: bool = False, choices: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"type": ["string", "null"] if null else "string", "description": meaning}
    return {**schema, "enum": [*choices]} if choices else schema


def _number(meaning: str, *, null: bool = False, kind: str = "integer") -> Schema:
    return {"type": [kind, "null"] if null else kind, "minimum": 0, "description": meaning}


def _flag(meaning: str) -> Schema:
    return {"type": "boolean", "description": meaning}


def _list(meaning: str, item: Schema) -> Schema:
    return {"type": "array", "items": item, "description": meaning}


def _object(meaning: str, fields: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in fields if name not in optional]
    facts = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return {**facts, "description": meaning}


_STRING = {"type": "string"}
_PIN: dict[str, Schema] = {
    "sha256": _text("the sha256 of the pin", null=True),
    "size_bytes": _number("the size of the archive by the pin", null=True),
}
ERROR = _object(
    "why it failed",
    {
        "code": _text("the kind of error, such as `not-found`"),
        "text": _text("what was asked, what happened, and where the package looked"),
        "fix": _text("what to do; empty if no remedy is known"),
    },
)
_SIGNER: Schema = {
    **_object(
        "who signed it, as it was verified; null if no signature was required",
        {
            "kind": _text("how", choices=("key", "certificate", "sigstore")),
            "trusted_sha256": _text("the sha256 of the trusted key or certificate, DER", null=True),
            "identity": _text("the name of the signer in the certificate", null=True),
            "issuer": _text("what confirmed the identity", null=True),
            "verified_at": _text("when it was verified", null=True),
            "bundle_sha256": _text("the sha256 of the signature", null=True),
        },
    ),
    "type": ["object", "null"],
}
_MODEL: dict[str, Schema] = {
    "name": _text("the name that every command accepts"),
    "handle": _text("the handle that it was fetched with", null=True),
    "path": _text("its directory, or its URL in a bucket"),
    "extra_root": _text("the read-only root that holds it", null=True),
    "bucket": _text("the bucket behind the local cache that holds it", null=True),
    "size_bytes": _number("the total size of its files"),
    "state": _text("`verify` compares hashes, the other commands sizes", choices=("ok", "damaged", "unverified")),
    "fault": _text("what is damaged, by sizes", null=True),
    "used_at": _text("when it was last resolved", null=True),
    "fetched_at": _text("when it was fetched", null=True),
    "archive_sha256": _text("the sha256 of the archive that it was unpacked from", null=True),
    "signed_by": _SIGNER,
}
_VERIFIED: dict[str, Schema] = {
    **_MODEL,
    "state": _text("the outcome", choices=("ok", "damaged", "unsigned", "unverified")),
    "faults": _list("a message for each file that is not as recorded, or why a signature is not valid", _STRING),
    "files": _number("the number of its files"),
    "seconds": _number("how long it took", kind="number"),
    "repaired": _flag("with `--repair`: whether it was fetched again"),
    "changed": _flag("with `--repair`: whether a different archive was fetched"),
    "error": ERROR,
}
_LISTED: dict[str, Schema] = {
    "name": _text("the name in the models file"),
    "handle": _text("the handle, without secrets"),
    "file": _text("the models file"),
}
_DEVICE = _object(
    "variables on one device",
    {
        "device": _text("the device"),
        "count": _number("how many variables it holds"),
        "size_bytes": _number("their total size"),
    },
)
_TENSOR = _object(
    "a tensor",
    {
        "name": _text("its name"),
        "dtype": _text("its data type"),
        "shape": {
            "type": ["array", "null"],
            "items": {"type": ["integer", "null"]},
            "description": "its shape; null if the rank is not known",
        },
    },
)
_SIGNATURE = _object("a signature", {"inputs": _list("its inputs", _TENSOR), "outputs": _list("its outputs", _TENSOR)})
_ROOT = _object(
    "a cache directory",
    {
        "path": _text("the directory or bucket", null=True),
        "source": _text("the setting that chose it"),
        "free_bytes": _number("free space on its disk", null=True),
    },
)
_BUNDLED: dict[str, Schema] = {
    "handle": _text("the handle"),
    "path": _text("the path in the cache"),
    "size_bytes": _number("the total size of its files"),
    "fetched_at": _text("when it was fetched", null=True),
    "archive_sha256": _text("the sha256 of its archive", null=True),
}
_FIRST_ERROR = _object("the first error", ERROR["properties"])
_RESOLVED = _object(
    "one handle", {"handle": _text("the handle"), "path": _text("its path", null=True), "error": ERROR}, ("error",)
)
_LOCKED: dict[str, Schema] = {
    **_LISTED,
    "state": _text("the outcome", choices=("ok", "pinned", "unpinned", "changed", "updated", "unverified", "failed")),
    **_PIN,
    "upstream_sha256": _text("the sha256 of the archive upstream", null=True),
    "upstream_size_bytes": _number("the size of the archive upstream", null=True),
    "error": ERROR,
}
_SYNCED: dict[str, Schema] = {
    **_LISTED,
    "state": _text("the outcome", choices=("cached", "fetched", "missing", "changed", "failed")),
    **_PIN,
    "path": _text("its path", null=True),
    "error": ERROR,
}
_WHY: dict[str, Schema] = {
    "asked": _text("the name or handle that was asked for"),
    "path": _text("its path; null if it is not cached, or unknown without the network", null=True),
    "rule": _text("the rule that decides"),
    "said_by": _text("what made the rule decide: a file and line, or a setting"),
    "handle": _text("the handle that it stands for"),
    "subdirectory": _text("the directory in the model that was asked for"),
    **_PIN,
    "signature_required": _list("the signatures that it must have, and where that is written", _STRING),
    "signed_by": _SIGNER,
    "not_used": _list(
        "other locations",
        _object("a location", {"place": _text("the location"), "reason": _text("why it is not used")}),
    ),
    "error": ERROR,
}
_STEP = _object(
    "a step",
    {
        "name": _text("what was done"),
        "result": _text("the outcome"),
        "size_bytes": _number("how much was downloaded"),
        "seconds": _number("how long it took", kind="number"),
    },
)
_ADDED: dict[str, Schema] = {
    "name": _text("the name"),
    "handle": _text("the handle"),
    **_PIN,
    "subdirectory": _text("the directory in the model"),
    "aliases": _list("other names", _STRING),
    "mirrors": _list("other handles of the same archive", _STRING),
    "file": _text("the models file"),
    "path": _text("the path of the model"),
}
_SPARED = {
    "type": "object",
    "additionalProperties": {"type": "integer"},
    "description": "how many models were spared, by reason, such as `in_use`",
}
_PRUNED: dict[str, Schema] = {
    "name": _text("the name of the model"),
    "kind": _text("what it is", choices=("model", "replaced copy", "partial download")),
    "path": _text("its path"),
    "size_bytes": _number("its size"),
    "used_at": _text("when it was last used"),
}
_PRUNING: dict[str, Schema] = {
    "removed": _list("what was removed, or would be, in order", _object("an item", _PRUNED)),
    "spared": _SPARED,
    "before_bytes": _number("the size of the cache before"),
    "after_bytes": _number("its size afterwards"),
    "freed_bytes": _number("the difference"),
    "missing_bytes": _number("what could not be freed although a limit asks for it"),
    "dry_run": _flag("whether nothing was removed"),
}
_REPOSITORY: dict[str, Schema] = {"repository": _text("the repository"), "entry": _text("the entry point")}

SCHEMAS: dict[str, Schema] = {
    "resolve": _object("the paths", {"models": _list("one for each handle", _RESOLVED), "error": _FIRST_ERROR}, ("error",)),
    "load": _object(
        "the loaded model",
        {
            "handle": _text("the handle"),
            "path": _text("its path"),
            "signatures": {"type": "object", "additionalProperties": _SIGNATURE, "description": "each signature, by name"},
            "variables": _list("the variables, by device", _DEVICE),
        },
    ),
    "ls": _object("the cached models", {"models": _list("sorted by name", _object("a model", _MODEL))}),
    "rm": _object(
        "the outcome",
        {"removed": _list("each removed copy, as it was", _object("a model", _MODEL)), "error": _FIRST_ERROR},
        ("error",),
    ),
    "prune": _object("the outcome", _PRUNING),
    "keep": _object("what is never evicted from now on", {"models": _list("the models", _object("a model", _MODEL))}),
    "unkeep": _object("what may be evicted again", {"models": _list("the models", _object("a model", _MODEL))}),
    "verify": _object(
        "the outcome",
        {"models": _list("one for each model", _object("a model", _VERIFIED, ("repaired", "changed", "error")))},
    ),
    "add": _object("the entry that was written", _ADDED, ("subdirectory",)),
    "lock": _object(
        "the outcome",
        {"models": _list("one for each name", _object("a model", _LOCKED, ("error",))), "error": _FIRST_ERROR},
        ("error",),
    ),
    "sync": _object(
        "the outcome",
        {"models": _list("one for each name", _object("a model", _SYNCED, ("error",))), "error": _FIRST_ERROR},
        ("error",),
    ),
    "why": _object("the explanation", _WHY, ("subdirectory", "error")),
    "sign": _object(
        "the signature",
        {
            "signature": _text("its path"),
            "model": _text("the directory or file that was signed"),
            "files": _number("how many files were signed"),
            "key_sha256": _text("the sha256 of the public key, DER"),
        },
    ),
    "sbom": _object("the bill of materials, with `-o`; without it, it is printed itself", {"sbom": _text("its path")}),
    "export": _object(
        "the bundle",
        {
            "bundle": _text("its path"),
            "sha256": _text("its sha256"),
            "size_bytes": _number("its size"),
            "models": _list("the models in it", _object("a model", _MODEL)),
        },
    ),
    "import": _object(
        "the outcome",
        {
            "models": _list(
                "the models in the bundle",
                _object("a model", {**_BUNDLED, "state": _text("the outcome", choices=("imported", "same", "kept"))}),
            )
        },
    ),
    "path": _object(
        "the directories in use",
        {
            "urls": _ROOT,
            "names": _ROOT,
            "hub": _ROOT,
            "copies": _ROOT,
            "models_files": _list(
                "the models files",
                _object("a file", {"path": _text("its path"), "source": _text("the setting that chose it")}),
            ),
            "extra": _list(
                "the read-only extra roots",
                _object("a root", {"path": _text("its path"), "is_there": _flag("whether it exists")}),
            ),
        },
        ("copies",),
    ),
    "hub list": _object("the entry points", {"repository": _text("the repository"), "entries": _list("their names", _STRING)}),
    "hub help": _object("the documentation", {**_REPOSITORY, "help": _text("the docstring", null=True)}),
    "hub load": _object(
        "the model",
        {
            **_REPOSITORY,
            "path": _text("the directory of the repository"),
            "type": _text("the class of the model"),
            "variables": _list("the variables, by device", _DEVICE),
        },
    ),
    "demo": _object("the steps", {"steps": _list("in their order", _STEP)}),
}


def make_schemas() -> str:
    """Return all schemas as one JSON object: the schema by the name of the command."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    facts = {name: {"$schema": dialect, **schema} for name, schema in SCHEMAS.items()}
    return json.dumps({**facts, "error": {"$schema": dialect, **_object("an error", {"error": ERROR})}}, indent=1) + "\n"


def make_page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, schema in SCHEMAS.items():
        rows = [[f"`{path}`", kind, meaning] for path, kind, meaning in _iterate_fields(schema, "")]
        parts += [f"## {name}\n", make_table(["field", "type", "meaning"], rows)]
    return GENERATED + "\n" + "\n".join(parts)


def _iterate_fields(schema: Schema, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and meaning of each field, and those of the objects in it; an error's fields are explained once."""
    for name, field in schema.get("properties", {}).items():
        optional = name not in schema["required"]
        path = f"{prefix}{name}"
        meaning = field["description"] + (f": {', '.join(f'`{one}`' for one in field['enum'])}" if "enum" in field else "")
        yield path, _format_type(field), f"{'optional: ' * optional}{meaning}"
        item = field.get("items", field)
        if name != "error":
            yield from _iterate_fields(item, f"{path}[]." if "items" in field else f"{path}.")
            if isinstance(field.get("additionalProperties"), dict):
                yield from _iterate_fields(field["additionalProperties"], f"{path}.NAME.")


def _format_type(field: Schema) -> str:
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(kinds)
