"""The two source trees that are compared: a commit, checked out for the time of a run, and the working tree."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class CommitError(Exception):
    """A commit cannot be read from this clone."""


def find_commit(name: str, repository: Path = REPOSITORY) -> str:
    """Return the full hash of a commit.

    Raises:
        CommitError: if the clone does not have it.
    """
    found = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found.returncode:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        reason = "; the clone is shallow: `git fetch --unshallow` fetches the rest of its history" if shallow else ""
        raise CommitError(f"the commit {name} is not in the clone at {repository}{reason}")
    return found.stdout.decode().strip()


def check_out(commit: str, folder: Path, repository: Path = REPOSITORY) -> Path:
    """Write the package as it is in a commit below ``folder``; return the directory for PYTHONPATH.

    Raises:
        CommitError: if the commit does not hold the package.
    """
    archive = _git(repository, "archive", "--format=tar", commit, "tfimm_resolver")
    if archive.returncode:
        raise CommitError(f"the package cannot be read from {commit}: {archive.stderr.decode().strip()}")
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as members:
        members.extractall(folder, filter="data")
    return folder


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)
