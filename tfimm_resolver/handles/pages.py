"""Web pages that show a model or a file instead of sending it: the handle or the URL to use instead of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tfimm_resolver.handles.git import format_github_handle
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, HUGGING_FACE_HOSTS
from tfimm_resolver.handles.hugging_face import format_hugging_face_handle

_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_HUGGING_FACE_KINDS = ("datasets", "spaces")
_GITHUB_PAGES = ("topics", "features", "settings", "orgs", "collections")
_KAGGLE_KINDS = {"code": "a notebook", "datasets": "a dataset", "competitions": "a competition", "c": "a competition"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and what to use instead of its URL.

    Attributes:
        title: what the page shows, as in "it is the page of TITLE".
        advice: what to do, with the handle to use.
    """

    title: str
    advice: str


def find_page(url: str) -> Page | None:
    """Return which page of a known host a URL is; None if it may be a model, or an unknown page."""
    if (parts := _split(url)) is None:
        return None
    find = _FINDERS.get(parts.netloc.lower().rpartition("@")[2])
    return find(parts.path.rstrip("/"), parts.query) if find else None


def _is_archive(path: str) -> bool:
    """Whether a path ends as the name of an archive does, so that it may be a download and not a repository of that name."""
    return unquote(path).lower().endswith(ARCHIVE_SUFFIXES)


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket that does not belong to an IPv6 address
        return None


def find_download_url(url: str) -> str | None:
    """Return the URL that sends the file which a page shows, or which a Git LFS pointer stands for; None if not known."""
    if "://" not in url or (parts := _split(url)) is None:
        return None
    host, path = parts.netloc.rpartition("@")[2].lower(), parts.path
    if host == "raw.githubusercontent.com" and (found := re.fullmatch(r"/([^/]+/[^/]+)/(.+)", path)):
        return f"https://github.com/{found[1]}/raw/{found[2].removeprefix('refs/heads/')}"
    if host in HUGGING_FACE_HOSTS and (found := re.fullmatch(r"(/.+?)/(?:raw|blob)/(.+)", path)):
        return f"https://huggingface.co{found[1]}/resolve/{found[2]}"
    if found := re.fullmatch(r"(/.+/-)/blob/(.+)", path):  # a GitLab of any name
        return f"{parts.scheme}://{host}{found[1]}/raw/{found[2]}"
    if found := re.fullmatch(r"(/[^/]+/[^/]+)/src/((?:branch|tag|commit)/.+)", path):  # Gitea and Forgejo
        return f"{parts.scheme}://{host}{found[1]}/raw/{found[2]}"
    if found := re.fullmatch(r"(/[^/]+/[^/]+)/blob/(.+)", path):  # a GitHub Enterprise server
        return f"{parts.scheme}://{host}{found[1]}/raw/{found[2]}"
    return None


def _find_on_github(path: str, query: str) -> Page | None:
    found = re.fullmatch(r"/(?P<repo>[\w-][\w.-]*/[\w.-]+?)(?:\.git)?(?:/(?P<kind>[a-z]+)(?:/(?P<rest>.+))?)?", path)
    if found is None:
        return None
    repo, kind, rest = found["repo"], found["kind"], found["rest"] or ""
    ref, _, inner = rest.partition("/")
    if kind is None and not _is_archive(path) and repo.partition("/")[0] not in _GITHUB_PAGES:
        return Page("a repository", f"Write github://{repo} for its SavedModel, or the URL of an archive in a release.")
    if kind == "tree" and rest:
        return Page("a folder of a repository", _advise_github_handle(repo, ref, inner))
    if kind == "blob" and inner and not re.search(r"(?:^|&)raw=(?:true|1)", query):
        folder, _, name = inner.rpartition("/")
        if name in _GRAPHS:
            return Page("a file of a repository", _advise_github_handle(repo, ref, folder))
        return Page("a file of a repository", f"Write the raw URL: https://github.com/{repo}/raw/{rest}")
    if kind == "releases" and not rest.startswith(("download/", "latest/download/")):
        tag = rest.removeprefix("tag/") if rest.startswith("tag/") else "TAG"
        url = f"https://github.com/{repo}/releases/download/{tag}/FILE"
        return Page("a release", f"Write the URL of a file of it: {url}")
    return None


def _advise_github_handle(repo: str, ref: str, folder: str) -> str:
    note = f"; if the name of the branch has a slash, write all of it after {repo}:" if folder else ""
    return f"Write {format_github_handle(repo, ref, folder)}{note}"


def _find_on_gist(path: str, _: str) -> Page | None:
    if (found := re.fullmatch(r"/[^/]+/[0-9a-f]{20,}", path)) is None:
        return None
    return Page("a gist", f"Write the raw URL: https://gist.github.com{found[0]}/raw/FILE")


def _find_on_hugging_face(path: str, _: str) -> Page | None:
    parts = path.strip("/").split("/")
    prefix = f"{parts.pop(0)}/" if parts[0] in _HUGGING_FACE_KINDS else ""
    if len(parts) < 2 or parts[0] in ("api", "docs", "blog", "models", "papers", "collections"):
        return None
    repo, kind, rest = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "", "/".join(parts[3:])
    ref, _, inner = rest.partition("/")
    if kind == "blob" and inner:
        folder, _, name = inner.rpartition("/")
        if name in _GRAPHS and not prefix:
            return Page("a file of a repository", f"Write {format_hugging_face_handle(repo, ref, folder)}")
        url = f"https://huggingface.co/{prefix}{repo}/resolve/{rest}"
        return Page("a file of a repository", f"Write the resolve URL: {url}")
    if not kind and _is_archive(path):
        return None
    if not prefix and kind in ("", "tree"):
        return Page("a repository", f"Write {format_hugging_face_handle(repo, ref, inner)}")
    if prefix and kind in ("", "tree"):
        url = f"https://huggingface.co/{prefix}{repo}/resolve/{ref or 'main'}/FILE"
        return Page(f"a repository of {prefix[:-1]}", f"Write the URL of an archive in it: {url}")
    return None


