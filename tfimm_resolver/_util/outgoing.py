"""The one filter for text that reaches a person: masks secrets, escapes control characters, then cuts."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from tfimm_resolver._util.text import truncate_middle

LOGGERS = ("tfimm_resolver", "tfimm_resolver.progress")
"""The loggers of this package. A filter of a logger does not see the records of its children, so each has its own."""

MASK = "…"
OWN_BREAK = "\n  "
"""The only line break that messages of this package contain; any other comes from outside and is escaped."""

VALUE_CHARACTERS_MAX = 1000
"""The longest value from outside that a message shows in full."""

_SLASH, _AT, _COLON = (rf"(?:{raw}|%(?:25)*{code})" for raw, code in (("/", "2[fF]"), ("@", "40"), (":", "3[aA]")))
_NOT_PORT = r"(?!\d{1,5}(?![^\s/?#,;:'\")\]}]))"
_WORD_START = r"(?<![^\s/'\"(\[=,<])"
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    # User info behind two slashes, also percent-encoded, also with spaces in it; behind hf:// it has a colon, which
    # OWNER@REVISION has not.
    ("", rf"(?<!hf:)({_SLASH}{{2}})(?:(?!\n  |{_SLASH})[^/?#\"])*{_AT}", r"\1"),
    ("hf:", rf"(?<=hf:)({_SLASH}{{2}})(?:(?!\n  |{_SLASH}|{_COLON})[^/?#\"@])*{_COLON}"
            rf"(?:(?!\n  |{_SLASH})[^/?#\"])*{_AT}", r"\1"),
    # A password with a slash in it: what follows the colon is not a port.
    ("@", rf"(//)[^\s/?#@:\[\]\"']+:{_NOT_PORT}[^\s\"']*@", r"\1"),
    # Something that is not a port, in its place: the @ of a password may be missing.
    ("//", rf"(//[^\s/?#@:\[\]\"'{{}}]+):{_NOT_PORT}[^\s/?#\"',;)\]}}{{…]{{6,}}", rf"\1:{MASK}"),
    # User info of a URL without its scheme, and a token as user.
    ("", rf"{_WORD_START}[^\s/'\"@:(=,<]{{1,200}}?{_COLON}[^\s/'\"]{{0,1000}}{_AT}(?=[\w\[%])", ""),
    ("@", r"(?<![\w.~%+@-])[\w.~%+-]{16,}@(?=[\w-]+(?:\.[\w-]+)+[/:])", ""),
    ("", r"(?i)((?:(?<![a-z])sig|token|secret|passw(?:or)?d|credential|access-?_?key|api-?_?key)[\w.-]{0,40}(?:=|%(?:25)*3d))"
         r"[^\s&\"',;)]+", rf"\1{MASK}"),
    (" ", r"(?i)\b(bearer|authorization['\"]?:\s*['\"]?\w+)\s+[\w.~+/=-]{6,}", rf"\1 {MASK}"),
    ("_", r"\b(gh[pousr]_|github_pat_|hf_|glpat-|KGAT_)[A-Za-z0-9_-]{20,}", rf"\1{MASK}"),
)  # fmt: skip
_SECRET_CHARACTERS_MIN, _CAUSES_MAX = 8, 20
_secrets: set[str] = set()
_MARKS = frozenset("@=%")
_SPACES = frozenset("\xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xE0100, 0xE01F0))))


def register_secret(value: str) -> None:
    """Mask a credential from now on wherever it occurs, as it is and encoded for URLs; a short one could be any word."""
    from urllib.parse import quote, unquote

    for form in (value, unquote(value), quote(value, safe="")):
        if len(form) >= _SECRET_CHARACTERS_MIN:
            _secrets.add(form)


def clean_text(text: str) -> str:
    """Return a message without secrets and control characters; line breaks of this package's own form stay."""
    return escape_controls(mask_secrets(text))


def clean_value(value: object, width: int | None = None) -> str:
    """Return a value from outside for use in one line: masked, escaped with its line breaks, then cut to ``width``."""
    return truncate_middle(_escape(mask_secrets(str(value))), width)


def show(value: object) -> str:
    """Return a value from outside for use in a message: masked, escaped with its line breaks, then cut.

    The filter of a complete message cannot tell a line break of its template from the same characters in a value. Values
    from servers, archives, files and foreign exceptions pass through here, so that none of them can forge a line of advice.
    """
    return clean_value(value, VALUE_CHARACTERS_MAX)


def mask_value(text: str) -> str:
    """Return a text that may be a URL, and nothing else, without all that may be user info, query or fragment.

    It knows where the value ends, so that it also masks secrets with spaces and quotation marks.
    """
    text, mark, rest = text.partition("#sha256=")
    text = re.split(r"[?#]|%(?:25)*3[fF]", text, maxsplit=1)[0]
    slashes = rf"(?:(?<!hf:){_SLASH}{{2}}|(?<=hf:){_SLASH}{{2}}(?=[^/?#@]*{_COLON})|^\s*(?!/))"
    # Where no @ follows, all up to the next slash is taken at once: trying each place in it would take quadratic time.
    other = r"(?:(?!%(?:25)*2[fF](?:[/?#]|\Z))[^/?#])+"
    return mask_secrets(re.sub(f"({slashes})(?:[^/?#]*{_AT}|({other}))", r"\1\2", text) + mark + rest)


