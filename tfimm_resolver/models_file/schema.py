"""Parses and validates a models file: names for handles, with pins and mirrors; every error names the line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import repr_fields, show
from tfimm_resolver._util.toml import parse_toml
from tfimm_resolver._util.toml_lines import LineFinder
from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.errors import HandleError, ModelsFileError
from tfimm_resolver.errors.advice import Advice, Fix
from tfimm_resolver.errors.os_errors import map_resource_errors
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.sha256 import parse_sha256
from tfimm_resolver.trust.operation_policy import Policy, parse_policy
from tfimm_resolver.trust.policy import Requirement
from tfimm_resolver.trust.signer import FORM as SIGNER_FORM
from tfimm_resolver.trust.signer import Signer, parse_signature, parse_signer

MAX_BYTES = 1 << 20
"""Limit on the size of a models file, which has 25,000 models then and takes a second to parse."""

KEYS = ("handle", "sha256", "size_bytes", "aliases", "mirrors", "subdirectory", "signature", "signer", "ops")

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """The entry for one name in a models file.

    Attributes:
        handle: a URL or an absolute path.
        file: the models file that has the entry.
        sha256: the hash of the archive; None if it is not pinned.
        size_bytes: the size of the archive; None if it is not stated.
        mirrors: other handles of the same archive, accepted only if ``sha256`` matches.
        subdirectory: the directory to use of what the handle stands for; None for no choice.
        signer: whose signature the model must have; None if none is required.
        signature: the path or the URL of the bundle with the signature; empty if the model contains it.
        ops: which of its operations are refused; None if none is.

    Example:
        >>> from tfimm_resolver import project
        >>> model = project.add("half", "https://models.example/half_plus_two/1.tar.gz").model
        >>> model.name, model.handle, model.aliases
        ('half', 'https://models.example/half_plus_two/1.tar.gz', ())
    """

    name: str
    handle: str
    file: str
    sha256: str | None = None
    size_bytes: int | None = None
    aliases: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    subdirectory: str | None = None
    signer: Signer | None = None
    signature: str = ""
    ops: Policy | None = None

    __repr__ = repr_fields

    @property
    def requirement(self) -> Requirement | None:
        """The signature that is required; None if none is."""
        return Requirement(self.signer, self.signature, f"{self.name} in {self.file}") if self.signer else None

    @property
    def redacted_handle(self) -> str:
        """The handle without anything that may be a secret."""
        return str(Handle.parse(self.handle))

    def parse_handle(self, sha256: str | None = None) -> Handle:
        """Return the handle with its subdirectory and its pin, the given ``sha256``, else the entry's; raises HandleError."""
        handle, subdirectory = Handle.parse(self.handle, sha256=sha256 or self.sha256), self.subdirectory or ""
        return handle if handle.subdirectory == subdirectory else replace(handle, subdirectory=subdirectory)

    def parse_mirrors(self, sha256: str | None) -> tuple[Handle, ...]:
        """Return the mirrors, each with that pin; raises HandleError if one is not valid."""
        return tuple(Handle.parse(mirror, sha256=sha256) for mirror in self.mirrors)

    @property
    def location(self) -> str:
        """Where the entry is, as ``FILE:LINE``."""
        try:
            text = fs.read_regular(self.file, MAX_BYTES, follow=True).decode()
            return f"{self.file}:{LineFinder(text).find(('models', self.name))}"
        except (OSError, ValueError, RecursionError):
            return self.file


def parse(text: str, path: str) -> dict[str, ModelEntry]:
    """Return the entries of a models file by name and by alias; ``text`` is, or will be, the content of ``path``.

    Raises:
        ModelsFileError: if it is not TOML, or not valid as a models file; the message names the line.
    """
    with map_resource_errors(ModelsFileError, f"{path} cannot be read"):
        return _Reader(path, text).read_entries()


def check_name(name: object) -> str:
    """Return the name if it is valid in a models file.

    Raises:
        HandleError: if it is a URL, a path or empty, or ends in a pin or a subdirectory.
    """
    fix = "A name is one word: without blanks, /, \\, #sha256= and #subdirectory=, and not a URL."
    try:
        handle = Handle.parse(name if isinstance(name, str) else "")
    except HandleError as error:
        raise HandleError(f"{name!r:.80} is not a valid model name", fix=fix) from error
    if not handle.is_name or handle.text != name or "\\" in handle.text or len(handle.text.split()) != 1:
        raise HandleError(f"{name!r:.80} is not a valid model name", fix=fix)
    return handle.text


