"""Runs code under strace: lists the calls that change something below a directory, and injects a fault at one of them."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.processes import start

WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate", "sendfile", "copy_file_range")
SYNCS = ("fsync", "fdatasync")
RENAMES = ("rename", "renameat", "renameat2")
NEW_NAMES = ("open", "openat", "creat", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat")
OTHERS = ("unlink", "unlinkat", "rmdir", "truncate", "chmod", "fchmod", "fchmodat", "utimensat", "flock")
CHANGES = (*WRITES, *SYNCS, *RENAMES, *NEW_NAMES, *OTHERS)

KILLED = -9
_FORBIDDEN = 77

# strace is a child that attaches itself: every import is done by then, and the process knows the id that its paths will hold.
# The ids that Python draws are counted instead, since strace can only be told whole paths, and beforehand.
_GUEST = """
    import ctypes, errno, itertools, json, os, subprocess, sys, time
    import tfimm_resolver.cli, tfimm_resolver._util.thread_pool, tfimm_resolver.archives.zip_reader
    import tfimm_resolver.cache.cache, tfimm_resolver.transfer.downloader, tfimm_resolver.transfer.download
    import tfimm_resolver.transfer.object_downloads, tfimm_resolver.transfer.parallel_ranges

    _counter = itertools.count(1)
    os.urandom = lambda size: next(_counter).to_bytes(size, "big")

    def _is_traced():  # by an error that no disk has for this call
        try:
            return not os.getxattr(os.environ["STRACE_LOG"], "user.none")
        except OSError as error:
            return error.errno == errno.EXDEV

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: where only parents may trace
    _options = [option.replace("{pid}", str(os.getpid())) for option in json.loads(os.environ["STRACE_OPTIONS"])]
    _strace = subprocess.Popen(["strace", *_options, "-p", str(os.getpid())])
    while not _is_traced():
        if _strace.poll() is not None:
            sys.exit(77)
        time.sleep(0.002)
"""
_OPTIONS = ("-f", "-qqq", "-y", "-s0", "-e", "signal=none", "-e", "inject=getxattr:error=EXDEV")


@dataclass(frozen=True)
class Call:
    """The ``number``-th call of a name on a path below the root, among those of one thread; ``{pid}`` stands for the id.

    Attributes:
        has_failed: it fails without an injected fault, as mkdir does if the directory exists.
    """

    name: str
    path: str
    number: int
    has_failed: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name} {self.number} of {self.path or 'the root'}"


@dataclass(frozen=True)
class End:
    """How a process ended, its output, and the log of strace."""

    pid: int
    code: int
    out: str
    err: str
    log: str


def run(root: Path, code: str, *arguments: str, names: tuple[str, ...], options: tuple[str, ...] = ()) -> End:
    """Run a snippet to its end, under a strace that traces the calls with these names."""
    log = root.parent / f"{root.name}.log"
    log.touch()
    # "?" ignores calls that this processor does not have, such as rename on ARM.
    traced = "--trace=" + ",".join(f"?{name}" for name in (*names, "getxattr"))
    encoded = json.dumps([*_OPTIONS, traced, *options, "-o", str(log)])
    environment = {"TFHUB_CACHE_DIR": str(root), "STRACE_OPTIONS": encoded, "STRACE_LOG": str(log)}
    with start(textwrap.dedent(_GUEST) + textwrap.dedent(code), *arguments, **environment) as process:
        try:
            out, err = process.communicate(
                timeout=60
            )  # strace has inherited the pipes: its log is complete when they are closed
        finally:
            process.kill()
    if process.returncode == _FORBIDDEN:
        pytest.skip(f"this machine forbids ptrace: {err}")
    lines = [line for line in log.read_text().splitlines() if "getxattr" not in line]
    return End(process.pid, process.returncode, out, err, "\n".join(lines))


def list_changes(root: Path, code: str, *arguments: str) -> list[Call]:
    """Return, in order, every call by which a snippet changes something below the root."""
    end = run(root, code, *arguments, names=CHANGES)
    assert end.code == 0, end.err
    counts = Counter(_parse_calls(end, str(root)))
    # strace cannot tell two threads apart that make the same call on one path: only the first of them gets the fault.
    assert all(call.name in SYNCS for call, times in counts.items() if times > 1), counts
    return list(counts)


def run_with_fault(call: Call, fault: str, root: Path, code: str, *arguments: str) -> End:
    """Run a snippet with a fault at one call, before it does anything: ``signal=KILL``, ``error=ENOSPC``."""
    paths = (str(root / call.path), f"{root}.log")
    # Without --seccomp-bpf: with it strace 6.1 does not deliver the signal.
    options = ("-P", paths[0], "-P", paths[1], "-e", f"inject={call.name}:{fault}:when={call.number}")
    return run(root, code, *arguments, names=(call.name,), options=options)


def skip_without_strace() -> None:
    """Skip the test if strace is not installed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")


def _parse_calls(end: End, root: str) -> Iterator[Call]:
    """Yield the changing calls of a process. strace counts per thread and name, and with -P only calls with that path."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for line in end.log.splitlines():
        found = re.match(r"(\d+) +(\w+)\((.*)", line)
        if found is None or "resumed>" in line:
            continue
        thread, name, rest = found.groups()
        arguments = rest.rpartition(") ")[0] or rest
        paths = [quoted or opened for quoted, opened in re.findall(r'"([^"]*)"|<(/[^>]*)>', arguments)]
        below = {path for path in paths if path == root or path.startswith(f"{root}/")}
        if name in ("rename", "link"):
            below.intersection_update(paths[:1])  # of these, -P looks at the first path only
        for path in below:
            counts[thread, name, path] += 1
        if below and (name not in ("open", "openat") or re.search("O_CREAT|O_TRUNC", arguments)):
            path = min(below, key=lambda path: counts[thread, name, path])
            inner = path.removeprefix(root).removeprefix("/").replace(f"-{end.pid}-", "-{pid}-")
            yield Call(name, inner, counts[thread, name, path], has_failed=" = -1 " in rest)
