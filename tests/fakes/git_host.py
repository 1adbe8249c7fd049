"""A fake of GitHub or another git host on loopback: real repositories, git's own smart HTTP, zips by git archive."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{role}_{field}": f"ada{'@example.org' * (field == 'EMAIL')}"
        for role in ("AUTHOR", "COMMITTER")
        for field in ("NAME", "EMAIL")
    },
    "GIT_AUTHOR_DATE": "2026-11-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-11-01T00:00:00Z",
}
_HASH = re.compile(r"[0-9a-f]{40}")
ZIPS = {
    "GitHub": r"/(.+?)/zipball/(.+)",
    "GitLab": r"/(.+?)/-/archive/(.+)/[^/]+\.zip",
    "Gitea or Forgejo": r"/((?!.*/-/).+?)/archive/(.+)\.zip",
    "Bitbucket": r"/(.+?)/get/(.+)\.zip",
}
"""Where each kind of host has the zip of a ref."""
Answer = tuple[int, dict[str, str], bytes]


class Repo:
    """A bare repository, with a working copy for a test to change."""

    def __init__(self, work: Path, bare: Path, branch: str) -> None:
        self._work, self.bare = work, bare
        work.mkdir(parents=True)
        bare.mkdir(parents=True)
        self.git("init", "-q", "-b", branch)
        self.git("init", "-q", "--bare", "-b", branch, str(bare))
        self.git("remote", "add", "origin", str(bare))

    def git(self, *arguments: str) -> str:
        """Run git in the working copy; return its output."""
        environment = {**os.environ, **_GIT}
        done = subprocess.run(
            ["git", *arguments], cwd=self._work, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str], *, links: dict[str, str] | None = None, push: bool = True) -> str:
        """Write files and commit all changes; return the commit's hash."""
        for name, text in files.items():
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, target in (links or {}).items():
            (self._work / name).symlink_to(target)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        if push:
            self.push()
        return self.git("rev-parse", "HEAD")

    def push(self) -> None:
        """Push the current branch and all tags."""
        self.git("push", "-q", "--force", "--tags", "origin", "HEAD")


class GitHost:
    """The server.

    Attributes:
        url: the value for TFIMM_GITHUB_URL.
        requests: the path and query of every request, in order.
        authorizations: the Authorization header of every request.
        kind: the kind of host, which says where its zips are.
        refusal: the response to a request for any other page.
        token: required for every request; empty for a host without credentials.
        answers: by a pattern of paths, a function that returns another response than the normal one, or None for that one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.token, self.kind = "", "GitHub"
        self.refusal: Answer = (404, {}, b"no such page")
        self.answers: dict[str, Callable[[str], Answer | None]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.host = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.name = self.url.removeprefix("http://")
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> GitHost:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop accepting connections."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def repo(self, name: str, files: dict[str, str] | None = None, branch: str = "main") -> Repo:
        """Create a repository ``owner/name``, with a first commit if there are files."""
        repo = Repo(self._folder / "work" / name, self._folder / "bare" / f"{name}.git", branch)
        if files is not None:
            repo.commit(files)
        return repo

    def list_zips(self) -> list[str]:
        """Return the requests for zips, at the addresses of any kind of host."""
        return [path for path in self.requests if any(re.fullmatch(pattern, path) for pattern in ZIPS.values())]

    def answer(self, path: str, authorization: str | None) -> Answer:
        """Return the response to a request."""
        for pattern, respond in self.answers.items():
            if re.search(pattern, path) and (response := respond(path)) is not None:
                return response
        if self.token and authorization != make_authorization(self.token):
            return 401, {"WWW-Authenticate": 'Basic realm="git"'}, b"Repository not found."
        parts = urlsplit(path)
        if found := re.fullmatch("/([^/]+/.+?)[.]git/info/refs", parts.path):
            return self._refs(found[1], parts.path, parts.query)
        if found := re.fullmatch(ZIPS[self.kind], parts.path):
            return self.zip(found[1], unquote(found[2]))
        if found := re.fullmatch("/api/v3/repos/([^/]+/[^/]+)(/.*)?", parts.path):
            return self._facts(found[1], unquote(found[2] or ""))
        return self.refusal

    def zip(self, name: str, ref: str) -> Answer:
        """Return a commit as a zip by git archive, in a folder named as at GitHub."""
        bare = self._folder / "bare" / f"{name}.git"
        commit = self._git(bare, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
        if not commit:
            return 404, {}, b"no such ref"
        prefix = f"--prefix={name.replace('/', '-')}-{commit[:7]}/"
        return 200, {"Content-Type": "application/zip"}, self._git(bare, "archive", "--format=zip", prefix, commit)

    def _refs(self, name: str, path: str, query: str) -> Answer:
        if not (self._folder / "bare" / f"{name}.git").is_dir():
            return 404, {}, b"no such repository"
        environment = {
            **os.environ,
            **_GIT,
            "GIT_PROJECT_ROOT": str(self._folder / "bare"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": query,
        }
        job = subprocess.run(["git", "http-backend"], env=environment, check=True, capture_output=True)
        head, _, body = job.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return int(headers.pop("Status", "200").split()[0]), headers, body

    def _facts(self, name: str, path: str) -> Answer:
        bare = self._folder / "bare" / f"{name}.git"
        facts: object = None
        if not path:
            facts = {"default_branch": self._git(bare, "symbolic-ref", "--short", "HEAD").decode().strip()}
        elif path.startswith("/git/matching-refs/"):
            lines = self._git(bare, "for-each-ref", "--format=%(refname) %(objecttype) %(objectname)").decode().splitlines()
            refs = [line.split() for line in lines if line.startswith(f"refs/{path.removeprefix('/git/matching-refs/')}")]
            facts = [{"ref": ref, "object": {"type": kind, "sha": sha}} for ref, kind, sha in refs]
        elif path.startswith("/git/tags/"):
            commit = self._git(bare, "rev-parse", f"{path.rpartition('/')[2]}^{{commit}}").decode().strip()
            facts = {"object": {"type": "commit", "sha": commit}}
        return 200, {"Content-Type": "application/json"}, json.dumps(facts).encode()

    def _git(self, bare: Path, *arguments: str) -> bytes:
        environment = {**os.environ, **_GIT}
        return subprocess.run(["git", "-C", str(bare), *arguments], env=environment, check=False, capture_output=True).stdout


def make_authorization(token: str) -> str:
    """Return the Authorization header for a token."""
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host: GitHost = self.server.host  # type: ignore[attr-defined]
        host.requests.append(self.path)
        host.authorizations.append(self.headers.get("Authorization"))
        status, headers, body = host.answer(self.path, self.headers.get("Authorization"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
