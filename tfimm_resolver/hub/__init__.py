"""torch.hub's protocol for TensorFlow: models that a repository publishes as functions of its ``hubconf.py``."""

from __future__ import annotations

import os
from typing import Any

from tfimm_resolver.hub import downloads, repository
from tfimm_resolver.hub.downloads import download_url_to_file
from tfimm_resolver.hub.hubconf import Hubconf
from tfimm_resolver.hub.layout import get_dir, set_dir
from tfimm_resolver.hub.weights import load_saved_model_from_url, load_state_dict_from_url

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "load",
    "load_saved_model_from_url",
    "load_state_dict_from_url",
    "set_dir",
]

_list = list


def __dir__() -> _list[str]:
    return __all__


def list(  # noqa: A001  # torch.hub's names
    github: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: bool | str = "check",
    verbose: bool = True,
) -> _list[str]:
    """The entry points of a repository: imports its ``hubconf.py``, so it has to be trusted. All else is as of ``load``."""
    folder = repository.ensure_directory(
        github, force_reload=force_reload, skip_validation=skip_validation, trust_repo=trust_repo, verbose=verbose
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(folder).names()


def help(  # noqa: A001
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: bool | str = "check"
) -> str | None:
    """The docstring of an entry point, None if it has none. All else is as of ``load``."""
    folder = repository.ensure_directory(
        github, force_reload=force_reload, skip_validation=skip_validation, trust_repo=trust_repo
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(folder).entry(model).__doc__


def load(
    repo_or_dir: str | os.PathLike[str],
    model: str,
    *args: Any,
    source: str = "github",
    trust_repo: bool | str = "check",
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
    **kwargs: Any,
) -> Any:
    """What an entry point of a repository gives: a model, as a rule.

    Args:
        repo_or_dir: ``[host/]owner/repo[:ref]``; the ref is a branch, a tag, or the commit at the tip of one, and where
            there is none the default branch. With the source "local" a directory.
        model: the name of the entry point.
        *args: for the entry point, as ``**kwargs`` are.
        source: "github" or "local".
        trust_repo: "check" asks the user about a repository that is not in the list of trusted ones, False about any;
            True is the user's yes. The code of a local directory is run without a question.
        force_reload: fetch anew the repository, and what its entry point fetches by the functions here. What lies here
            stays in force if that fails.
        verbose: say in the log where the cached copy lies.
        skip_validation: take whatever the host gives for the ref, also a commit that is no tip, of a fork for instance.

    Raises:
        HandleError: if the text names no repository.
        UntrustedError: if the user does not trust it, or there is no terminal to ask on.
        FetchError: if it did not come: UnknownRefError, NotFoundError where it has no hubconf.py, AccessError, OfflineError.
        MissingDependencyError: if packages are not installed that its hubconf.py names.
        EntryPointError: if there is no such entry point, or it raised: that error is the cause.
        CacheError: if the directory of the hub cannot be used.
    """
    folder = repository.ensure_directory(
        repo_or_dir,
        source=source,
        trust_repo=trust_repo,
        force_reload=force_reload,
        verbose=verbose,
        skip_validation=skip_validation,
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(folder).call(model, *args, **kwargs)
