"""Runs the processes of a schedule, and compares what they saw with what was served."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tfimm_resolver
from tests.fakes.origin import Origin, Page
from tests.fakes.use_locks import give_up_all
from tests.soak.models import MODELS, make_archive, read_version
from tests.soak.schedule import Life, make_lives, make_releases
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import ENTRY_DIR_PATTERN

_END_S = 60.0
_HOURS_S = 2 * 3600.0


@dataclasses.dataclass
class Served:
    """Which version of each model was served from when on: the model of the expected state."""

    since: dict[int, list[tuple[float, int]]] = dataclasses.field(
        default_factory=lambda: {model: [(0.0, 0)] for model in range(MODELS)}
    )

    def get_versions(self, model: int, from_s: float, until_s: float) -> set[int]:
        """Return the versions that were served at any moment of a time."""
        history = self.since[model]
        ends = [*(at_s for at_s, _ in history[1:]), float("inf")]
        return {version for (at_s, version), end_s in zip(history, ends, strict=True) if at_s <= until_s and end_s >= from_s}


class Soak:
    """One run; ``faults`` is what went wrong."""

    def __init__(self, seed: int, seconds: float, processes: int) -> None:
        self.seed, self.seconds, self.processes = seed, seconds, processes
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._served, self._origin = Served(), Origin()
        self._pages: dict[int, Page] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run the schedule in a new directory, then check what is left there."""
        with tempfile.TemporaryDirectory(prefix="tfimm-soak-") as folder, self._origin, _environment(folder):
            for model in range(MODELS):
                self._serve(model, 0)
            slots = [threading.Thread(target=self._run_slot, args=(slot,)) for slot in range(self.processes)]
            releases = threading.Thread(target=self._run_releases)
            for thread in (releases, *slots):
                thread.start()
            for thread in (releases, *slots):
                thread.join()
            self._check_end(Path(folder, "cache"))

    def _serve(self, model: int, version: int) -> None:
        page = Page(make_archive(model, version), headers={"ETag": f'"{model}-{version}"'})
        with self._lock:  # the old version is answered until that time, the new one from then on, and nothing in between
            self._served.since[model].append((time.time(), version))
            self._pages[model] = page
        self._origin.pages[f"/m{model}.tar.gz"] = lambda: self._get_page(model)

    def _get_page(self, model: int) -> Page:
        with self._lock:
            return self._pages[model]

    def _run_releases(self) -> None:
        started_s = time.monotonic()
        for release in make_releases(self.seed, self.seconds):
            time.sleep(max(0.0, release.at_s - (time.monotonic() - started_s)))
            self._serve(release.model, release.version)

    def _run_slot(self, slot: int) -> None:
        until_s = time.monotonic() + self.seconds
        for life in make_lives(self.seed, slot, self.seconds):
            if time.monotonic() < until_s:
                self._run_life(life, f"slot {slot}")

    def _run_life(self, life: Life, name: str) -> None:
        command = [sys.executable, "-m", "tests.soak.worker", self._origin.url, str(life.lifetime_s)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
            timer = threading.Timer(life.lifetime_s, process.send_signal, (signal.SIGKILL,))
            if life.is_killed:
                timer.start()
            try:
                steps = json.dumps([dataclasses.astuple(step) for step in life.steps])
                out, err = process.communicate(steps, timeout=life.lifetime_s + _END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                self._add_fault(f"{name} hangs: {err[-2000:]}")
            finally:
                timer.cancel()
        is_killed = life.is_killed and process.returncode == -signal.SIGKILL
        if process.returncode and not is_killed:
            self._add_fault(f"{name} ended with {process.returncode}: {err[-3000:]}")
        self.counts["killed"] += is_killed
        for line in out.splitlines():
            with contextlib.suppress(ValueError):  # cut by the kill
                self._check_step(*json.loads(line))

    def _check_step(self, action: str, model: int, from_s: float, until_s: float, result: str) -> None:
        with self._lock:
            self.counts[action] += 1
            if action == "refresh" and int(result) not in (known := self._served.get_versions(model, from_s, until_s)):
                self.faults.append(f"a refresh of model {model} gave version {result}, served were {known}")
            if action == "resolve" and int(result) not in (known := self._served.get_versions(model, 0.0, until_s)):
                self.faults.append(f"model {model} has version {result}, served were only {known}")

    def _add_fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(text)

    def _check_end(self, root: Path) -> None:
        """Fetch every model once more, make everything old, and fetch another: one copy and its record are left of each."""
        for model in range(MODELS):
            handle = f"{self._origin.url}/m{model}.tar.gz"
            version = read_version(tfimm_resolver.resolve(handle, refresh=True), model)
            if version != self._served.since[model][-1][1]:
                self.faults.append(f"at the end, model {model} has version {version}")
        give_up_all()
        old_s = time.time() - _HOURS_S
        for path in root.rglob("*"):
            os.utime(path, (old_s, old_s), follow_symlinks=False)
        tfimm_resolver.resolve(self._origin.put("/last.tar.gz", make_archive(0, 0)))
        handles = [f"{self._origin.url}/{name}.tar.gz" for name in (*(f"m{model}" for model in range(MODELS)), "last")]
        entries = set(map(entry_name_for_key, handles))
        names = [name for name in os.listdir(root) if not name.endswith(".keep.txt")]
        expected = sorted([*(f"{entry}.descriptor.txt" for entry in entries), *entries])
        trees = [name for name in names if ENTRY_DIR_PATTERN.fullmatch(name)]
        found = sorted([*(name for name in names if name not in trees), *(name.partition(".")[0] for name in trees)])
        if found != expected:
            self.faults.append(f"left in the root: {sorted(names)}")


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Use a cache and a home of this run's own."""
    before = dict(os.environ)
    os.environ.update(
        HOME=f"{folder}/home", TFHUB_CACHE_DIR=f"{folder}/cache", TFIMM_RESOLVER_GRACE="0s", TFIMM_RESOLVER_QUIET="1"
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
