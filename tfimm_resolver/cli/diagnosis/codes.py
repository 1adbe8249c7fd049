"""What each code of ``doctor`` means: for ``explain``, and for the table of the page on ``doctor``, which a test compares."""

from __future__ import annotations

CODES: dict[tuple[str, ...], str] = {
    ("handle", "cache", "models-file"): "a setting, or a file of settings, that cannot be used, such as a directory in quotes",
    ("not-writable", "not-a-directory"): "a cache directory that cannot be written, created or used",
    ("foreign-owner",): "a cache, or models in it, of another user (note)",
    ("world-writable",): "a cache that every user can write; with a sticky bit, a note",
    ("no-locks",): "a disk without kernel locks, so that models in use are only protected by the time of their last use",
    ("no-rename",): "a disk that cannot rename directories, such as a mounted bucket",
    ("disk-full",): "less than 16 MiB, or no more files, are free",
    ("clock",): "the clocks of this machine and of the disk are more than five minutes apart",
    ("image-layer",): "models in a lower layer of a Docker image (note)",
    ("damaged",): "models with missing files, or files of a wrong size",
    ("stale-lock",): "a lock file of a process that has ended; a note if the next fetch removes it",
    ("limit-below-kept",): "the models to keep are larger than the cache may be",
    ("extra-root-missing",): "an extra root that does not exist (note)",
    ("extra-root-damaged",): "a damaged model in an extra root (a note if another root has a copy)",
    ("not-registered",): "tensorflow_hub does not use this package",
    ("version", "setuptools"): "packages that are too old, or too new, to work with this one or with Python",
    ("unknown-variable",): "a variable that begins with `TFIMM_RESOLVER_` and is not read: "
    "a problem if a known one is similar, else a note",
    ("signature-missing",): "a file of a signature that the models file or the settings file names and that does not exist; "
    "a missing key is a `handle`",
    ("proxy-password",): "a proxy with a user and no password",
    ("ca-missing",): "a file of certificates that does not exist",
    ("offline", "tls-not-verified"): "switches that are easily forgotten (notes)",
    ("unreachable",): "with `--online`: a host that does not answer",
}
"""The meaning of each code, or of several together; that of an error is a setting that cannot be used."""


def find_meaning(code: str) -> str | None:
    """Return the meaning of a code, or None."""
    return next((meaning for codes, meaning in CODES.items() if code in codes), None)