class _Reader:
    """Reads one models file."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text

    def read_entries(self) -> dict[str, ModelEntry]:
        """Return each entry by its name and its aliases."""
        try:
            table = parse_toml(self._text)
        except (ValueError, RecursionError) as error:
            reason, _, position = str(error).partition(" (at ")
            line = re.match(r"line (\d+)", position)
            number = line[1] if line else self._text.rstrip().count("\n") + 1
            raise ModelsFileError(
                f"{show(self._path)}:{number}: {show(reason)}", fix="Correct the file: it is not valid TOML."
            ) from error
        self._check_keys((), table, ("models",))
        entries: dict[str, ModelEntry] = {}
        for name in self._expect_type(("models",), table.get("models", {}), dict, "a table"):
            entry = self._read_entry(name, table["models"][name])
            for key in (name, *entry.aliases):
                if key in entries:
                    text = f'"{show(key)}" means {entries[key].name} already'
                    raise self._make_error(("models", name), text, "Choose another name.")
                entries[key] = entry
        return entries

    def _read_entry(self, name: str, value: object) -> ModelEntry:
        keys = ("models", name)
        self._read_name(keys, name)
        table = self._expect_type(keys, value, dict, f"a table with {KEYS[0]}")
        self._check_keys(keys, table, KEYS)
        if "handle" not in table:
            raise self._make_error(keys, f"{show(name)} has no handle", 'Write handle = "URL or path" below its name.')
        sha256 = self._read_value(keys, table, "sha256", self._read_sha256, None)
        size_bytes = self._read_value(keys, table, "size_bytes", self._read_size_bytes, None)
        if size_bytes is not None and sha256 is None:
            lock = Advice(python="project.lock()", command=f"tfimm-resolver lock {show(name)}")
            fix = lock.convert(lambda run: f"Remove the size_bytes, then run `{run}`, which writes both.")
            raise self._make_error((*keys, "size_bytes"), "a size alone is not a pin", fix)
        signer = self._read_value(keys, table, "signer", self._read_signer, None)
        if "signature" in table and signer is None:
            raise self._make_error((*keys, "signature"), "a signature needs a signer", SIGNER_FORM)
        return ModelEntry(
            name=name,
            handle=self._read_handle((*keys, "handle"), table["handle"]),
            file=self._path,
            sha256=sha256,
            size_bytes=size_bytes,
            aliases=self._read_value(keys, table, "aliases", self._read_list(self._read_name), ()),
            mirrors=self._read_value(keys, table, "mirrors", self._read_list(self._read_handle), ()),
            subdirectory=self._read_value(keys, table, "subdirectory", self._read_subdirectory, None),
            signer=signer,
            signature=self._read_value(keys, table, "signature", self._read_signature, ""),
            ops=self._read_value(keys, table, "ops", self._read_policy, None),
        )

    def _read_value(
        self, keys: tuple[str, ...], table: dict[str, Any], key: str, read: Callable[..., _Value], default: _Value
    ) -> _Value:
        return read((*keys, key), table[key]) if key in table else default

    def _read_list(self, read: Callable[..., str]) -> Callable[..., tuple[str, ...]]:
        return lambda keys, value: tuple(read(keys, item) for item in self._expect_type(keys, value, list, "a list of texts"))

    def _read_name(self, keys: tuple[str, ...], value: object) -> str:
        try:
            return check_name(value)
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error

    def _read_handle(self, keys: tuple[str, ...], value: object) -> str:
        text = self._expect_type(keys, value, str, "a text")
        try:
            handle = Handle.parse(text)
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error
        if handle.sha256 is not None:
            raise self._make_error(keys, f"{handle} ends in a pin", 'Write sha256 = "..." beside it.')
        if handle.subdirectory:
            written = f"subdirectory = {json.dumps(handle.subdirectory)}"
            raise self._make_error(keys, f"{handle} ends in a subdirectory", f"Write {written} beside it.")
        if handle.is_name:
            raise self._make_error(
                keys, f'"{handle}" is neither a URL nor a path', f"A directory or an archive beside this file is ./{handle}"
            )
        return make_absolute(handle, os.path.dirname(self._path))

    def _read_subdirectory(self, keys: tuple[str, ...], value: object) -> str:
        text = self._expect_type(keys, value, str, "a text")
        try:
            return check_subdirectory(text)
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error

    def _read_signer(self, keys: tuple[str, ...], value: object) -> Signer:
        try:
            return parse_signer(value, os.path.dirname(self._path))
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error

    def _read_signature(self, keys: tuple[str, ...], value: object) -> str:
        try:
            return parse_signature(value, os.path.dirname(self._path))
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error

    def _read_policy(self, keys: tuple[str, ...], value: object) -> Policy:
        try:
            return parse_policy(value, f"{keys[1]} in {self._path}")
        except HandleError as error:
            raise self._make_error(keys, error.text, error.advice) from error

    def _read_sha256(self, keys: tuple[str, ...], value: object) -> str:
        text = self._expect_type(keys, value, str, "a text")
        try:
            return parse_sha256(text)
        except HandleError as error:
            lock = Advice(python="project.lock()", command=f"tfimm-resolver lock {show(keys[1])}")
            fix = lock.convert(lambda run: f"Correct it, or remove it with the size_bytes and run `{run}`, which writes both.")
            raise self._make_error(keys, error.text, fix) from error

    def _read_size_bytes(self, keys: tuple[str, ...], value: object) -> int:
        number = self._expect_type(keys, value, int, "a whole number")
        if number < 0 or isinstance(value, bool):
            raise self._make_error(
                keys, f"size_bytes cannot be {str(value).lower()}", "It is the size of the archive, in bytes."
            )
        return number

    def _expect_type(self, keys: tuple[str, ...], value: object, kind: type[_Value], description: str) -> _Value:
        if not isinstance(value, kind):
            raise self._make_error(keys, f"{'.'.join(keys)} has to be {description}", f"It is {value!r:.80}.")
        return value

    def _check_keys(self, keys: tuple[str, ...], table: dict[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                import difflib  # 1 ms that only an error pays

                close = difflib.get_close_matches(key, known, n=1)
                suggestion = f"Did you mean {close[0]}? " if close else ""
                where = f"{'.'.join(keys)} has" if keys else "there is"
                fix = f"{suggestion}Known: {', '.join(known)}."
                raise self._make_error((*keys, key), f'{where} an unknown key "{show(key)}"', fix)

    def _make_error(self, keys: tuple[str, ...], text: str, fix: Fix) -> ModelsFileError:
        return ModelsFileError(f"{show(self._path)}:{LineFinder(self._text).find(keys)}: {text}", fix=fix)


def make_absolute(handle: Handle, folder: str) -> str:
    """Return the text of a handle from a file in ``folder``; a relative path is made absolute, from that folder."""
    if handle.scheme or handle.text.startswith(("~", "$", "file://")):
        return handle.text
    return os.path.normpath(os.path.join(folder, handle.text))
