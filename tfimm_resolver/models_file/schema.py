"""The text of a models file: names for handles, and what their archives must be; every fault is told with its line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tfimm_resolver.errors import HandleError, ModelsFileError
from tfimm_resolver.handles.handle import Handle

KEYS = ("handle", "sha256", "size_bytes", "aliases", "mirrors")

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a models file says of one name.

    Attributes:
        handle: a URL or an absolute path.
        file: the models file that says it.
        sha256: what the archive must hash to; None where it is not pinned.
        size_bytes: of the archive; None where nobody said it.
        mirrors: other handles of the same archive, believed only by ``sha256``.
    """

    name: str
    handle: str
    file: str
    sha256: str | None = None
    size_bytes: int | None = None
    aliases: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()

    @property
    def public(self) -> str:
        """The handle without what may be a secret."""
        return str(Handle.parse(self.handle))

    @property
    def place(self) -> str:
        """``FILE:LINE`` of where it stands."""
        try:
            with open(self.file, encoding="utf-8", newline="") as file:
                return f"{self.file}:{_line_of(file.read(), ('models', self.name))}"
        except (OSError, ValueError):
            return self.file


def parse(text: str, path: str) -> dict[str, ModelEntry]:
    """The models that a text names, under their names and their aliases; it stands, or is to stand, at ``path``.

    Raises:
        ModelsFileError: if it is no TOML, or says what it may not; the message names the line.
    """
    return _Reader(path, text).models()


def check_name(name: object) -> str:
    """A name, if it may be one in a models file.

    Raises:
        HandleError: if it is a URL, a path, empty, or ends in a pin.
    """
    fix = "A name is one word: without /, \\ and #sha256=, and no URL."
    try:
        handle = Handle.parse(name if isinstance(name, str) else "")
    except HandleError as error:
        raise HandleError(f"{name!r:.80} is no model name", fix=fix) from error
    if not handle.is_name or handle.text != name or "\\" in handle.text:
        raise HandleError(f"{name!r:.80} is no model name", fix=fix)
    return handle.text


