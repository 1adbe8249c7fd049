"""Limits the memory of a process as a container does: by a cgroup where this user may make one, else by its data segment."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_LIMIT_FILES = {"memory/memory.limit_in_bytes": "memory", "unified/memory.max": "unified", "memory.max": "."}
"""Where the limit of a group is, and its hierarchy, in cgroup v1, in both, and in v2; relative to the root of all."""

BY_DATA_SEGMENT = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({bytes}, {bytes}))
"""
BY_CGROUP = """
import os
with open("{folder}/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
"""


@contextlib.contextmanager
def limit_memory(size_bytes: int) -> Iterator[str]:
    """Yield code with which a process limits itself, and its children, to so many bytes.

    RLIMIT_AS would also count what is mapped and not used, which a container does not.
    """
    for limit_file, hierarchy in _LIMIT_FILES.items():
        folder = _CGROUPS / hierarchy / f"tfimm_resolver-{uuid.uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / Path(limit_file).name).write_text(str(size_bytes))
        except OSError:  # this hierarchy does not limit memory
            folder.rmdir()
            continue
        try:
            yield BY_CGROUP.format(folder=folder)
        finally:
            folder.rmdir()
        return
    yield BY_DATA_SEGMENT.format(bytes=size_bytes)


def describe_limit(code: str) -> str:
    """Return by what such code limits a process."""
    return "cgroup" if "cgroup" in code else "RLIMIT_DATA"


def is_root() -> bool:
    """Whether this process may become another user, and mount file systems."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
