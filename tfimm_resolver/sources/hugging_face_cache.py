"""Hugging Face's own cache on this machine, written by huggingface_hub: complete snapshots are used in place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator

from tfimm_resolver._util import fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.errors import ArchiveError, HandleError
from tfimm_resolver.handles.git import COMMIT, is_ref
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.saved_model.assets import list_asset_names
from tfimm_resolver.saved_model.completeness import find_defect

_REF_BYTES_MAX = 200
_LISTING_BYTES_MAX = 32 << 20
_LISTING_VALUES_MAX = 1_000_000
_FILES_MAX = 100_000
_READ_BYTES = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


def find_snapshot(model: HuggingFaceModel, root: str = "") -> str | None:
    """Return the directory of a model at a commit if the cache holds all of it; None if not, or if that is not known.

    ``root`` is the directory of the cache; by default, the one that huggingface_hub uses.

    All of it: the files that huggingface_hub listed for the commit, in their sizes; without such a list, a complete
    SavedModel with its assets, while no download is unfinished. No file may lead out of the repository's part of the cache.
    """
    repository = get_repository_dir(model, root)
    path = "/".join(filter(None, (repository, "snapshots", model.revision, model.folder)))
    try:
        if not os.path.isdir(path) or os.path.realpath(path) != os.path.realpath(repository) + path[len(repository) :]:
            return None  # no such snapshot, or a link in place of one of its directories
        sizes = dict(_iterate_files(path, os.path.realpath(repository)))
    except (OSError, ValueError, RecursionError):  # a link that leads nowhere or out of the cache, endless directories
        return None
    listed = _read_listing(repository, model)
    if listed is None:
        return path if _is_complete_model(path, repository, sizes) else None
    return path if listed and listed.items() <= sizes.items() else None


def find_commit(model: HuggingFaceModel) -> str | None:
    """Return the commit that the model's branch or tag was at when huggingface_hub last asked for it, or None."""
    path = f"{get_repository_dir(model)}/refs/{model.revision or 'main'}"
    try:
        commit = fs.read_regular(path, _REF_BYTES_MAX).decode().strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def get_cache_dir() -> str:
    """Return where huggingface_hub keeps models; read at each call, while huggingface_hub reads the variables once."""
    variables = os.environ
    home = variables.get("HF_HOME") or f"{variables.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    cache = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return os.path.abspath(os.path.expandvars(os.path.expanduser(cache)))


def get_repository_dir(model: HuggingFaceModel, root: str = "") -> str:
    """Return where huggingface_hub keeps a repository."""
    return f"{root or get_cache_dir()}/models--{model.owner}--{model.model}"


def list_snapshots(root: str) -> Iterator[HuggingFaceModel]:
    """Yield the repository and the commit of every snapshot in a cache, complete or not; others' files there are ignored."""
    for folder in _list_dir(root):
        owner, _, name = folder.removeprefix("models--").partition("--")
        if not folder.startswith("models--"):
            continue
        for commit in _list_dir(f"{root}/{folder}/snapshots"):
            with contextlib.suppress(HandleError):
                model = HuggingFaceModel.parse("hf", owner, f"/{name}@{commit}")
                if model is not None and model.is_immutable:
                    yield model


def list_refs(model: HuggingFaceModel, root: str) -> Iterator[str]:
    """Yield the branches and tags that were at the model's commit when huggingface_hub last asked for them."""
    folder = f"{get_repository_dir(model, root)}/refs"
    for ref in sorted(fs.walk(folder)):
        with contextlib.suppress(OSError, ArchiveError):
            if is_ref(ref) and fs.read_regular(join_safely(folder, ref), _REF_BYTES_MAX).strip() == model.revision.encode():
                yield ref


