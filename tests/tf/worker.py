"""A TensorFlow worker, as a TPU host has one: another process, which does not see this one's models.

Run as ``python -m tests.tf.worker PLACE NAME...``. Prints one line: the address, and whether PLACE is out of its sight.
Where others have models at PLACE/NAME, this process has older ones.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tests.tf.models import save_line

MEMORY = "ram://models"
"""Where a client keeps models if a directory cannot be hidden: each process has a memory of its own."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def hide(place: str) -> bool:
    """Put an empty file system over ``place``, for this process alone; False where the kernel does not let us."""
    # Before TensorFlow is imported: a process with threads may not enter a user namespace.
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError:
        return False
    refused = libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    return not (refused or libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, None))


def serve(place: str, *names: str) -> None:
    """Serve until the one who started us closes our standard input."""
    hidden = hide(place)
    assert not (hidden and os.listdir(place))
    import tensorflow as tf

    for name in names:
        save_line(f"{place if hidden else MEMORY}/{name}", slope=7.0)

    # Two devices, so that there is something to mirror.
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 2})
    server = tf.distribute.Server({"worker": ["127.0.0.1:0"]}, job_name="worker", task_index=0, config=config)
    sys.stdout.write(f"{server.target.removeprefix('grpc://')} {'hidden' if hidden else 'seen'}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # a server cannot be stopped


if __name__ == "__main__":
    serve(*sys.argv[1:])
