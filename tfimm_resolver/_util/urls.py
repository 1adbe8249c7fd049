"""Rules for URLs that need no library: confusing hosts, origins, and signatures in queries."""

from __future__ import annotations

import unicodedata

_V4_AMAZON = {
    *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signature", "x-amz-signedheaders"),
    "x-amz-security-token",
}
_V4_GOOGLE = {name.replace("x-amz-", "x-goog-") for name in _V4_AMAZON}
_AZURE_SAS = {
    *("sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sip", "si", "sig", "sdd", "ses", "scid"),
    *("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid"),
}
_SCHEMES: tuple[tuple[tuple[set[str], ...], set[str]], ...] = (
    (({"x-amz-signature"}, {"x-amz-algorithm"}), _V4_AMAZON),
    (({"x-goog-signature"}, {"x-goog-algorithm"}), _V4_GOOGLE),
    (
        ({"signature"}, {"expires"}, {"awsaccesskeyid"}),
        {"signature", "expires", "awsaccesskeyid", "x-amz-security-token"},
    ),
    (({"signature"}, {"expires"}, {"googleaccessid"}), {"signature", "expires", "googleaccessid"}),
    (
        ({"signature"}, {"key-pair-id"}, {"expires", "policy"}),
        {"signature", "key-pair-id", "expires", "policy", "hash-algorithm"},
    ),
    (({"sig"}, {"sv"}, {"se", "si"}, {"sr", "srt"}), _AZURE_SAS),
)
"""Known ways to sign a URL: of each set one parameter has to be there, and which parameters belong to the signature.

Amazon's signature versions 4 and 2, Google's, CloudFront's, and Azure's shared access signatures.
"""

_SIGNATURE_NAMES = {"x-amz-signature", "x-goog-signature", "signature", "sig", "hdnts", "hdnea", "hdntl"}


STORE_HOST_ENDS = (".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com")
"""How the names of the hosts of Amazon's and Google's stores end."""

STORE_ALIASES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
"""Schemes that other programs use for buckets, as fsspec, Hadoop and Spark do."""

TENSORFLOW_SCHEMES = ("har", "hdfs", "oss", "ram", "viewfs")
"""Schemes of file systems that TensorFlow reads itself or by a plug-in, but this package does not; they may have no host."""


def find_confusing_character(authority: str) -> str | None:
    r"""Return a character because of which two libraries may read different hosts, or a person a third; None without one.

    Such are a backslash, blanks, control characters, and characters that are invisible or change the direction of text.
    """
    if authority.isascii() and authority.isprintable() and "\\" not in authority and " " not in authority:
        return None
    return next((one for one in authority if one == "\\" or unicodedata.category(one)[0] in "CZ"), None)


def has_signature(query: str) -> bool:
    """Whether a query holds a signature, which one more parameter, or an Authorization header beside it, would break."""
    return bool(query) and (not _SIGNATURE_NAMES.isdisjoint(_list_names(query)) or strip_signature(query) != query)


def strip_signature(query: str) -> str:
    """Return a query without its signature and what belongs to that; unchanged unless it follows a known scheme."""
    names = _list_names(query)
    for required, belonging in _SCHEMES:
        if all(not names.isdisjoint(alternatives) for alternatives in required):
            return "&".join(part for part in query.split("&") if part.partition("=")[0].lower() not in belonging)
    return query


def _list_names(query: str) -> set[str]:
    return {part.partition("=")[0].lower() for part in query.split("&")}
