"""Parts of JSON schemas, each with a description."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def make_text(meaning: str, *, null: bool = False, choices: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a text."""
    schema: Schema = {"type": ["string", "null"] if null else "string", "description": meaning}
    return {**schema, "enum": [*choices]} if choices else schema


def make_number(meaning: str, *, null: bool = False, kind: str = "integer") -> Schema:
    """Return the schema of a number that is not negative."""
    return {"type": [kind, "null"] if null else kind, "minimum": 0, "description": meaning}


def make_flag(meaning: str) -> Schema:
    """Return the schema of true or false."""
    return {"type": "boolean", "description": meaning}


def make_list(meaning: str, item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item, "description": meaning}


def make_object(meaning: str, fields: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object; fields are required unless they are listed as optional."""
    required = [name for name in fields if name not in optional]
    facts = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return {**facts, "description": meaning}
