"""The page of JSON output, and the JSON schemas of what each command prints with ``--json``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tools.reference.inspect_schema import INSPECTION
from tools.reference.markdown import GENERATED, make_table
from tools.reference.schema import Schema
from tools.reference.schema import make_flag as _flag
from tools.reference.schema import make_list as _list
from tools.reference.schema import make_number as _number
from tools.reference.schema import make_object as _object
from tools.reference.schema import make_text as _text

_HEAD = """# JSON output

With `--json` each command prints one JSON object on stdout; progress stays on stderr. Sizes are whole bytes,
times are UTC as in ISO 8601, and what is not known is `null`. Fields are only ever added. Secrets in texts
are masked; paths are exact. The same schemas for programs: [json_schemas.json](json_schemas.json); the
project's tests compare the output of each command with them.

An error is an object, too: `{"error": {"code": "unknown-handle", "text": "…", "fix": "…"}}`, with the [exit
code](exit_codes.md) of its class. Wrong options have the code `usage` and exit code 2.
"""


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
    "name": _text("the name that every command accepts; one that begins with `hub:` only `keep`, `rm`, `unkeep` and `verify`"),
    "kind": _text("what it is; the hub has fetched repositories and weights", choices=("model", "repository", "weights")),
    "handle": _text("the handle that it was fetched with", null=True),
    "path": _text("its directory, or its URL in a bucket"),
    "extra_root": _text("the read-only root that holds it", null=True),
    "bucket": _text("the bucket behind the local cache that holds it", null=True),
    "size_bytes": _number("the total size of its files"),
    "state": _text("`verify` compares hashes, the other commands sizes", choices=("ok", "damaged", "unverified")),
    "fault": _text("what is damaged, by sizes", null=True),
    "protected": _flag("whether `keep` protects it"),
    "used_at": _text("when it was last used", null=True),
    "fetched_at": _text("when it was fetched", null=True),
    "archive_sha256": _text("the sha256 of the archive that it was unpacked from", null=True),
    "signed_by": _SIGNER,
}
_ITEM_KINDS = ("model", "repository", "weights", "partial download", "replaced copy")
_ITEM: dict[str, Schema] = {
    "name": _text("its name in `ls`; of a partial download of a model that is not cached, the URL"),
    "kind": _text("what it is", choices=_ITEM_KINDS),
    "path": _text("its directory"),
    "size_bytes": _number("the total size of its files"),
    "used_at": _text("when it was last used, or written", null=True),
}
_DRY_RUN = _flag("whether nothing was changed")
_REMOVED: dict[str, Schema] = {**_MODEL, "freed_bytes": _number("what its removal frees, with all of its copies")}
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
_PUBLISHED: dict[str, Schema] = {
    "path": _text("the directory with its saved_model.pb", null=True),
    "version": _number("the number of the version; null without versions", null=True),
    "state": _text("the outcome", choices=("published", "unchanged", "failed")),
    "size_bytes": _number("the total size of its files"),
    "files": _number("how many files it has"),
    "linked_files": _number("how many of them were linked to the cache by this command"),
    "removed_versions": _list("the numbers of old versions that were removed", {"type": "integer"}),
}
_FETCHED: dict[str, Schema] = {
    "handle": _text("the handle"),
    "directory": _text("the directory that was named"),
    **_PUBLISHED,
    "error": ERROR,
}
_ONLY_IF_PUBLISHED = ("size_bytes", "files", "linked_files", "removed_versions")
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
    "state": _text("the outcome", choices=("cached", "fetched", "missing", "changed", "unsigned", "failed")),
    **_PIN,
    "path": _text("its path", null=True),
    "published": _object("with `--layout`: its version in the directory of the server", _PUBLISHED),
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
    "operations_refused": _list("the operations that are refused of it, when, and where that is written", _STRING),
    "load_refused": _text("why the cached model is not loaded though its path may be used", null=True),
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
_PRUNING: dict[str, Schema] = {
    "removed": _list("what was removed, or would be, in order", _object("an item", _ITEM)),
    "spared": _SPARED,
    "before_bytes": _number("the size of the cache before"),
    "after_bytes": _number("its size afterwards"),
    "freed_bytes": _number("the difference"),
    "missing_bytes": _number("what could not be freed although a limit asks for it"),
    "dry_run": _DRY_RUN,
}
_REPOSITORY: dict[str, Schema] = {"repository": _text("the repository"), "entry": _text("the entry point")}
_ADOPTED: dict[str, Schema] = {
    "handle": _text("the handle that it is resolved by"),
    "cache": _text("the tool whose cache it is in", choices=("tfhub", "kagglehub", "huggingface", "tfimm")),
    "found": _text("its directory in that cache"),
    "state": _text("the outcome", choices=("adopted", "cached", "skipped", "failed")),
    "size_bytes": _number("the total size of its files; 0 unless it was adopted"),
    "method": _text("how its files were taken: `reflink`, `hard link`, `copy` or `in place`", null=True),
    "path": _text("its directory in the cache, if it was adopted now", null=True),
    "reason": _text("why it was skipped", null=True),
    "error": ERROR,
}
_FINDING = _object(
    "a finding",
    {
        "code": _text("names the check"),
        "text": _text("what was found"),
        "fix": _text("what to do"),
    },
)
_YES_OR_NO: Schema = {"type": ["boolean", "null"]}


def _known_flag(meaning: str) -> Schema:
    return {**_YES_OR_NO, "description": meaning}


_DIRECTORY = _object(
    "a cache directory",
    {
        "kinds": _list("what it is used for: `urls`, `names`, `hub`", _STRING),
        "path": _text("the directory or bucket"),
        "source": _text("the setting that chose it"),
        "exists": _flag("whether it exists"),
        "stale_locks": _number("lock files that dead processes have left"),
        "unfinished_downloads": _number("partial downloads in it"),
        "file_system": _text("the type of its file system", null=True),
        "total_bytes": _number("the size of its disk", null=True),
        "free_bytes": _number("what this user may still write to its disk", null=True),
        "free_files": _number("how many more files its disk can hold", null=True),
        "is_writable": _flag("whether this user can write to it, or create it"),
        "has_locks": _known_flag("whether its file system has kernel locks"),
        "has_hard_links": _known_flag("whether a file can have two names"),
        "renames_directories": _known_flag("whether a directory can be renamed"),
        "is_case_sensitive": _known_flag("whether `A` and `a` are two files"),
        "clock_offset_s": {
            "type": ["number", "null"],
            "description": "how many seconds this machine's clock is ahead of the one that stamps its files",
        },
        "lower_trees": _number("models in a lower layer of an image"),
    },
)


def _map(meaning: str, *, null: bool = False) -> Schema:
    return {
        "type": "object",
        "additionalProperties": {"type": ["string", "null"] if null else "string"},
        "description": meaning,
    }


_ENVIRONMENT: dict[str, Schema] = {
    "tfimm_resolver": _text("the version of this package"),
    "python": _text("the version of Python"),
    "implementation": _text("the kind of Python"),
    "platform": _text("the operating system and processor"),
    "executable": _text("the Python interpreter"),
    "packages": _map("versions of installed packages", null=True),
    "plugin": _object(
        "the plug-in for tensorflow_hub",
        {
            "registered": _flag("whether tensorflow_hub uses this package"),
            "resolvers": _list("those registered with tensorflow_hub, if it was imported", _STRING),
            "schemes": _list("schemes of handles that other packages handle", _STRING),
        },
    ),
    "roots": _list("the cache directories", _DIRECTORY),
    "extra_roots": _list("read-only directories that are searched first", _STRING),
    "models_files": _list("the models files in use", _STRING),
    "config_file": _text("the settings file, if it exists", null=True),
    "limits": _map("the value of each limit of the cache that is set, with where it is set"),
    "models": _object(
        "what is cached",
        {
            "count": _number("how many models"),
            "size_bytes": _number("their total size"),
            "damaged": _number("how many are damaged, by sizes"),
        },
    ),
    "offline": _flag("whether network access is switched off"),
    "tls_verified": _flag("whether certificates are verified"),
    "ca_sources": _text("where trusted certificates are read"),
    "proxies": _list(
        "the proxies in use",
        _object(
            "a proxy",
            {
                "variable": _text("the variable that names it"),
                "url": _text("its URL, without a login"),
                "has_login": _flag("whether the variable has a login"),
            },
        ),
    ),
    "mirrors": _text("the mirrors of hosts", null=True),
    "credentials": _list("variables and files with credentials, by name only", _STRING),
    "variables": _map("variables that are set; secrets are left out"),
}

SCHEMAS: dict[str, Schema] = {
    "resolve": _object("the paths", {"models": _list("one for each handle", _RESOLVED), "error": _FIRST_ERROR}, ("error",)),
    "fetch": _object(
        "the outcome",
        {
            "models": _list("one for each handle", _object("a model", _FETCHED, (*_ONLY_IF_PUBLISHED, "error"))),
            "error": _FIRST_ERROR,
        },
        ("error",),
    ),
    "load": _object(
        "the loaded model",
        {
            "handle": _text("the handle"),
            "path": _text("its path"),
            "signatures": {"type": "object", "additionalProperties": _SIGNATURE, "description": "each signature, by name"},
            "variables": _list("the variables, by device", _DEVICE),
        },
    ),
    "ls": _object("the cached models", {"models": _list("in the order of `--sort`", _object("a model", _MODEL))}),
    "du": _object(
        "the use of the disk",
        {
            "root": _text("the directory or bucket of the cache"),
            "items": _list("what it holds, the largest first", _object("an item", _ITEM)),
            "kinds": _list(
                "the sums",
                _object(
                    "a sum",
                    {
                        "kind": _text("the kind of items", choices=_ITEM_KINDS),
                        "count": _number("how many there are"),
                        "size_bytes": _number("their total size"),
                    },
                ),
            ),
            "total_bytes": _number("the size of the cache, as its limit counts it"),
            "named_bytes": _number("the size of models that are stored under their names, which no limit counts"),
            "max_bytes": _number("the limit of the cache", null=True),
            "free_bytes": _number("free space on its disk", null=True),
            "counters": _object(
                "rough counts, by this user on this machine",
                {
                    "hits": _number("how often a model was found"),
                    "misses": _number("how often one was fetched"),
                    "fetched_bytes": _number("the size of what was fetched"),
                    "evicted_bytes": _number("the size of what a limit removed"),
                },
            ),
        },
    ),
    "rm": _object(
        "the outcome",
        {
            "removed": _list("each removed copy, as it was", _object("a model", _REMOVED)),
            "freed_bytes": _number("the sum"),
            "dry_run": _DRY_RUN,
            "error": _FIRST_ERROR,
        },
        ("error",),
    ),
    "prune": _object("the outcome", _PRUNING),
    "keep": _object("what is never evicted from now on", {"models": _list("the models", _object("a model", _MODEL))}),
    "unkeep": _object("what may be evicted again", {"models": _list("the models", _object("a model", _MODEL))}),
    "inspect": INSPECTION,
    "verify": _object(
        "the outcome",
        {"models": _list("one for each model", _object("a model", _VERIFIED, ("repaired", "changed", "error")))},
    ),
    "adopt": _object(
        "the outcome",
        {
            "models": _list("one for each model that was found", _object("a model", _ADOPTED, ("error",))),
            "adopted_bytes": _number("the total size of what was adopted, or would be"),
            "dry_run": _flag("whether nothing was changed"),
            "error": _FIRST_ERROR,
        },
        ("error",),
    ),
    "add": _object("the entry that was written", _ADDED, ("subdirectory",)),
    "lock": _object(
        "the outcome",
        {"models": _list("one for each name", _object("a model", _LOCKED, ("error",))), "error": _FIRST_ERROR},
        ("error",),
    ),
    "sync": _object(
        "the outcome",
        {
            "models": _list("one for each name", _object("a model", _SYNCED, ("published", "error"))),
            "models_config": _text("with `--layout`: the file that lists the models for the server"),
            "error": _FIRST_ERROR,
        },
        ("models_config", "error"),
    ),
    "why": _object("the explanation", _WHY, ("subdirectory", "error")),
    "explain": _object(
        "the explanations",
        {
            "exit_code": _number("the exit code that was asked for"),
            "meaning": _text("what the exit code means"),
            "errors": _list(
                "the errors, in the order of their exit codes",
                _object(
                    "an error",
                    {
                        "name": _text("the name of its class"),
                        "code": _text("the kind of error, as `error.code`"),
                        "exit_code": _number("the exit code"),
                        "text": _text("what it means and what to do about it"),
                    },
                ),
            ),
            "check": _object(
                "a code of `doctor`",
                {"code": _text("the code that was asked for"), "text": _text("what `doctor` finds")},
            ),
        },
        ("exit_code", "meaning", "check"),
    ),
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
                _object("a model", {**_BUNDLED, "state": _text("the outcome", choices=("imported", "cached", "kept"))}),
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
    "doctor": _object(
        "what was found",
        {
            "problems": _list("what is wrong", _FINDING),
            "notes": _list("what may be intended", _FINDING),
            "environment": _object("the facts that `env` prints", _ENVIRONMENT),
        },
    ),
    "env": _object(
        "the facts; the home directory is written as ~",
        {**_ENVIRONMENT, "problems": _list("what is wrong, each with the name of the check", _STRING)},
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
    "hub trust list": _object("the trusted repositories", {"repositories": _list("each with its host", _STRING)}),
    "hub trust revoke": _object(
        "the outcome", {"revoked": _list("the repositories, each with its host", _STRING), "dry_run": _DRY_RUN}
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
