"""Whose code may be run here: asked of the user, and written down once it has come."""

from __future__ import annotations

import logging
import os
import stat
import sys

from tfimm_resolver import locks, progress
from tfimm_resolver.errors import CacheError, HandleError, UntrustedError
from tfimm_resolver.hub import places
from tfimm_resolver.sources.github import Repository

log = logging.getLogger("tfimm_resolver")

_LIST = "trusted_list"


def check_choice(trust_repo: bool | str) -> None:
    """Refuse, before anything is done, what is no choice; None was one of torch.hub's, and meant to run it anyway.

    Raises:
        HandleError: if it is neither True, False nor "check".
    """
    if trust_repo not in (True, False, "check") or not isinstance(trust_repo, (bool, str)):
        raise HandleError(f"trust_repo is {trust_repo!r}", fix='It has to be True, False or "check".')


def is_newly_trusted(repository: Repository, commit: str, trust_repo: bool | str) -> bool:
    """Whether the user trusts the repository, and nobody has written that down yet.

    True stands for the answer yes; False asks even of a repository that is in the list.

    Raises:
        UntrustedError: if the user does not trust it, or cannot be asked.
    """
    is_known = repository.name in _trusted()
    if trust_repo is False or (trust_repo == "check" and not is_known):
        _ask(repository, commit)
        if is_known:
            log.info("The repository is already trusted.")
    return not is_known


def note(repository: Repository) -> None:
    """Write down that a repository is trusted; where that cannot be, it is asked again."""
    path, lock = _path(), None
    try:
        lock = locks.acquire(f"{path}.lock", "the list of trusted repositories")
        if repository.name not in _trusted():
            # Added, not written anew: what others have put there stays. Others must not be able to add to it.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                is_ended = os.read(file, os.fstat(file).st_size)[-1:] in (b"", b"\n")
                os.write(file, f"{'' if is_ended else os.linesep}{repository.name}\n".encode())
            finally:
                os.close(file)
    except OSError as error:
        log.warning("cannot write %s, so you will be asked again: %s", path, error)
    finally:
        if lock is not None:
            lock.release()


def _path() -> str:
    return f"{places.get_dir()}/{_LIST}"


def _trusted() -> set[str]:
    """What stands in the list, unless somebody else could have written it: this user's word counts, and the system's."""
    try:
        with open(_path(), encoding="utf-8", errors="replace") as file:
            status = os.fstat(file.fileno())
            lines = {line.strip() for line in file}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise CacheError(f"cannot read {_path()}: {error.strerror}") from error
    if hasattr(os, "getuid") and (status.st_uid not in (0, os.getuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        log.warning("%s belongs to somebody else, or others may write it: nobody is trusted for it", _path())
        return set()
    return lines


def _ask(repository: Repository, commit: str) -> None:
    seen = f"{repository.place}/tree/{commit or repository.ref}"
    facts = (
        f"  repository  {repository.name}\n  commit      {commit or 'not looked up: skip_validation'}\n  to be seen  {seen}"
    )
    fix = f"Look at it, and if you trust it, call with trust_repo=True (command line: --trust).\n{facts}"
    if not (progress.is_terminal(sys.stdin) or progress.is_notebook()):
        raise UntrustedError(
            f"Untrusted repository. {repository.name} is not in {_path()}, and there is no terminal to ask on", fix=fix
        )
    sys.stderr.write(
        f"The repository {repository.name} does not belong to the list of trusted repositories and as such cannot be run.\n"
        f"{facts}\nDo you trust this repository and wish to add it to the trusted list of repositories (y/N)? "
    )
    sys.stderr.flush()
    try:
        answer = input().strip()
    except (EOFError, RuntimeError) as error:  # the latter: a notebook that nobody sits at
        raise UntrustedError(f"Untrusted repository. Nobody answered for {repository.name}", fix=fix) from error
    if answer.lower() not in ("y", "yes"):
        other = "" if answer.lower() in ("", "n", "no") else f" Unrecognized response {answer!r}."
        raise UntrustedError(f"Untrusted repository.{other} Nothing of {repository.name} was run", fix="")