def _find_on_gitlab(path: str, _: str) -> Page | None:
    if (found := re.fullmatch(r"(?P<repo>/.+?)(?P<route>(?:/-)?/blob/(?P<rest>.+)|/-/tree/.+)?", path)) is None:
        return None
    repo, rest = found["repo"].removesuffix(".git"), found["rest"]
    if _may_be_gitlab_download(found["repo"]) or not re.fullmatch(r"/[\w-][\w.-]*(?:/[\w.-]+)+", repo):
        return None
    if rest:
        return Page("a file of a repository", f"Write the raw URL: https://gitlab.com{repo}/-/raw/{rest}")
    ref, _, folder = (found["route"] or "").removeprefix("/-/tree/").partition("/")
    inner = f"#subdirectory={folder}" if folder else ""
    ref = ref or "HEAD"
    url = f"https://gitlab.com{repo}/-/archive/{ref}/{repo.rpartition('/')[2]}-{ref}.tar.gz{inner}"
    return Page("a repository" if not inner else "a folder of a repository", f"Write the URL of its archive: {url}")


def _may_be_gitlab_download(path: str) -> bool:
    """Whether a path, up to ``blob`` or ``tree``, may send a file: projects are nested, so that a route can look like one."""
    is_route = re.search(r"/(?:-|raw|uploads|artifacts|repository/archive|download)(?:/|$)", path) is not None
    return is_route or path.startswith("/api/") or ".git/" in path or _is_archive(path)


def _find_on_bitbucket(path: str, _: str) -> Page | None:
    if found := re.fullmatch(r"(/[^/]+/[^/]+)/src/([^/]+/.+)", path):
        return Page("a file of a repository", f"Write the raw URL: https://bitbucket.org{found[1]}/raw/{found[2]}")
    found = re.fullmatch(r"(/[^/]+/[^/]+?)(?:\.git)?(/src(?:/([^/]+))?)?", path)
    if found and (found[2] or not _is_archive(path)):
        url = f"https://bitbucket.org{found[1]}/get/{found[3] or 'HEAD'}.tar.gz"
        return Page("a repository", f"Write the URL of its archive: {url}")
    return None


def _find_on_kaggle(path: str, _: str) -> Page | None:
    parts = path.strip("/").split("/")
    if (title := _KAGGLE_KINDS.get(parts[0])) is None or len(parts) < 2 or "download" in parts[2:] or _is_archive(path):
        return None
    return Page(title, "Write kaggle://OWNER/MODEL/FRAMEWORK/VARIATION, or the URL of a model's page, for a model.")


def _find_on_tfhub(path: str, _: str) -> Page | None:
    parts = path.strip("/").split("/")  # of a search, a publisher, or a collection
    if (len(parts) > 1 and parts[1] != "collections") or _is_archive(path):
        return None
    form = "https://tfhub.dev/PUBLISHER/MODEL/VERSION, such as https://tfhub.dev/google/nnlm-en-dim50/2"
    return Page("several models", f"Write the handle of one model: {form}")


def _find_on_google_drive(path: str, query: str) -> Page | None:
    found = re.match(r"/file/d/([\w-]+)", path) or re.fullmatch(r"id=([\w-]+)", query if path == "/open" else "")
    if found is None:
        return None
    return Page("a file", f"Write https://drive.google.com/uc and, without a blank, ?export=download&id={found[1]}")


def _find_on_dropbox(path: str, query: str) -> Page | None:
    if not re.search(r"(?:^|&)dl=0(?:&|$)", query) or re.search(r"(?:^|&)raw=1(?:&|$)", query):
        return None
    return Page("a file", f"Write dl=1 instead of dl=0 at the end of the URL of {path.rpartition('/')[2]}.")


def _find_on_google_cloud(path: str, _: str) -> Page | None:
    found = re.fullmatch(r"/storage/browser/(?:_details/)?([^/;]+(?:/[^;]*)?)(?:;.*)?", path)
    return None if found is None else Page("a bucket", f"Write gs://{unquote(found[1]).rstrip('/')}")


def _find_on_amazon(path: str, query: str) -> Page | None:
    found = re.fullmatch(r"/s3/(?:buckets|object)/([\w.-]+)", path)
    if found is None:
        return None
    prefix = re.search(r"(?:^|&)prefix=([^&]+)", query)
    inner = "/" + quote(unquote(prefix[1]).strip("/"), safe="/ ", errors="replace") if prefix else ""
    return Page("a bucket", f"Write s3://{found[1]}{inner}")


_FINDERS: dict[str, Callable[[str, str], Page | None]] = {
    "github.com": _find_on_github,
    "www.github.com": _find_on_github,
    "gist.github.com": _find_on_gist,
    "huggingface.co": _find_on_hugging_face,
    "www.huggingface.co": _find_on_hugging_face,
    "hf.co": _find_on_hugging_face,
    "gitlab.com": _find_on_gitlab,
    "bitbucket.org": _find_on_bitbucket,
    "www.kaggle.com": _find_on_kaggle,
    "kaggle.com": _find_on_kaggle,
    "tfhub.dev": _find_on_tfhub,
    "drive.google.com": _find_on_google_drive,
    "www.dropbox.com": _find_on_dropbox,
    "console.cloud.google.com": _find_on_google_cloud,
    "console.aws.amazon.com": _find_on_amazon,
    "s3.console.aws.amazon.com": _find_on_amazon,
}
