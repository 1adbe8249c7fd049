"""Fetches the models of the models file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import keeping, tiers
from tfimm_resolver.errors import IntegrityError, ModelsFileError, ResolverError, SignatureError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel
from tfimm_resolver.project import pins
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.selection import select_model


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The outcome for one model.

    Attributes:
        model: its entry in the models file.
        state: ``cached``: it was there already; ``fetched``; ``missing``: ``check`` found that it has to be fetched;
            ``changed``: the cached model, or the one upstream, does not match the pin; ``unsigned``: a signature that is
            required is missing, not valid, or cannot be verified; ``failed``. See ``error``.
        path: where the model is, as ``resolve`` returns it; None if it is not there.
        error: why it is ``changed``, ``unsigned`` or ``failed``; None otherwise.

    Example:
        >>> from tfimm_resolver import project
        >>> added = project.add("half", "https://models.example/half_plus_two/1.tar.gz")
        >>> [result] = project.sync(["half"])
        >>> result.state, result.path == added.path, result.error
        ('cached', True, None)
    """

    model: ModelEntry
    state: str
    path: str | None = None
    error: ResolverError | None = None


def sync(names: Sequence[str] = (), *, check: bool = False, jobs: int = 4) -> list[SyncResult]:
    """Fetch the models of the models file that are not cached, or are cached with another hash than their pin.

    Args:
        names: names or aliases of models; all models if there are none.
        check: fetch nothing.
        jobs: how many models are fetched at the same time.

    Returns:
        One result for each model; one that fails does not stop the others.

    Raises:
        UnknownHandleError: if a name is in no models file.
        ModelsFileError: if no models file exists, or one cannot be used.

    Example:
        >>> from tfimm_resolver import project
        >>> with open("tfimm-models.toml", "w") as file:
        ...     _ = file.write('[models.half]\\nhandle = "https://models.example/half_plus_two/1.tar.gz"\\n')
        >>> [result.state for result in project.sync(check=True)]
        ['missing']
        >>> [result.state for result in project.sync()]
        ['fetched']
    """
    results = [_check_cached(model) for model in pins.select_models(names)]
    if not check:
        results = _fetch_missing(results, jobs)
        paths = [(result.model.file, result.path) for result in results if result.path]
        for file in {file for file, _ in paths}:
            inside = [path for other, path in paths if other == file]
            keeping.note_project(tiers.open_cache().root, file, inside, is_complete=not names)
    return results


def _check_cached(model: ModelEntry) -> SyncResult:
    """Check whether the model is cached, without network access."""

    def check() -> SyncResult:
        found = find_cached(rules.match_rule(Request.parse(model.name)))
        return SyncResult(model, "cached", select_model(found)) if found else SyncResult(model, "missing")

    return _capture_errors(model, check)


def _fetch_missing(results: Sequence[SyncResult], jobs: int) -> list[SyncResult]:
    """Fetch the models that are missing, or whose copy does not match its pin or signature; keep the order of the results."""
    outdated = {result.model.name for result in results if result.state in ("changed", "unsigned")}
    missing = [result.model for result in results if result.state == "missing" or result.model.name in outdated]

    def fetch_model(model: ModelEntry) -> SyncResult:
        def fetch_pinned() -> SyncResult:
            return SyncResult(model, "fetched", select_model(fetch(_match_unchanged(model, refresh=model.name in outdated))))

        return _capture_errors(model, fetch_pinned)

    fetched = map_parallel(
        fetch_model,
        missing,
        jobs=jobs,
        get_label=lambda model: model.name,
        total_bytes=pins.sum_archive_sizes(missing),
        quiet=settings.is_quiet(),
    )
    by_name = {result.model.name: result for result in fetched}
    return [by_name.get(result.model.name, result) for result in results]


def _match_unchanged(model: ModelEntry, *, refresh: bool) -> ResolvedPlan:
    """Return the plan for a model, unless its entry in the models file has changed since it was read."""
    resolved = rules.match_rule(Request.parse(model.name, refresh=refresh))
    if resolved.model != model:
        raise ModelsFileError(
            f"{show(model.location)}: {show(model.name)} was changed during the run",
            fix=Advice(
                python="It was not fetched: call project.sync() again.",
                command="It was not fetched: run `tfimm-resolver sync` again.",
            ),
        )
    return resolved


def _capture_errors(model: ModelEntry, action: Callable[[], SyncResult]) -> SyncResult:
    try:
        return action()
    except SignatureError as error:
        return SyncResult(model, "unsigned", error=error)
    except IntegrityError as error:
        return SyncResult(model, "changed", error=error)
    except ResolverError as error:
        return SyncResult(model, "failed", error=error)
