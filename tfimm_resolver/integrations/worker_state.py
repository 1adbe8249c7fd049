"""The settings that a process passes to its workers: overrides, directories, variables and models files, as JSON values."""

from __future__ import annotations

import os
from typing import TypedDict

from tfimm_resolver import settings
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import overrides

_PREFIXES = ("TFIMM_", "TFHUB_")
_PORTABLE_PREFIX = "TFIMM_RESOLVER_"
_PORTABLE = {"TFHUB_MODEL_LOAD_FORMAT", "TFHUB_DISABLE_CERT_VALIDATION", "TFIMM_GITHUB_URL", "TFIMM_KAGGLE_URL"}
_PATHS = {settings.EXTRA_ROOTS, settings.HOSTS_FILE}
_ROOTS = {"TFHUB_CACHE_DIR", "TFIMM_HOME"}


class WorkerState(TypedDict, total=False):
    """What a process has set, for another one.

    Attributes:
        models: the overrides of ``set_model_cache``.
        directory: what ``set_dir`` has set, and the name of that setting.
        variables: environment variables.
        replaces_variables: the receiver has an older copy of the variables: they are replaced, and others are removed.
        models_files: the texts of the models files by their paths, the strongest first.
    """

    models: dict[str, str]
    directory: list[str] | None
    variables: dict[str, str]
    replaces_variables: bool
    models_files: dict[str, str]


def capture_for_child(*, has_old_environment: bool) -> WorkerState:
    """Return the state for a child process, which has the same files, and the same environment or an old copy of it."""
    state = WorkerState(models=overrides.get_overrides(), directory=_get_directory())
    if has_old_environment:
        state["variables"] = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
        state["replaces_variables"] = True
    return state


def capture_for_other_host() -> WorkerState:
    """Return the state for a process that may run on another machine.

    It contains the directories that are buckets, which are the same on each machine, and no other variable that names a path
    of this machine: a worker has a cache of its own. Overrides are passed on as they are, so that one whose path is missing
    there is an error instead of another model.
    """
    directory = _get_directory()
    return WorkerState(
        models=overrides.get_overrides(),
        directory=directory if directory is not None and settings.is_bucket(directory[0]) else None,
        variables={name: value for name, value in os.environ.items() if _is_portable(name, value)},
        models_files=discovery.read_texts(),
    )


def receive(state: WorkerState) -> None:
    """Set what another process has set; what this process has set itself is not changed."""
    overrides.add_overrides(state.get("models", {}))
    directory = state.get("directory")
    if directory is not None and settings.get_dir_override() is None:
        settings.override_dir(*directory)
    variables = state.get("variables", {})
    if state.get("replaces_variables"):
        for name in [name for name in os.environ if name.startswith(_PREFIXES) and name not in variables]:
            del os.environ[name]
        os.environ.update(variables)
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    discovery.add_received(state.get("models_files", {}))


def _get_directory() -> list[str] | None:
    override = settings.get_dir_override()
    return [override.value, override.source] if override is not None else None


def _is_portable(name: str, value: str) -> bool:
    if name in _ROOTS:
        return settings.is_bucket(value)
    return name not in _PATHS and (name in _PORTABLE or name.startswith(_PORTABLE_PREFIX))
