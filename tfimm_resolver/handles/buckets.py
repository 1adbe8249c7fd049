"""Other spellings of objects in buckets: URLs of a store's own hosts, and what other programs write."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES

_BUCKET = r"(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])"
_REGION = r"(?:[.-](?:dualstack\.)?[a-z]{2}(?:-[a-z]+)+-\d)?"
_PATH = r"(?P<path>/[^?#]*)?(?:[?#].*)?"
_AMAZON = rf"s3(?:-accelerate)?{_REGION}\.amazonaws\.com(?:\.cn)?(?::443)?"
_GOOGLE = r"(?:storage|commondatastorage)\.googleapis\.com(?::443)?"
_HOSTS = (
    ("s3", re.compile(rf"{_AMAZON}/{_BUCKET}{_PATH}", re.IGNORECASE)),
    ("s3", re.compile(rf"{_BUCKET}\.{_AMAZON}{_PATH}", re.IGNORECASE)),
    ("gs", re.compile(rf"(?:{_GOOGLE}|storage\.cloud\.google\.com)/{_BUCKET}{_PATH}", re.IGNORECASE)),
    ("gs", re.compile(rf"{_BUCKET}\.{_GOOGLE}{_PATH}", re.IGNORECASE)),
)
_ARN = re.compile(rf"arn:aws[a-z-]*:s3:::{_BUCKET}{_PATH}")
_STORE_HOST = re.compile(rf"(?:{_AMAZON}|{_GOOGLE}|[\w.-]+\.{_AMAZON}|[\w.-]+\.{_GOOGLE})", re.IGNORECASE)
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](?:/[^/\\]+)+/?")

AZURE_SCHEMES = ("abfs", "abfss", "adl", "az", "azure", "wasb", "wasbs")
S3_COMPATIBLE_SCHEMES = ("b2", "cos", "cosn", "minio", "obs", "r2", "s3c", "spaces", "wasabi")
_AZURE_HOST = re.compile(
    r"(?:(?P<container>[a-z0-9$-]+)@)?(?P<account>[a-z0-9]+)\.(?:dfs|blob)\.core\.windows\.net(?=/|$)", re.IGNORECASE
)


def find_bucket_handle(url: str) -> str | None:
    """Return the ``gs://`` or ``s3://`` handle of what a URL of Google's or Amazon's hosts names; None for other URLs.

    The URL may lack its scheme, and may also be an ARN.
    """
    text = re.sub(r"^(?:https?:)?//", "", url, flags=re.IGNORECASE)
    if found := _ARN.fullmatch(text):
        return f"s3://{found['bucket']}{(found['path'] or '').rstrip('/')}"
    for scheme, pattern in _HOSTS:
        if found := pattern.fullmatch(text):
            return f"{scheme}://{found['bucket']}{unquote(found['path'] or '').rstrip('/')}"
    return None


def is_store_host(host: str) -> bool:
    """Whether a host is one of Google's or Amazon's for objects, so that it is not the name of a bucket."""
    return _STORE_HOST.fullmatch(host) is not None


def may_be_bucket(text: str, *, is_likely: bool) -> bool:
    """Whether a text without a scheme may be the name of a bucket with a path in it.

    ``is_likely``: also with a path of one component, which is more often that of a repository.
    """
    return _PLAIN.fullmatch(text) is not None and (is_likely or text.strip("/").count("/") > 1)


def suggest_other_store(scheme: str, text: str) -> str | None:
    """Return the advice for a store that is not read by its scheme, but in another way; None for an unknown scheme."""
    rest = text.partition("://")[2].partition("?")[0]
    if (found := _AZURE_HOST.match(rest)) is None:
        rest = rest.rpartition("@")[2]
    if scheme in S3_COMPATIBLE_SCHEMES:
        return f"If this store has the API of S3: write s3://{rest} and set AWS_ENDPOINT_URL to its address."
    if scheme in ("dbfs", "volumes"):
        return f"On Databricks, write the path under which this file system is mounted: /dbfs/{rest.lstrip('/')}"
    if scheme in AZURE_SCHEMES:
        url = _format_azure(found, rest)
        return (
            f"Azure Blob Storage is read by https: write the URL of an archive, {url}, with a shared access signature if it "
            "is private; a directory has to be downloaded first (azcopy copy URL DIRECTORY --recursive), or mounted."
        )
    return None


def _format_azure(found: re.Match[str] | None, rest: str) -> str:
    """Return the URL of an archive; ``found`` are the container and the account, if the text names both."""
    account, path = "ACCOUNT", rest
    if found is not None:
        account = found["account"]
        path = "/".join(filter(None, (found["container"], rest[found.end() :].strip("/"))))
    url = f"https://{account}.blob.core.windows.net/{path}".rstrip("/")
    return url if url.lower().endswith(ARCHIVE_SUFFIXES) else f"{url}.tar.gz"
