"""Paths that are not files, and that no command may replace."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest


def make_device(path: Path) -> None:
    """Create a device node that is the same as /dev/null."""
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def make_socket(path: Path) -> None:
    """Create the name of a socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a device")
SPECIAL_FILES = {
    "device": pytest.param(make_device, marks=as_root),
    "pipe": os.mkfifo,
    "socket": make_socket,
    "link to a device": lambda path: path.symlink_to("/dev/null"),
    "link to a directory": lambda path: path.symlink_to(path.parent),
    "link to a descriptor": lambda path: path.symlink_to(f"/proc/self/fd/{os.open(path.with_name('log'), os.O_CREAT)}"),
}
"""Functions that create such a path."""
