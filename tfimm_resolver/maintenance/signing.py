"""Signs models: a directory, a cached model, or one file, such as a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import CacheError, HandleError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.text_files import write_text
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.resolution.signatures import list_records
from tfimm_resolver.trust import keys
from tfimm_resolver.trust.signing import make_bundle
from tfimm_resolver.trust.statement import GIT_PATHS, SIGNATURE_FILES, SINGLE_FILE

_OUTPUT_FIX = Advice(python="Give the path of the signature: output=PATH.", command="Give the path of the signature: -o PATH.")


@dataclass(frozen=True, slots=True)
class SignResult:
    """A signature that was written.

    Attributes:
        path: of the signature.
        model: the directory or the file that was signed.
        files: the number of files.
        key_sha256: the hash of the public key, as ``ls --json`` shows it.

    Example:
        >>> import os, subprocess
        >>> os.makedirs("half"), open("half/saved_model.pb", "w").close()
        (None, None)
        >>> command = "openssl ecparam -name prime256v1 -genkey -noout -out team.pem"
        >>> _ = subprocess.run(command.split(), check=True)
        >>> result = tfimm_resolver.maintenance.sign("half", "team.pem")
        >>> os.path.basename(result.path), result.files
        ('model.sig', 1)
    """

    path: str
    model: str
    files: int
    key_sha256: str


def sign(
    model: str | os.PathLike[str],
    key: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    password: str | None = None,
    certificates: Sequence[str | os.PathLike[str]] = (),
) -> SignResult:
    """Sign all files of a model, and write the signature as a bundle of OpenSSF Model Signing.

    Args:
        model: a directory; one file, such as a bundle of ``bundles.export``; or a cached model, by a name that
            ``select`` accepts.
        key: the file of the private key, PEM, on the curve P-256, P-384 or P-521.
        output: the path of the signature; by default ``model.sig`` in the directory, and ``FILE.sig`` for a file.
        password: of the private key, if it is encrypted.
        certificates: files with the certificate of the key, then those that lead to its authority, PEM; none for a bare key.

    Raises:
        HandleError: if the key cannot be used; if the model is in the cache, and no output is given.
        UnknownHandleError: if there is no such model.
        CacheError: if the model contains a link, cannot be read, or the signature cannot be written.
        SignatureError: if the package cryptography is not installed.

    Example:
        >>> import os, subprocess
        >>> os.makedirs("half"), open("half/saved_model.pb", "w").close()
        (None, None)
        >>> command = "openssl ecparam -name prime256v1 -genkey -noout -out team.pem"
        >>> _ = subprocess.run(command.split(), check=True)
        >>> tfimm_resolver.maintenance.sign("half", "team.pem", "half.sig").path
        '/.../half.sig'
    """
    path = _find_model(model)
    target = os.path.abspath(settings.check_path(output)) if output is not None else _choose_output(path)
    settings.check_output_path(target)
    private_key = keys.load_private_key(settings.check_path(key), password.encode() if password is not None else None)
    chain = [der for name in certificates for der in keys.list_certificates(settings.check_path(name))]
    ignored = _list_ignored(path, target) if os.path.isdir(path) else ()
    files = _hash_files(path, ignored)
    if not files:
        raise CacheError(
            f"{show(path)} contains no files to sign", fix="Check the path: it is that of the model's directory or file."
        )
    bundle = make_bundle(private_key, os.path.basename(path), files, ignored, chain)
    write_text(target, bundle.to_text())
    return SignResult(target, path, len(files), keys.hash_der(keys.encode_public_key(private_key)))


def _find_model(model: str | os.PathLike[str]) -> str:
    """Return the path of a directory or a file, or the directory of a cached model."""
    text = settings.check_path(model)
    if os.path.exists(text):
        return os.path.abspath(text)
    try:
        found = inventory.select([text])[0]
    except UnknownHandleError as error:
        if "://" in text:
            raise
        is_path = text.startswith((".", "~")) or os.path.isabs(text)
        missing = f"there is no file or directory {show(os.path.abspath(text))}, and {error.text}"
        raise UnknownHandleError(missing, fix="Check the path." if is_path else error.advice) from error
    if settings.is_bucket(found.path):
        raise CacheError(f"{show(text)} is in a bucket, {show(found.path)}", fix="Sign a copy on this machine.")
    return found.path


def _choose_output(path: str) -> str:
    if not os.path.isdir(path):
        return f"{path}.sig"
    if any(list_records(path)):
        raise HandleError(f"{show(path)} is in the cache, whose models are not changed", fix=_OUTPUT_FIX)
    return os.path.join(path, SIGNATURE_FILES[0])


def _list_ignored(path: str, target: str) -> list[str]:
    """Return the paths that are left out: those of git, signatures, and the new signature if it is in the directory."""
    inner = os.path.relpath(os.path.realpath(target), os.path.realpath(path)).replace(os.sep, "/")
    return sorted({*GIT_PATHS, *SIGNATURE_FILES, *([] if inner.startswith("../") else [inner])})


def _hash_files(path: str, ignored: Sequence[str]) -> list[FileEntry]:
    with map_os_errors(CacheError, f"{show(path)} cannot be read"):
        if not os.path.isdir(path):
            [entry] = hash_tree(os.path.dirname(path), [os.path.basename(path)])
            return [FileEntry(SINGLE_FILE, entry.size_bytes, entry.sha256)]
        names = [name for name in fs.walk(path, folders=True) if not _is_below(name, ignored)]
        for name in names:
            if os.path.islink(os.path.join(path, name)):
                raise CacheError(f"{show(name)} is a link, which a signature does not cover", fix="Sign a copy without links.")
        return list(hash_tree(path, [name for name in names if not os.path.isdir(os.path.join(path, name))]))


def _is_below(name: str, folders: Sequence[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)
