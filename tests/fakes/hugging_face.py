"""A small fake of Hugging Face: the requests of huggingface_hub 2.4 for a model, and the storage of large files.

It serves plain HTTP, as for repositories without Xet, and was never compared with Hugging Face itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 500
PAGE_ENTRIES = 2

Fault = Callable[["Handler"], bool]
"""Responds in place of the host, and returns whether it did."""


@dataclass
class Repository:
    """One repository: files by commit, commits by branch, and the ``token`` that is required to read, if any."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str = ""
    is_gated: bool = False


class Server(ThreadingHTTPServer):
    """One of the two hosts; ``requests`` and ``authorizations`` log its requests and their Authorization headers."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Handler], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.requests, self.authorizations = answer, list[str](), set[str | None]()
        self.faults: dict[str, Fault] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class HuggingFace:
    """The hub at 127.0.0.1, and at localhost the storage, which checks signatures and no tokens."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.hub, self.storage = Server(self._hub), Server(self._storage)
        self._stored: dict[str, bytes] = {}

    def __enter__(self) -> HuggingFace:
        self.hub.start()
        self.storage.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.stop()
        self.storage.stop()

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.hub.server_port}"

    def push(self, name: str, files: dict[str, bytes], branch: str = "main", **rights: object) -> str:
        """Add a commit to a branch; return its hash."""
        repository = self.repositories.setdefault(name, Repository())
        for right, value in rights.items():
            setattr(repository, right, value)
        facts = [
            name,
            len(repository.commits),
            *sorted((path, hashlib.sha256(data).hexdigest()) for path, data in files.items()),
        ]
        commit = hashlib.sha1(json.dumps(facts).encode()).hexdigest()
        repository.commits[commit] = files
        repository.branches[branch] = commit
        return commit

    def _hub(self, handler: Handler) -> None:
        path, authorization = unquote(urlsplit(handler.path).path), handler.headers.get("Authorization")
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(revision|tree|resolve)/(.+))?", path)
        repository = self.repositories.get(found[1]) if found else None
        is_known = repository is not None and authorization == f"Bearer {repository.token}"
        if found is None or repository is None or (repository.token and not repository.is_gated and not is_known):
            return handler.reject(401, "RepoNotFound", "Invalid username or password.")
        revisions = {**repository.branches, **{commit: commit for commit in repository.commits}}
        requested = found[3] or "main"
        revision = next((name for name in revisions if requested == name or requested.startswith(f"{name}/")), None)
        if revision is None:
            return handler.reject(404, "RevisionNotFound", f"Invalid rev id: {requested}")
        commit, inner = revisions[revision], requested[len(revision) + 1 :]
        files = repository.commits[commit]
        if found[2] == "tree":
            return self._tree(handler, files, inner)
        if found[2] != "resolve":
            return handler.respond_json({"id": found[1], "modelId": found[1], "sha": commit, "private": False, "siblings": []})
        if repository.is_gated and not is_known:
            text = f"Access to model {found[1]} is restricted. You must have access to it and be authenticated to access it."
            return handler.reject(403 if authorization else 401, "GatedRepo", text)
        if inner not in files:
            return handler.reject(404, "EntryNotFound", "Entry not found")
        return self._file(handler, commit, files[inner])

    def _tree(self, handler: Handler, files: dict[str, bytes], folder: str) -> None:
        inside = {path: data for path, data in files.items() if not folder or path.startswith(f"{folder}/")}
        if not inside:
            return handler.reject(404, "EntryNotFound", f"{folder} does not exist")
        folders = sorted({path.rpartition("/")[0] for path in inside if "/" in path})
        entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
        entries += [make_tree_entry(path, data) for path, data in sorted(inside.items())]
        start = int((re.search(r"cursor=(\d+)", handler.path) or [0, 0])[1])
        stop = start + PAGE_ENTRIES
        link = f'<{self.url}{handler.path.partition("&cursor")[0]}&cursor={stop}>; rel="next"' if stop < len(entries) else ""
        return handler.respond_json(entries[start:stop], {"Link": link} if link else {})

    def _file(self, handler: Handler, commit: str, data: bytes) -> None:
        if len(data) <= LARGE_BYTES:
            return handler.respond(200, data, {"ETag": f'"{blob_id(data)}"', "X-Repo-Commit": commit})
        sha256 = hashlib.sha256(data).hexdigest()
        self._stored[f"/{sha256}"] = data
        location = f"http://localhost:{self.storage.server_port}/{sha256}?Signature=signature"
        known = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit}
        return handler.respond(302, b"", {"Location": location, **known})

    def _storage(self, handler: Handler) -> None:
        path, _, query = handler.path.partition("?")
        if path not in self._stored or query != "Signature=signature":
            return handler.respond(403, b"<Error>AccessDenied</Error>")
        return handler.respond(200, self._stored[path], {"ETag": f'"{path[1:]}"'})


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        self.server.authorizations.add(self.headers.get("Authorization"))
        fault = next((fault for begin, fault in self.server.faults.items() if path.startswith(begin)), None)
        try:
            if fault is None or not fault(self):
                self.server.answer(self)
        except OSError:  # the client was killed, or closed the connection early
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond_json(self, facts: object, headers: dict[str, str] | None = None) -> None:
        """Send a response with status 200."""
        self.respond(200, json.dumps(facts).encode(), {"Content-Type": "application/json", **(headers or {})})

    def reject(self, status: int, code: str, message: str) -> None:
        """Send an error as the hub does."""
        body = json.dumps({"error": message}).encode()
        self.respond(status, body, {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def make_tree_entry(path: str, data: bytes) -> dict[str, object]:
    """Return a file's entry in the list of a tree; the blob of a large file is a pointer."""
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
    if len(data) > LARGE_BYTES:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def blob_id(data: bytes) -> str:
    """Return git's blob hash for these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
