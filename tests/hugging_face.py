"""A small stand-in for Hugging Face: what huggingface_hub 2.4 asks for a model, and the storage of large files.

It gives plain HTTP, as for repositories without Xet, and was never compared with Hugging Face itself.
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
"""Answers in place of the host, and says whether it did."""


@dataclass
class Repository:
    """One repository: files by commit, commits by branch, and who may read; ``token`` for those who may."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str = ""
    is_gated: bool = False


class Server(ThreadingHTTPServer):
    """One of the two hosts; ``heard`` is what each was asked, and by whom."""

    daemon_threads = True
    place: HuggingFace

    def __init__(self, answer: Callable[[Handler], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked, self.heard = answer, list[str](), set[str | None]()
        self.faults: dict[str, Fault] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class HuggingFace:
    """The hub at 127.0.0.1, and the storage, which knows nobody but its signatures, at localhost."""

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
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.hub.server_port}"

    def push(self, name: str, files: dict[str, bytes], branch: str = "main", **rights: object) -> str:
        """A commit on a branch; returns its hash."""
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
        path, who = unquote(urlsplit(handler.path).path), handler.headers.get("Authorization")
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(revision|tree|resolve)/(.+))?", path)
        repository = self.repositories.get(found[1]) if found else None
        is_known = repository is not None and who == f"Bearer {repository.token}"
        if found is None or repository is None or (repository.token and not repository.is_gated and not is_known):
            return handler.refuse(401, "RepoNotFound", "Invalid username or password.")
        revisions = {**repository.branches, **{commit: commit for commit in repository.commits}}
        asked = found[3] or "main"
        revision = next((name for name in revisions if asked == name or asked.startswith(f"{name}/")), None)
        if revision is None:
            return handler.refuse(404, "RevisionNotFound", f"Invalid rev id: {asked}")
        commit, inner = revisions[revision], asked[len(revision) + 1 :]
        files = repository.commits[commit]
        if found[2] == "tree":
            return self._tree(handler, files, inner)
        if found[2] != "resolve":
            return handler.say_json({"id": found[1], "modelId": found[1], "sha": commit, "private": False, "siblings": []})
        if repository.is_gated and not is_known:
            text = f"Access to model {found[1]} is restricted. You must have access to it and be authenticated to access it."
            return handler.refuse(403 if who else 401, "GatedRepo", text)
        if inner not in files:
            return handler.refuse(404, "EntryNotFound", "Entry not found")
        return self._file(handler, commit, files[inner])

    def _tree(self, handler: Handler, files: dict[str, bytes], folder: str) -> None:
        inside = {path: data for path, data in files.items() if not folder or path.startswith(f"{folder}/")}
        if not inside:
            return handler.refuse(404, "EntryNotFound", f"{folder} does not exist")
        folders = sorted({path.rpartition("/")[0] for path in inside if "/" in path})
        entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
        entries += [listed(path, data) for path, data in sorted(inside.items())]
        start = int((re.search(r"cursor=(\d+)", handler.path) or [0, 0])[1])
        stop = start + PAGE_ENTRIES
        link = f'<{self.url}{handler.path.partition("&cursor")[0]}&cursor={stop}>; rel="next"' if stop < len(entries) else ""
        return handler.say_json(entries[start:stop], {"Link": link} if link else {})

    def _file(self, handler: Handler, commit: str, data: bytes) -> None:
        if len(data) <= LARGE_BYTES:
            return handler.say(200, data, {"ETag": f'"{blob_id(data)}"', "X-Repo-Commit": commit})
        sha256 = hashlib.sha256(data).hexdigest()
        self._stored[f"/{sha256}"] = data
        place = f"http://localhost:{self.storage.server_port}/{sha256}?Signature=signature"
        known = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit}
        return handler.say(302, b"", {"Location": place, **known})

    def _storage(self, handler: Handler) -> None:
        path, _, query = handler.path.partition("?")
        if path not in self._stored or query != "Signature=signature":
            return handler.say(403, b"<Error>AccessDenied</Error>")
        return handler.say(200, self._stored[path], {"ETag": f'"{path[1:]}"'})


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {path}")
        self.server.heard.add(self.headers.get("Authorization"))
        fault = next((fault for begin, fault in self.server.faults.items() if path.startswith(begin)), None)
        try:
            if fault is None or not fault(self):
                self.server.answer(self)
        except OSError:  # the client was killed, or gave up
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say_json(self, facts: object, headers: dict[str, str] | None = None) -> None:
        """Answer 200."""
        self.say(200, json.dumps(facts).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: int, code: str, message: str) -> None:
        """Refuse as the hub does."""
        body = json.dumps({"error": message}).encode()
        self.say(status, body, {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def listed(path: str, data: bytes) -> dict[str, object]:
    """A file as a tree lists it; a large one's blob is a pointer."""
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
    if len(data) > LARGE_BYTES:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def blob_id(data: bytes) -> str:
    """What git calls a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
