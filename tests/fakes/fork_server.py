"""A process that imports modules once, such as TensorFlow, and forks a child for each snippet or module that a test starts.

``python -m tests.fakes.fork_server FD MODULE...`` is the server; ``ForkServer`` starts it.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any

_REPOSITORY = Path(__file__).parents[2]
_REQUEST_BYTES_MAX, _START_S = 1 << 20, 120.0


class ForkedProcess:
    """A child of the server, with those attributes and methods of ``subprocess.Popen`` that tests need."""

    def __init__(self, stdout: int, stderr: int, status: int) -> None:
        self.stdout: IO[str] = os.fdopen(stdout, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(stderr, encoding="utf-8")
        self.returncode: int | None = None
        self._status: IO[bytes] = os.fdopen(status, "rb", buffering=0)
        self.pid = int(self._status.readline())

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.stdout.close()
        self.stderr.close()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process, and return its exit code; negative if a signal ended it."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end of the process, and return its output and its errors."""
        until_s = None if timeout is None else time.monotonic() + timeout
        texts = {self.stdout: "", self.stderr: ""}

        def read(stream: IO[str]) -> None:
            texts[stream] = stream.read()
            stream.close()

        readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in texts]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(until_s and max(0, until_s - time.monotonic()))
        return texts[self.stdout], texts[self.stderr]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """A server that has imported the given modules.

    Its interpreter has ``options``, and ``environment`` besides the variables of this process.
    """

    def __init__(self, *modules: str, options: Sequence[str] = (), **environment: str) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_START_S)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, *options, "-m", "tests.fakes.fork_server", str(other.fileno()), *modules],
                pass_fds=[other.fileno()],
                cwd=_REPOSITORY,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
            )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()  # by which it ends
        self._process.wait()

    def start(self, code: str, *arguments: str, **environment: str) -> ForkedProcess:
        """Start a snippet, with the environment of the test and ``environment``."""
        return self._start({"code": textwrap.dedent(code)}, ["-c", *arguments], environment)

    def start_module(self, module: str, *arguments: str, **environment: str) -> ForkedProcess:
        """Start a module as ``python -m`` does, with the environment of the test and ``environment``."""
        return self._start({"module": module}, ["-m", *arguments], environment)

    def _start(self, what: dict[str, str], arguments: list[str], environment: dict[str, str]) -> ForkedProcess:
        request = {
            **what,
            "arguments": arguments,
            "environment": {**os.environ, **environment},
            "folder": os.getcwd(),
            "umask": _read_umask(),
        }
        pipes = [os.pipe() for _ in range(3)]
        descriptors = array.array("i", [writer for _, writer in pipes])
        self._socket.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        for descriptor in descriptors:
            os.close(descriptor)
        return ForkedProcess(*(reader for reader, _ in pipes))

    def run(self, code: str, *arguments: str, timeout_s: float = 120, **environment: str) -> str:
        """Run a snippet, which must succeed, and return its output, stripped."""
        with self.start(code, *arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            finally:
                process.kill()
        assert process.returncode == 0, err
        return out.strip()


def _read_umask() -> int:
    """Return the umask of this process; ``os.umask`` would change it for a moment, also for other threads."""
    (umask,) = re.findall(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(umask, 8)


def _serve(server: socket.socket) -> dict[str, Any]:
    """Fork for each request; return it in the child. Exit once the socket is closed at its other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, ancillary, _, _ = server.recvmsg(_REQUEST_BYTES_MAX, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not data:
            sys.exit()
        descriptors = array.array("i", ancillary[0][2])
        if not os.fork():
            server.close()
            _fork_child(descriptors)
            return dict(json.loads(data))
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_child(descriptors: array.array[int]) -> None:
    """Fork again: the child returns with new output streams, its parent reports its id and exit code, and exits."""
    stdout, stderr, status = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    if child:
        os.write(status, b"%d\n" % child)
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(status)


def _run(request: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["folder"])
    time.tzset()
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv[:] = request["arguments"]
    if "module" in request:
        sys.path.insert(0, request["folder"])
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(request["code"], "<string>", "exec"), vars(module))


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    _run(_serve(socket.socket(fileno=int(sys.argv[1]))))
