"""One process of the soak test: does its steps, and checks that what it holds never changes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator

from tests.soak.models import SIZE_BYTES, read_version
from tfimm_resolver import maintenance, resolve
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import CacheError, CancelledError, UnknownHandleError
from tfimm_resolver.locking import use_lock

_MODELS_IN_CAP = 4


class Worker:
    """Does one step after the other; ``held`` is what this process has resolved, with the version that it saw."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._held: dict[str, tuple[int, int]] = {}

    def run(self, action: str, model: int) -> str:
        """Do a step; return its result."""
        result = getattr(self, f"_{action}")(model, f"{self._url}/m{model}.tar.gz")
        self._check_held()
        return str(result)

    def _resolve(self, model: int, handle: str, *, refresh: bool = False) -> int:
        path = resolve(handle, refresh=refresh)
        try:
            version = read_version(path, model)
        except (OSError, AssertionError):  # damaged by another process just after it was found complete
            path = resolve(handle)
            version = read_version(path, model)
        known = self._held.setdefault(path, (model, version))
        assert known == (model, version), f"{path} has changed from {known} to {(model, version)}"
        return version

    def _refresh(self, model: int, handle: str) -> int:
        return self._resolve(model, handle, refresh=True)

    def _interrupt(self, model: int, handle: str) -> str:
        """Refresh, and cancel that a moment later."""
        cancel = threading.Event()
        timer = threading.Timer(0.003 * model, cancel.set)
        timer.start()
        try:
            resolve(handle, refresh=True, cancel=cancel)
        except CancelledError:
            return "cancelled"
        finally:
            timer.cancel()
        return "done"

    def _prune(self, model: int, handle: str) -> int:
        return len(maintenance.prune(max_size=f"{_MODELS_IN_CAP * SIZE_BYTES}B").removed)

    def _remove(self, model: int, handle: str) -> str:
        try:
            (result,) = maintenance.remove(handle)
        except UnknownHandleError:
            return "not cached"
        assert result.error is None or "in use" in str(result.error), str(result.error)
        if result.error is None:
            self._forget(model)
        return result.state

    def _verify(self, model: int, handle: str) -> int:
        return len(maintenance.verify())

    def _repair(self, model: int, handle: str) -> int:
        own = {path for path, (number, _) in self._held.items() if number == model}
        try:
            results = maintenance.verify([handle], repair=True)
        except UnknownHandleError:
            return 0
        for path in own:
            if not use_lock.is_held(path):  # a repair may replace what only this process uses
                self._held.pop(path, None)
        return len(results)

    def _damage(self, model: int, handle: str) -> str:
        """Remove a file of a model that no process uses."""
        cache = tiers.open_cache()
        with cache.root.lock(name := entry_name_for_key(handle)):
            tree = cache.root.path_of(cache.read_record(name).tree)
            with contextlib.suppress(FileNotFoundError):
                exclusion = use_lock.try_exclude(tree)
                if exclusion is not None:
                    with exclusion:
                        os.unlink(f"{tree}/saved_model.pb")
                        return "damaged"
        return "in use, or not cached"

    def _fork(self, model: int, handle: str) -> int:
        """Let a forked child read what this process holds."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._check_held()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0, "a forked child saw something else"
        return len(self._held)

    def _keep(self, model: int, handle: str) -> str:
        with contextlib.suppress(UnknownHandleError, CacheError):
            maintenance.keep(handle)
        return "kept"

    def _unkeep(self, model: int, handle: str) -> str:
        with contextlib.suppress(UnknownHandleError, CacheError):
            maintenance.unkeep(handle)
        return "not kept"

    def _forget(self, model: int) -> None:
        self._held = {path: known for path, known in self._held.items() if known[0] != model}

    def _check_held(self) -> None:
        for path, (model, version) in self._held.items():
            try:
                now = read_version(path, model)
            except FileNotFoundError as error:
                raise AssertionError(f"{path}, which this process holds, has vanished: {error}") from error
            assert now == version, f"{path}, which this process holds, has changed"


def read_steps() -> Iterator[tuple[str, int, float]]:
    """Yield action, model and pause of each step on stdin."""
    yield from json.load(sys.stdin)


def main() -> None:
    """Do the steps on stdin until the time is over; print each with its times and its result."""
    worker, until_s = Worker(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    for action, model, pause_s in read_steps():
        time.sleep(pause_s)
        started_s = time.time()
        if time.monotonic() > until_s:
            return
        result = worker.run(action, model)
        sys.stdout.write(json.dumps([action, model, started_s, time.time(), result]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