class _Reader:
    """Reads one text."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text

    def models(self) -> dict[str, ModelEntry]:
        """Each model under its name and its aliases."""
        try:
            said = _loads(self._text)
        except (ValueError, RecursionError) as error:
            reason, _, place = str(error).partition(" (at ")
            line = re.match(r"line (\d+)", place)
            number = line[1] if line else self._text.rstrip().count("\n") + 1
            raise ModelsFileError(f"{self._path}:{number}: {reason}", fix="Mend the file: it is no TOML.") from error
        self._check_keys((), said, ("models",))
        words: dict[str, ModelEntry] = {}
        for name in self._checked(("models",), said.get("models", {}), dict, "a table"):
            model = self._model(name, said["models"][name])
            for word in (name, *model.aliases):
                if word in words:
                    raise self._error(("models", name), f'"{word}" means {words[word].name} already', "Choose another name.")
                words[word] = model
        return words

    def _model(self, name: str, table: object) -> ModelEntry:
        keys = ("models", name)
        self._name(keys, name)
        said = self._checked(keys, table, dict, f"a table with {KEYS[0]}")
        self._check_keys(keys, said, KEYS)
        if "handle" not in said:
            raise self._error(keys, f"{name} has no handle", 'Write handle = "URL or path" below its name.')
        sha256 = self._value(keys, said, "sha256", self._sha256, None)
        size_bytes = self._value(keys, said, "size_bytes", self._size_bytes, None)
        if size_bytes is not None and sha256 is None:
            raise self._error((*keys, "size_bytes"), "a size alone is no pin", f"tfimm-resolver lock {name} adds the sha256.")
        return ModelEntry(
            name=name,
            handle=self._handle((*keys, "handle"), said["handle"]),
            file=self._path,
            sha256=sha256,
            size_bytes=size_bytes,
            aliases=self._value(keys, said, "aliases", self._each(self._name), ()),
            mirrors=self._value(keys, said, "mirrors", self._each(self._handle), ()),
        )

    def _value(
        self, keys: tuple[str, ...], said: dict[str, Any], key: str, read: Callable[..., _Value], default: _Value
    ) -> _Value:
        return read((*keys, key), said[key]) if key in said else default

    def _each(self, read: Callable[..., str]) -> Callable[..., tuple[str, ...]]:
        return lambda keys, value: tuple(read(keys, one) for one in self._checked(keys, value, list, "a list of texts"))

    def _name(self, keys: tuple[str, ...], value: object) -> str:
        try:
            return check_name(value)
        except HandleError as error:
            raise self._error(keys, error.text, error.fix) from error

    def _handle(self, keys: tuple[str, ...], value: object) -> str:
        try:
            handle = Handle.parse(self._checked(keys, value, str, "a text"))
        except HandleError as error:
            raise self._error(keys, error.text, error.fix) from error
        if handle.sha256 is not None:
            raise self._error(keys, f"{handle} ends in a pin", 'Write sha256 = "..." beside it.')
        if handle.is_name:
            raise self._error(
                keys, f'"{handle}" is neither a URL nor a path', f"A directory or an archive beside this file is ./{handle}"
            )
        return absolute(handle, os.path.dirname(self._path))

    def _sha256(self, keys: tuple[str, ...], value: object) -> str:
        text = self._checked(keys, value, str, "a text").lower()
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise self._error(keys, f"a sha256 has 64 hexadecimal digits, not {text!r:.80}", "tfimm-resolver lock writes it.")
        return text

    def _size_bytes(self, keys: tuple[str, ...], value: object) -> int:
        number = self._checked(keys, value, int, "a whole number")
        if number < 0 or isinstance(value, bool):
            raise self._error(keys, f"size_bytes cannot be {str(value).lower()}", "It is the size of the archive, in bytes.")
        return number

    def _checked(self, keys: tuple[str, ...], value: object, kind: type[_Value], words: str) -> _Value:
        if not isinstance(value, kind):
            raise self._error(keys, f"{'.'.join(keys)} has to be {words}", f"It is {value!r:.80}.")
        return value

    def _check_keys(self, keys: tuple[str, ...], said: dict[str, Any], known: Sequence[str]) -> None:
        for key in said:
            if key not in known:
                import difflib  # 1 ms that only an error costs

                close = difflib.get_close_matches(key, known, n=1)
                meant = f"Did you mean {close[0]}? " if close else ""
                where = f"{'.'.join(keys)} has" if keys else "there is"
                raise self._error((*keys, key), f'{where} an unknown key "{key}"', f"{meant}Known: {', '.join(known)}.")

    def _error(self, keys: tuple[str, ...], text: str, fix: str) -> ModelsFileError:
        return ModelsFileError(f"{self._path}:{_line_of(self._text, keys)}: {text}", fix=fix)


def absolute(handle: Handle, folder: str) -> str:
    """The text of a handle that stands in a file in ``folder``, from which relative paths count."""
    if handle.scheme or handle.text.startswith(("~", "$", "file://")):
        return handle.text
    return os.path.normpath(os.path.join(folder, handle.text))


def _loads(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # 8 ms that a project without a models file does not pay
    else:
        import tomli as tomllib
    said: dict[str, Any] = tomllib.loads(text)
    return said


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """On which line that begins which brings a key, first of all: no reader of TOML tells that of what it has read."""
    lines = text.split("\n")
    whole = 0
    for number in range(len(lines) + 1):
        try:
            said: Any = _loads("\n".join([*lines[:number], ""]))
        except ValueError:  # in the middle of a value
            continue
        for key in keys:
            said = said.get(key) if isinstance(said, dict) else None
        if said is not None:
            return whole + 1
        whole = number
    return 1