def find_blob_defect(path: str, blob: str, sha256: str) -> str | None:
    """Return why a file with that sha256 is not the blob of that name, or None; other names than hashes say nothing.

    The cache names large files by their sha256, small ones by git's hash of a blob.
    """
    if _SHA256.fullmatch(blob):
        return None if sha256 == blob else f"its sha256 is {sha256}, its name says {blob}"
    return None if not COMMIT.fullmatch(blob) or _hash_as_git(path) == blob else f"its hash as a blob of git is not {blob}"


def find_blob(link: str, blobs: str) -> tuple[str, str] | None:
    """Return the file that a link of a snapshot leads to, and its name among the repository's blobs, or None.

    None means that it leads elsewhere. A blob may be a link, too: huggingface_hub 2.4 stores files that came over Xet once for
    all repositories, under their hash of Xet.

    Args:
        link: the link.
        blobs: the directory of the repository's blobs, of which no part is a link.
    """
    folder, name = _read_link(link)
    if folder != blobs:
        return None
    blob = f"{blobs}/{name}"
    if not os.path.islink(blob):
        return blob, name
    folder, shared = _read_link(blob)
    cache = os.path.dirname(os.path.dirname(blobs))
    if not _SHA256.fullmatch(shared) or folder != f"{cache}/blobs/{shared[:2]}" or os.path.islink(f"{folder}/{shared}"):
        return None
    return f"{folder}/{shared}", name


def _read_link(link: str) -> tuple[str, str]:
    """Return the directory, without links, and the name to which a link leads."""
    folder, name = os.path.split(os.path.join(os.path.dirname(link), os.readlink(link)))
    return os.path.realpath(folder), name


def _hash_as_git(path: str) -> str:
    with open(path, "rb", buffering=0, opener=fs.open_regular) as file:
        sha1 = hashlib.sha1(f"blob {os.fstat(file.fileno()).st_size}\0".encode(), usedforsecurity=False)
        while chunk := file.read(_READ_BYTES):
            sha1.update(chunk)
    return sha1.hexdigest()


def _list_dir(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _iterate_files(folder: str, repository: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the path below ``folder`` of every file, and its size in bytes.

    Raises:
        ValueError: if an entry is neither a directory, a regular file nor a link to a file among the repository's blobs, or
            there are too many.
    """
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            if count > _FILES_MAX:
                raise ValueError("too many files")
            if entry.is_dir(follow_symlinks=False):
                yield from _iterate_files(entry.path, repository, f"{prefix}{entry.name}/")
                continue
            found = find_blob(entry.path, f"{repository}/blobs") if entry.is_symlink() else (entry.path, "")
            if found is None:
                raise ValueError("a link leads out of the cache")
            target, _ = found
            if not os.path.isfile(target):
                raise ValueError("an entry is not a file")
            yield prefix + entry.name, os.stat(target).st_size


def _read_listing(repository: str, model: HuggingFaceModel) -> dict[str, int] | None:
    """Return the sizes of the files below the model's folder as huggingface_hub 1.0 and later notes them; None if unknown."""
    try:
        text = fs.read_regular(f"{repository}/trees/{model.revision}.json", _LISTING_BYTES_MAX)
        facts = parse_json(text, max_bytes=_LISTING_BYTES_MAX, max_values=_LISTING_VALUES_MAX)
        files = facts["files"] if facts["format_version"] == 1 else None
        if files is None:
            return None
        folder = f"{model.folder}/" if model.folder else ""
        named = {name.removeprefix(folder): entry for name, entry in files.items() if name.startswith(folder)}
        return {name: int(entry.get("lfs_size") or entry["size"]) for name, entry in named.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _is_complete_model(path: str, repository: str, sizes: dict[str, int]) -> bool:
    if find_defect(path) is not None:
        return False
    names = list_asset_names(path) or ()
    if any(f"assets/{name}" not in sizes for name in names):
        return False
    with contextlib.suppress(FileNotFoundError), os.scandir(f"{repository}/blobs") as entries:
        return not any(entry.name.endswith(".incomplete") for entry in entries)
    return True
