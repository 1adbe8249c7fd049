"""The torch.hub protocol for TensorFlow: models that a repository publishes as functions of its ``hubconf.py``."""

from __future__ import annotations

import os
from typing import Any

from tfimm_resolver._util.lazy import set_public_module
from tfimm_resolver.hub import downloads, repository
from tfimm_resolver.hub.downloads import download_url_to_file
from tfimm_resolver.hub.hubconf import Hubconf
from tfimm_resolver.hub.layout import get_dir, set_dir
from tfimm_resolver.hub.trust import list_trusted, revoke_trust
from tfimm_resolver.hub.weights import load_saved_model_from_url, load_state_dict_from_url

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "list_trusted",
    "load",
    "load_saved_model_from_url",
    "load_state_dict_from_url",
    "revoke_trust",
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
    """Return the names of a repository's entry points. The arguments and errors are those of ``load``.

    This imports the ``hubconf.py``, so the repository must be trusted.

    Example:
        >>> tfimm_resolver.hub.list("ada/models", trust_repo=True)  # doctest: +SKIP
        ['resnet18', 'resnet50']

        The tests skip this call, which needs GitHub. A name that is not a repository is an error:

        >>> tfimm_resolver.hub.list("models")
        Traceback (most recent call last):
        tfimm_resolver.errors.HandleError: ...
    """
    checkout = repository.ensure_checkout(
        github, force_reload=force_reload, skip_validation=skip_validation, trust_repo=trust_repo, verbose=verbose
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(checkout).list_names()


def help(  # noqa: A001
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: bool | str = "check"
) -> str | None:
    """Return the docstring of an entry point, or None without one. The other arguments and the errors are those of ``load``.

    Example:
        >>> print(tfimm_resolver.hub.help("ada/models", "resnet18", trust_repo=True))  # doctest: +SKIP
        A ResNet with 18 layers.

        The tests skip this call, which needs GitHub. A name that is not a repository is an error:

        >>> tfimm_resolver.hub.help("models", "resnet18")
        Traceback (most recent call last):
        tfimm_resolver.errors.HandleError: ...
    """
    checkout = repository.ensure_checkout(
        github, force_reload=force_reload, skip_validation=skip_validation, trust_repo=trust_repo
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(checkout).get_entry(model).__doc__


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
    """Call an entry point of a repository and return its result, usually a model.

    Args:
        repo_or_dir: ``[host/]owner/repo[:ref]``, where the ref is a branch, a tag, or the commit that one of them points to;
            without a ref the default branch. A directory if ``source`` is "local".
        model: the name of the entry point.
        *args: positional arguments of the entry point; ``**kwargs`` are keyword arguments.
        source: "github" or "local".
        trust_repo: "check" asks the user to confirm a repository that is not in the list of trusted repositories; False
            always asks; True confirms it. A commit that is not a tip needs it each time, a local directory never.
        force_reload: download the repository, and the files that its entry point downloads through this module, again;
            cached copies are kept if that fails.
        verbose: print or log what is downloaded, or the path of the cached copy.
        skip_validation: accept a commit that no branch or tag points to, such as one of a fork.

    Raises:
        HandleError: if ``repo_or_dir`` is not a repository.
        UntrustedError: if the user does not trust the repository, or cannot be asked without a terminal.
        FetchError: if it cannot be fetched: UnknownRefError, NotFoundError if it has no hubconf.py, AccessError, OfflineError.
        MissingDependencyError: if a dependency of its hubconf.py is not installed.
        EntryPointError: if there is no such entry point, or it raises an exception, which becomes the cause.
        CacheError: if the directory of the hub cannot be used.

    Example:
        >>> with open("hubconf.py", "w") as file:
        ...     _ = file.write("def double(x): return 2 * x")
        >>> tfimm_resolver.hub.load(".", "double", 21, source="local")
        42
    """
    checkout = repository.ensure_checkout(
        repo_or_dir,
        source=source,
        trust_repo=trust_repo,
        force_reload=force_reload,
        verbose=verbose,
        skip_validation=skip_validation,
    )
    with downloads.force_reload_scope(force_reload):
        return Hubconf(checkout).call(model, *args, **kwargs)


set_public_module(__name__, *map(globals().get, __all__))