def mask_secrets(text: str) -> str:
    """Mask user info of URLs, values of queries, tokens and signatures, each also in percent-encoded form."""
    for secret in _secrets:
        text = text.replace(secret, MASK)
    if text.isalnum():
        return text
    for mark, pattern, replacement in _PATTERNS:
        if mark in text if mark else not _MARKS.isdisjoint(text):
            text = re.sub(pattern, replacement, text)
    return re.sub(r"\S+", _mask_query, text) if "?" in text or "%" in text else text


def escape_controls(text: str) -> str:
    """Escape C0, DEL, C1, bidirectional and invisible characters, and line breaks that are not this package's own."""
    if text.isascii() and text.isprintable():
        return text
    return OWN_BREAK.join(map(_escape, text.split(OWN_BREAK)))


def find_safe_cause(error: BaseException) -> BaseException | None:
    """Return a foreign exception if a traceback may show it and its causes, else None: for ``raise ... from``."""
    seen: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if seen is None:
            return error
        texts = (str(seen), *(arg for arg in seen.args if isinstance(arg, str)))
        if any(mask_secrets(text) != text or _escape(text.replace("\n", "")) != text.replace("\n", "") for text in texts):
            return None
        seen = seen.__cause__ or seen.__context__
    return None


def clean_exceptions(error: BaseException | None) -> None:
    """Clean the texts of a foreign exception that is being handled, and of its causes: a traceback will show them."""
    for _ in range(_CAUSES_MAX):
        if error is None:
            return
        _clean_arguments(error)
        error = error.__cause__ or error.__context__


def _clean_arguments(error: BaseException, depth: int = 0) -> None:
    """Clean the arguments and file names of an exception, also where an argument is an exception, as in urllib3."""
    for argument in error.args:
        if isinstance(argument, BaseException) and depth < _CAUSES_MAX:
            _clean_arguments(argument, depth + 1)
    # In a foreign exception no line break is this package's own.
    clean = clean_text if getattr(error, "_is_own", False) else clean_value
    arguments = tuple(clean(argument) if isinstance(argument, str) else argument for argument in error.args)
    if arguments != error.args:
        error.args = arguments
    if isinstance(error, OSError):
        for name in ("strerror", "filename", "filename2"):
            value = getattr(error, name, None)
            if isinstance(value, str) and clean(value) != value:
                setattr(error, name, clean(value))


def repr_fields(instance: Any) -> str:
    """Return a dataclass or named tuple as its own ``__repr__`` would, without the secrets in its texts."""
    fields = getattr(instance, "_fields", None) or [
        name for name, field in instance.__dataclass_fields__.items() if field.repr
    ]
    shown = [(name, getattr(instance, name)) for name in fields]
    values = (f"{name}={_escape(repr(mask_secrets(value) if isinstance(value, str) else value))}" for name, value in shown)
    return f"{type(instance).__name__}({', '.join(values)})"


def install_log_filter() -> None:
    """Clean every record of this package's loggers; repeated calls have no effect."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_clean_record)


def _clean_record(record: logging.LogRecord) -> bool:
    """Clean each value of a record, then the text: the template is this package's own, and the values are not."""
    try:
        record.args = _clean_arguments_of_log(record.args)
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):  # the wrong number of arguments, which logging only reports
        text = f"{record.msg} {record.args!r}"
    record.msg, record.args = clean_text(text), ()
    if record.exc_info:
        clean_exceptions(record.exc_info[1])
    return True


def _clean_arguments_of_log(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _LogValue.wrap(value) for name, value in values.items()}
    return tuple(map(_LogValue.wrap, values or ()))


class _LogValue:
    """A value of a log record, whose texts are cleaned and in one line."""

    def __init__(self, value: object) -> None:
        self._value = value

    @classmethod
    def wrap(cls, value: object) -> object:
        """Return the value as it is if it is a number, which templates may format as one."""
        return value if isinstance(value, (int, float)) else cls(value)

    def __str__(self) -> str:
        return show(str(self._value).replace(OWN_BREAK, "; "))

    def __repr__(self) -> str:
        return show(repr(self._value))


def _mask_query(match: re.Match[str]) -> str:
    """Mask what follows the question mark of a word that may be a URL or its end."""
    word = match[0]
    start, mark, query = _split_query(word)
    if not start or not query.strip("\"'»)]},.:;") or not ("/" in start or "=" in query or "%" in query):
        return word
    return start + mark + MASK + query[len(query.rstrip("\"'»)]},.:;")) :]


def _split_query(word: str) -> tuple[str, str, str]:
    found = re.search(r"\?|%(?:25)*3[fF]", word)
    return (word[: found.start()], found[0], word[found.end() :]) if found else (word, "", "")


def _escape(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_visible(character) else _name(character) for character in text)


def _is_visible(character: str) -> bool:
    return character not in _INVISIBLE if character.isprintable() else character in _SPACES


def _name(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
