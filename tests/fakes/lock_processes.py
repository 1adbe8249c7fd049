"""Code, lock files and leftovers of processes that share a cache."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tfimm_resolver.cache.cache import entry_name_for_key

RESOLVE = """
    import sys, time, tfimm_resolver
    path = tfimm_resolver.resolve(sys.argv[1])
    print(path, time.time())
"""


def list_leftovers(cache_dir: Path) -> list[str]:
    """Return the names in the root that are neither models nor records."""
    return [name for name in os.listdir(cache_dir) if len(name) != 40 and not name.endswith(".descriptor.txt")]


def write_foreign_lock(cache_dir: Path, handle: str, host: str, pid: int) -> Path:
    """Write a lock file as plain tensorflow_hub does: it is not flocked."""
    cache_dir.mkdir(exist_ok=True)
    path = cache_dir / f"{entry_name_for_key(handle)}.lock"
    path.write_text(f"{host}.{pid}.0123456789abcdef")
    return path


def make_dead_pid() -> int:
    """Return the PID of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid
