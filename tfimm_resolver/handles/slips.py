"""Likely slips in handles: suggests what was probably meant by a text that leads to no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tfimm_resolver.handles.buckets import find_bucket_handle
from tfimm_resolver.handles.handle import HUGGING_FACE_HOSTS
from tfimm_resolver.handles.kaggle import KaggleModel, is_known_framework

_BRACKETS = {"(": ")", "[": "]", "{": "}", "\u00ab": "\u00bb", "\u201e": "\u201c"}
_TIMM = re.compile(r"(?:hf[-_]hub|timm):/*(?P<rest>.+)")
_LOCAL_DIR = re.compile(r"local[-_]dir:(?:/{2}(?=/))?(?P<rest>.+)")
_DBFS = re.compile(r"dbfs:/+(?P<rest>.+)")
_BROKEN_SCHEME = re.compile(
    r"(?P<scheme>https?|gs|gcs|s3|s3a|s3n|hf|kaggle|github|file)(?P<mark>[:;][/\\]*|[/\\]{2,})(?P<rest>[^/\\].*)",
    re.IGNORECASE,
)
_GIT = re.compile(
    r"(?:git\+)?(?:ssh://)?(?:git@)(?P<host>[\w.-]+)[:/](?P<repo>[\w.-]+/[\w.-]+?)(?:\.git)?(?:@(?P<ref>[^/@]+))?"
)
_GIT_URL = re.compile(r"git\+https?://(?P<host>[\w.-]+)/(?P<repo>[\w.-]+/[\w.-]+?)(?:\.git)?(?:@(?P<ref>[^/@]+))?")
_HOST = re.compile(
    r"(?:www\.[\w-]+(?:\.[\w-]+)+|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|co|dev|ai|cn|de|fr|uk|jp|app|cloud|me|info|eu)"
    r"|localhost|\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?/.+",
    re.I,
)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/].*|\\\\[^\\]+\\.+")
_SLUG = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_TFHUB = re.compile(rf"{_SLUG}(?:/{_SLUG})+/\d+")
_PAIR = re.compile(rf"{_SLUG}/{_SLUG}")
_PAIR_AT = re.compile(rf"(?P<repo>{_SLUG}/{_SLUG}):(?P<ref>{_SLUG})")


def suggest_handles(text: str) -> list[str]:
    """Return the handles that were probably meant, the likeliest first; empty if the text resembles none."""
    return list(dict.fromkeys(found for found in _find(text) if found != text))[:3]


def is_windows_path(text: str) -> bool:
    """Whether a text is an absolute path of Windows, with a drive or a server."""
    return _WINDOWS.fullmatch(text) is not None


def _find(text: str) -> Iterator[str]:
    bare = _strip_marks(text)
    corrected = list(_find_in(bare))
    yield from corrected or ([] if bare == text or not bare else [bare])


def _strip_marks(text: str) -> str:
    """Return a text without the blanks, quotes and brackets around it, in pairs or alone."""
    text = text.strip()
    while len(text) > 1 and _BRACKETS.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text.strip("\"'`<>\u201c\u201d\u2018\u2019 ")


def _find_in(text: str) -> Iterator[str]:
    if is_windows_path(text):
        return
    if found := _TIMM.fullmatch(text):
        yield _format_hugging_face(found["rest"], "timm")
    elif found := _LOCAL_DIR.fullmatch(text):
        yield found["rest"]
    elif found := _GIT.fullmatch(text) or _GIT_URL.fullmatch(text):
        yield _format_git(found["host"], found["repo"], found["ref"])
    elif found := _DBFS.fullmatch(text):
        yield f"/dbfs/{found['rest']}"
    elif "://" not in text and (found := _BROKEN_SCHEME.fullmatch(text)):
        yield _format_scheme(found["scheme"].lower(), found["mark"], found["rest"].replace("\\", "/"))
    elif text.startswith("//") and _HOST.fullmatch(text[2:]):
        yield f"https:{text}"
    elif "://" not in text:
        yield from _find_without_scheme(text)


def _format_scheme(scheme: str, mark: str, rest: str) -> str:
    if scheme == "file":
        return f"/{rest}" if "/" in mark else rest
    return _format_hugging_face(rest, "OWNER") if scheme == "hf" else f"{scheme}://{rest}"


def _format_hugging_face(rest: str, owner: str) -> str:
    return f"hf://{rest}" if "/" in rest else f"hf://{owner}/{rest}"


def _format_git(host: str, repo: str, ref: str | None) -> str:
    prefix = "" if host == "github.com" else f"{host}/"
    return f"github://{prefix}{repo}" + (f":{ref}" if ref else "")


def _find_without_scheme(text: str) -> Iterable[str]:
    if (handle := find_bucket_handle(text)) is not None:
        return [handle] if text.startswith("arn:") else [handle, f"https://{text}"]
    if _HOST.fullmatch(text):
        return [_format_host(text)]
    kaggle = text.removeprefix("models/")
    if _is_kaggle(kaggle):
        return [f"kaggle://{kaggle}"]
    if _TFHUB.fullmatch(text):
        return [f"https://tfhub.dev/{text}"]
    if found := _PAIR_AT.fullmatch(text):
        return [f"github://{text}", f"hf://{found['repo']}@{found['ref']}"]
    if _PAIR.fullmatch(text):
        first = [f"hf://{text}"]
        return first if text.startswith("timm/") else [*first, f"github://{text}"]
    return []


def _format_host(text: str) -> str:
    host, _, path = text.partition("/")
    host, repo = host.lower().removeprefix("www."), path.strip("/").removesuffix(".git")
    if host in HUGGING_FACE_HOSTS and _PAIR.fullmatch(repo):
        return f"hf://{repo}"
    if host == "github.com" and _PAIR.fullmatch(repo):
        return f"github://{repo}"
    is_local = host.partition(":")[0] == "localhost" or host[:1].isdigit()
    return f"{'http' if is_local else 'https'}://{text}"


def _is_kaggle(text: str) -> bool:
    """Whether a text is a model on Kaggle without its scheme, whose framework is a known one."""
    parts = text.split("/")
    if len(parts) not in (4, 5):
        return False
    try:
        model = KaggleModel.parse("kaggle", parts[0], text[len(parts[0]) :])
    except ValueError:
        return False
    return model is not None and is_known_framework(model.framework)
