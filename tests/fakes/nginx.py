"""A real nginx on loopback, as a caching reverse proxy in front of an origin."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    proxy_cache_path {folder}/cache keys_zone=models:1m max_size=1g inactive=30d use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


class Nginx:
    """An nginx with the ``server`` block that a test gives; ``with`` starts and ends it."""

    def __init__(self, folder: Path, server: str) -> None:
        assert PROGRAM is not None
        self.folder = folder
        folder.mkdir()
        # Bound here and inherited by nginx, as during its upgrade: no other process can take the port in between.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""  # else its worker could not write here
        config = _CONFIG.format(folder=folder, port=self.port, server=server, user=user)
        (folder / "nginx.conf").write_text(config)
        self._job: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        number = self._socket.fileno()
        arguments = ["-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")]
        with (self.folder / "stderr").open("wb") as stderr:
            self._job = subprocess.Popen(
                [str(PROGRAM), *arguments],
                pass_fds=[number],
                env={"PATH": os.defpath, "NGINX": f"{number};"},
                stderr=stderr,
            )
        self._socket.close()
        until_s = time.monotonic() + 20
        while not (self.folder / "nginx.pid").exists():
            assert self._job.poll() is None and time.monotonic() < until_s, self.read_log()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        if self._job is not None:
            self._job.terminate()
            try:
                self._job.wait(20)
            except subprocess.TimeoutExpired:
                self._job.kill()
                self._job.wait()

    def read_log(self) -> str:
        """Return the messages of nginx."""
        return "".join((self.folder / name).read_text() for name in ("stderr", "error.log") if (self.folder / name).exists())

    def list_pids(self) -> list[int]:
        """Return the ids of its processes: the main process and its children."""
        assert self._job is not None
        children = Path(f"/proc/{self._job.pid}/task/{self._job.pid}/children").read_text().split()
        return [self._job.pid, *map(int, children)]

    def count_cached_bytes(self) -> int:
        """Return the size of its cache."""
        return sum(path.stat().st_size for path in (self.folder / "cache").rglob("*") if path.is_file())
