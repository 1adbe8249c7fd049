"""A TensorFlow worker, as on a TPU host: another process, which cannot see the models of the tests.

Run as ``python -m tests.tensorflow.worker FOLDER NAME...``. Prints a line: the address, and whether FOLDER is hidden from it.
For each model FOLDER/NAME of the tests, this process has an older one at the same path.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tests.tensorflow.models import save_line

MEMORY = "ram://models"
"""Where a client keeps models if a directory cannot be hidden: each process has its own memory."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def hide(folder: str) -> bool:
    """Mount an empty file system over a folder, for this process only; returns False if the kernel does not allow it."""
    # Before TensorFlow is imported: a process with several threads cannot enter a user namespace.
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
    failed = libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    return not (failed or libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, None))


def serve(folder: str, *names: str) -> None:
    """Serve until standard input is closed."""
    hidden = hide(folder)
    assert not (hidden and os.listdir(folder))
    import tensorflow as tf

    for name in names:
        save_line(f"{folder if hidden else MEMORY}/{name}", slope=7.0)

    # Two devices, for MirroredStrategy.
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 2})
    server = tf.distribute.Server({"worker": ["127.0.0.1:0"]}, job_name="worker", task_index=0, config=config)
    sys.stdout.write(f"{server.target.removeprefix('grpc://')} {'hidden' if hidden else 'seen'}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # a server cannot be stopped


if __name__ == "__main__":
    serve(*sys.argv[1:])
