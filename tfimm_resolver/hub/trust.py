"""Trust store: asks the user before code of a repository runs, and records the answer once the code was fetched."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import sys
from collections.abc import Iterable

from tfimm_resolver import progress
from tfimm_resolver._util import fs, terminal
from tfimm_resolver._util.outgoing import clean_text, show
from tfimm_resolver.errors import CacheError, HandleError, UntrustedError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.hub import layout
from tfimm_resolver.locking import lock as locks
from tfimm_resolver.locking.owner import new_token
from tfimm_resolver.settings import ownership
from tfimm_resolver.sources.github import Repository

log = logging.getLogger("tfimm_resolver")

_LIST = "trusted_list"
_BYTES_MAX = 16 << 20


def check_choice(trust_repo: bool | str) -> None:
    """Check the value of ``trust_repo``. None is not accepted: in torch.hub it meant to run the code with a warning.

    Raises:
        HandleError: if it is neither True, False nor "check".
    """
    if trust_repo not in (True, False, "check") or not isinstance(trust_repo, (bool, str)):
        raise HandleError(f"trust_repo is {trust_repo!r}", fix='It must be True, False or "check".')


def confirm_trust(repository: Repository, commit: str, trust_repo: bool | str, *, is_tip: bool = True) -> bool:
    """Make sure that the user trusts the repository; return whether it has to be added to the list of trusted ones.

    ``trust_repo`` is "check" to ask only about a repository that is not in the list, False to ask always, True to not ask.
    A commit that is not at the tip of a branch or tag has to be confirmed each time: hosts offer those of forks and of
    proposed changes, which anyone can write, under the name of the repository.

    Raises:
        UntrustedError: if the user does not trust it, or cannot be asked.
    """
    is_known = is_trusted(repository.full_name)
    if trust_repo is False or (trust_repo == "check" and not (is_known and is_tip)):
        _prompt(repository, commit, is_tip)
        if is_known and is_tip:
            log.info("The repository is already trusted.")
    return is_tip and not is_known


def is_trusted(full_name: str) -> bool:
    """Return whether a repository, given by host, owner and name, is in the list of trusted ones."""
    return full_name in _read_list()


def remember_trust(repository: Repository) -> None:
    """Add a repository to the list of trusted ones; if that fails, the user is asked again next time."""
    path, lock = _get_path(), None
    try:
        lock = locks.acquire(f"{path}.lock", "the list of trusted repositories")
        if repository.full_name not in _read_list():
            _append(path, repository.full_name)
    except OSError as error:
        log.warning("cannot write %s, so you will be asked again: %s", path, error)
    finally:
        if lock is not None:
            lock.release()


def list_trusted() -> list[str]:
    """Return the trusted repositories, each with host, owner and name, sorted.

    Raises:
        CacheError: if the list cannot be read.

    Example:
        >>> tfimm_resolver.hub.list_trusted()
        []
    """
    return sorted(filter(None, _read_list()))


def revoke_trust(repositories: str | Iterable[str], *, dry_run: bool = False) -> list[str]:
    """Remove repositories from the list of trusted ones, or only check that they are in it; return their full names.

    A name is ``owner/repo``, with the host if it is not the default one, or a line of the list as it is.

    Raises:
        HandleError: before anything is changed, if a repository is not in the list.
        CacheError: if the list cannot be read or written.

    Example:
        >>> tfimm_resolver.hub.revoke_trust(["ada/models"])
        Traceback (most recent call last):
        tfimm_resolver.errors.HandleError: ...
    """
    path = _get_path()
    requested = {name: _find_line(name) for name in list_names(repositories, "repositories")}
    if dry_run or not requested:
        return [*dict.fromkeys(requested.values())]
    with map_os_errors(CacheError, f"cannot write {show(path)}", show_path=True):
        lock = locks.acquire(f"{path}.lock", "the list of trusted repositories")
        try:
            _rewrite(path, _read_list() - {*requested.values()})
        finally:
            if lock is not None:
                lock.release()
    return [*dict.fromkeys(requested.values())]


def _find_line(name: str) -> str:
    """Return the line of the list that a name stands for."""
    trusted, candidates = list_trusted(), [name]
    with contextlib.suppress(HandleError):
        candidates.append(Repository.parse(name).full_name)
    for candidate in candidates:
        if candidate in trusted:
            return candidate
    raise HandleError(
        f"{show(name)} is not in the list of trusted repositories, {show(_get_path())}",
        fix=Advice(
            python="Nothing was changed. Names are those that hub.list_trusted() returns.",
            command="Nothing was changed. Run `tfimm-resolver hub trust list` to see them.",
        ),
    )


def _rewrite(path: str, names: set[str]) -> None:
    """Replace the list atomically."""
    temp_path = f"{path}.{new_token()}.tmp"
    try:
        file = fs.open_regular(temp_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(file, "".join(f"{name}{os.linesep}" for name in sorted(names)).encode())
            fs.fsync_open(file)
        finally:
            os.close(file)
        fs.durable_replace(temp_path, path)
    finally:
        fs.unlink(temp_path)


def _append(path: str, name: str) -> None:
    """Append a line to the list, which torch.hub may write to at the same time.

    Raises:
        OSError: if the list cannot be written, or other users can write to it, so that it would be ignored.
    """
    file = fs.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644, max_bytes=_BYTES_MAX)
    try:
        status = os.fstat(file)
        if not ownership.is_trusted(path, status):
            raise PermissionError(errno.EPERM, "another user can write to it", path)
        is_ended = os.read(file, status.st_size)[-1:] in (b"", b"\n")
        os.write(file, f"{'' if is_ended else os.linesep}{name}\n".encode())
    finally:
        os.close(file)


def _get_path() -> str:
    return f"{layout.get_dir()}/{_LIST}"


def _read_list() -> set[str]:
    """Return the list of trusted repositories; empty if a user other than this one or root can write to it."""
    path = _get_path()
    with map_os_errors(CacheError, f"cannot read {show(path)}"), contextlib.suppress(FileNotFoundError):
        try:
            with layout.get_guard().reading() as is_there:
                return _read_trusted_list(path) if is_there else set()
        except OSError as error:
            if error.errno != errno.ELOOP and not isinstance(error, fs.NotRegularError):
                raise
            # A link may lead to any text that contains the line; reading a pipe may block for ever.
            log.warning("%s is not a regular file: the list is ignored", path)
    return set()


def _read_trusted_list(path: str) -> set[str]:
    with open(path, "rb", opener=functools.partial(fs.open_regular, max_bytes=_BYTES_MAX)) as file:
        status = os.fstat(file.fileno())
        if ownership.is_trusted(path, status):
            return {line.strip() for line in file.read(_BYTES_MAX).decode("utf-8", "replace").splitlines()}
    log.warning("%s, so another user can write to it: the list is ignored", ownership.describe(path, status))
    return set()


def _prompt(repository: Repository, commit: str, is_tip: bool) -> None:
    name, url = repository.full_name, show(f"{repository.url}/tree/{commit}")
    facts = f"  repository  {show(name)}\n  commit      {show(commit)}\n  browse      {url}"
    if not is_tip:
        facts += "\n  The commit is not at the tip of a branch or tag: anyone may have written it, for example in a fork."
    inspect = "Inspect it; if you trust it,"
    fix = Advice(
        python=f"{inspect} call with trust_repo=True.\n{facts}", command=f"{inspect} run the command with --trust.\n{facts}"
    )
    if not (progress.is_terminal(sys.stdin) or terminal.is_notebook()):
        cause = f"{show(name)} is not in {_get_path()}" if is_tip else f"{show(commit)} is not a tip of {show(name)}"
        raise UntrustedError(f"Untrusted repository. {cause}, and without a terminal you cannot be asked", fix=fix)
    if is_tip:
        statement = (
            f"The repository {show(name)} does not belong to the list of trusted repositories and as such cannot be run."
        )
        question = "Do you trust this repository and wish to add it to the trusted list of repositories (y/N)? "
    else:
        statement = f"This commit of the repository {show(name)} cannot be run without a confirmation"
        question = "Do you trust this commit (y/N)? "
    sys.stderr.write(f"{statement}.\n{clean_text(facts)}\n{question}")
    sys.stderr.flush()
    try:
        answer = input().strip()
    except (EOFError, RuntimeError) as error:  # RuntimeError: a notebook that runs without a user
        raise UntrustedError(f"Untrusted repository. No answer was given for {show(name)}", fix=fix) from error
    if answer.lower() not in ("y", "yes"):
        other = "" if answer.lower() in ("", "n", "no") else f" Unrecognized response {answer!r}."
        raise UntrustedError(f"Untrusted repository.{other} No code of {show(name)} was run", fix="")
