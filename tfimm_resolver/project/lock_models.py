"""Compares the models of the models file with upstream, and pins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError, ResolverError
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel
from tfimm_resolver.project import pins


@dataclass(frozen=True, slots=True)
class LockResult:
    """The outcome for one model.

    Attributes:
        model: its entry in the models file before.
        state: ``ok``: it matches its pin; ``pinned``: it has a pin now; ``updated``: it has a new pin; ``changed``: upstream
            has another archive than is pinned; ``unpinned``: ``check`` found no complete pin; ``unverified``: it cannot be
            pinned, since it is not an archive; ``failed``: see ``error``.
        origin: the archive upstream: ``origin.sha256``, and ``origin.size_bytes`` in bytes; empty if it was not looked up.
        error: why the model could not be compared or pinned; None otherwise.

    Example:
        >>> from tfimm_resolver import project
        >>> added = project.add("half", "https://models.example/half_plus_two/1.tar.gz")
        >>> [result] = project.lock(["half"])
        >>> result.state, result.model.name, result.origin.sha256 == result.model.sha256, result.error
        ('ok', 'half', True, None)
    """

    model: ModelEntry
    state: str
    origin: Origin = field(default_factory=Origin)
    error: ResolverError | None = None


def lock(names: Sequence[str] = (), *, update: bool = False, check: bool = False, jobs: int = 4) -> list[LockResult]:
    """Compare the models of the models file with upstream, and pin those that are not pinned yet.

    Args:
        names: names or aliases of models; all models if there are none.
        update: fetch models that changed upstream, and pin the new version.
        check: change nothing.
        jobs: how many models are compared at the same time.

    Returns:
        One result for each model; one that fails does not stop the others.

    Raises:
        HandleError: if both ``update`` and ``check`` are given; UnknownHandleError if a name is in no models file.
        ModelsFileError: if no models file exists, or one cannot be used.

    Example:
        >>> from tfimm_resolver import project
        >>> with open("tfimm-models.toml", "w") as file:
        ...     _ = file.write('[models.half]\\nhandle = "https://models.example/half_plus_two/1.tar.gz"\\n')
        >>> [result.state for result in project.lock(check=True)]
        ['unpinned']
        >>> [result.state for result in project.lock()]
        ['pinned']
    """
    if update and check:
        raise HandleError("update changes the models file, and check must not: use one of them")
    models = pins.select_models(names)
    results = map_parallel(
        lambda model: _compare(model, update, check),
        models,
        jobs=jobs,
        get_label=lambda model: model.name,
        total_bytes=pins.sum_archive_sizes(models),
        quiet=settings.is_quiet(),
    )
    return [_write_pin(result) for result in results]


def _compare(model: ModelEntry, update: bool, check: bool) -> LockResult:
    """Look up the archive upstream; it is stored in the cache only if it is to be pinned."""
    try:
        if model.sha256 is None and check:
            return LockResult(model, "unpinned" if pins.can_be_pinned(model.parse_handle()) else "unverified")
        must_fetch = model.sha256 is None or update
        origin = (
            pins.fetch_and_hash(replace(model.parse_handle(), sha256=None), refresh=True)[1]
            if must_fetch
            else pins.fetch_upstream_hash(model.parse_handle())
        )
    except ResolverError as error:
        return LockResult(model, "failed", error=error)
    return LockResult(model, _classify(model, origin, update, check), origin)


def _classify(model: ModelEntry, origin: Origin, update: bool, check: bool) -> str:
    if not origin.sha256:
        return "unverified"
    if model.sha256 not in (None, origin.sha256):
        return "updated" if update else "changed"
    if model.size_bytes != origin.size_bytes or model.sha256 is None:
        return "unpinned" if check else "pinned"
    return "ok"


def _write_pin(result: LockResult) -> LockResult:
    if result.state in ("pinned", "updated"):
        try:
            pins.pin(result.model, result.origin)
        except ResolverError as error:
            return LockResult(result.model, "failed", result.origin, error)
    return result
