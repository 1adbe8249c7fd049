"""Whose code may be run here: asked of the user, and written down once it has come."""

from __future__ import annotations

import errno
import logging
import os
import sys

from tfimm_resolver._util import fs, terminal
from tfimm_resolver.errors import CacheError, HandleError, UntrustedError
from tfimm_resolver.hub import layout
from tfimm_resolver.locking import lock as locking_lock
from tfimm_resolver.settings import ownership
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


def ask_for_trust(repository: Repository, commit: str, trust_repo: bool | str) -> bool:
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


def remember_trust(repository: Repository) -> None:
    """Write down that a repository is trusted; where that cannot be, it is asked again."""
    path, lock = _path(), None
    try:
        lock = locking_lock.acquire(f"{path}.lock", "the list of trusted repositories")
        if repository.name not in _trusted():
            _append(path, repository.name)
    except OSError as error:
        log.warning("cannot write %s, so you will be asked again: %s", path, error)
    finally:
        if lock is not None:
            lock.release()


def _append(path: str, name: str) -> None:
    """Add a line, instead of writing all anew: what others have put there stays. Others must not be able to add to it.

    Raises:
        OSError: if it cannot be written, or would not be believed afterwards.
    """
    file = fs.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        status = os.fstat(file)
        if not ownership.is_trusted(path, status):
            raise PermissionError(errno.EPERM, "another user can write it", path)
        is_ended = os.read(file, status.st_size)[-1:] in (b"", b"\n")
        os.write(file, f"{'' if is_ended else os.linesep}{name}\n".encode())
    finally:
        os.close(file)


def _path() -> str:
    return f"{layout.get_dir()}/{_LIST}"


def _trusted() -> set[str]:
    """What stands in the list, unless somebody else could have written it: this user's word counts, and the system's."""
    path = _path()
    try:
        with layout.hub_guard().reading() as is_there:
            if not is_there:
                return set()
            with open(path, encoding="utf-8", errors="replace", opener=fs.open_regular) as file:
                status = os.fstat(file.fileno())
                if ownership.is_trusted(path, status):
                    return {line.strip() for line in file}
        log.warning("%s, so another user can write it: no repository is trusted for it", ownership.describe(path, status))
    except FileNotFoundError:
        pass
    except CacheError:
        raise
    except OSError as error:
        if error.errno != errno.ELOOP and not isinstance(error, fs.NotRegularError):
            raise CacheError(f"cannot read {path}: {error.strerror}") from error
        # A link may lead to a text that happens to hold the line; from a pipe nothing may ever come.
        log.warning("%s is not a regular file: no repository is trusted for it", path)
    return set()


def _ask(repository: Repository, commit: str) -> None:
    seen = f"{repository.place}/tree/{commit or repository.ref}"
    facts = (
        f"  repository  {repository.name}\n  commit      {commit or 'not looked up: skip_validation'}\n  to be seen  {seen}"
    )
    fix = f"Look at it, and if you trust it, call with trust_repo=True (command line: --trust).\n{facts}"
    if not (terminal.is_terminal(sys.stdin) or terminal.is_notebook()):
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
