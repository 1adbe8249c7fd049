"""One run of one scenario: fresh directories and servers, real processes of one source tree, and what they left."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.golden.compare import Recording
from tests.golden.files import list_path, show_content, split_lines, walk
from tests.golden.normalise import Normaliser
from tests.golden.servers import Gcs, GitHost, Host, HuggingFace, Kaggle, Origin

Server = TypeVar("Server", Origin, Host, GitHost, HuggingFace, Gcs)

TIMEOUT_S = 120
_EXIT_WRONG_TREE = 99

_CHECK = """\
import os, sys
import tfimm_resolver
if os.path.dirname(os.path.dirname(os.path.realpath(tfimm_resolver.__file__))) != {tree!r}:
    sys.stderr.write(tfimm_resolver.__file__)
    sys.stderr.flush()
    os._exit({code})
"""
_CLI = """
import runpy
runpy.run_module("tfimm_resolver", run_name="__main__", alter_sys=True)
"""
_LOG = """\
import logging
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
"""
_ATTEMPT = """
def attempt(function, *arguments, **options):
    try:
        print(repr(function(*arguments, **options)))
    except BaseException as error:
        builtin = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"][:-2]
        print(f"{type(error).__name__}({', '.join(builtin)}), exit code {getattr(error, 'exit_code', None)}: {error}")
"""


class WrongTreeError(Exception):
    """A process imported the package from another source tree than the one under test."""


class StoppedError(Exception):
    """A scenario needs a result that an earlier command did not give; the recording ends with this error."""


@dataclass(frozen=True)
class Finished:
    """The result of a process, before normalisation."""

    code: int | None
    out: str
    err: str


class Stage:
    """The environment of a scenario; use it as a context manager, then read its ``recording``.

    Attributes:
        cache: the root of URL handles, which does not exist yet.
        project: the working directory of every command.
        environment: variables of every command; a scenario may change them.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self.root, self.tree = folder / "root", tree
        self.home, self.cache, self.project = (self.root / name for name in ("home", "cache", "project"))
        self.temporary, self._stores = self.root / "tmp", folder / "stores"
        for made in (self.home, self.project, self.temporary):
            made.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
            "HOME": str(self.home),
            "XDG_STATE_HOME": os.devnull,  # no counts of hits, which differ from run to run
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "100",
            "TFHUB_CACHE_DIR": str(self.cache),
            "TFIMM_RESOLVER_RETRIES": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "GCE_METADATA_HOST": "127.0.0.1:1",
            "NO_GCE_CHECK": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        self._open = contextlib.ExitStack()
        self._addresses: dict[str, str] = {}
        self._sections: list[tuple[str, str]] = []
        self.recording: Recording = {}

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        with self._open:
            if isinstance(error, StoppedError):
                self.record("stopped", str(error))
            if kind is None or isinstance(error, StoppedError):
                self._finish()
        return isinstance(error, StoppedError)

    @functools.cached_property
    def origin(self) -> Origin:
        """A plain server, for archives of any kind."""
        return self._serve("origin", Origin())

    @functools.cached_property
    def mirror(self) -> Origin:
        """A second plain server."""
        return self._serve("mirror", Origin())

    @functools.cached_property
    def host(self) -> Host:
        """A server that supports ranges, and fails as a scenario demands."""
        return self._serve("host", Host())

    @functools.cached_property
    def git(self) -> GitHost:
        """A server of git repositories; commands use it in place of GitHub."""
        server = self._serve("git", GitHost(self._stores))
        self.environment["TFIMM_GITHUB_URL"] = server.url
        return server

    @functools.cached_property
    def kaggle(self) -> Kaggle:
        """A fake of Kaggle."""
        server: Kaggle = self._open.enter_context(Kaggle())
        self._know("kaggle", server.url)
        self._know("kaggle-storage", server.storage_url)
        self.environment["TFIMM_KAGGLE_URL"] = server.url
        return server

    @functools.cached_property
    def hugging_face(self) -> HuggingFace:
        """A fake of Hugging Face."""
        server = self._serve("hugging-face", HuggingFace())
        self._know("hugging-face-storage", f"http://localhost:{server.storage.server_port}")
        self.environment["HF_ENDPOINT"] = server.url
        return server

    @functools.cached_property
    def gcs(self) -> Gcs:
        """A fake of Google Cloud Storage, with an empty bucket named ``bucket``."""
        server = self._serve("gcs", Gcs())
        server.bucket()
        self.environment["STORAGE_EMULATOR_HOST"] = server.url
        return server

    def cli(self, *arguments: str, stdin: str = "", **environment: str) -> Finished:
        """Run the command line as ``python -m tfimm_resolver``, and record it."""
        return self._run(shlex.join(["tfimm-resolver", *arguments]), _CLI, arguments, stdin, environment)

    def python(self, code: str, *arguments: str, **environment: str) -> Finished:
        """Run a snippet, and record it; ``attempt(function, ...)`` prints what a call returns or raises."""
        code = textwrap.dedent(code).strip("\n")
        title = f"python: {code.splitlines()[-1].strip()}"
        return self._run(title, f"{_ATTEMPT}\n{code}\n", arguments, "", environment, before=_LOG)

    def record(self, title: str, text: str) -> None:
        """Add a section to the recording."""
        self._sections.append((f"{len(self._sections) + 1}. {title}", text))

    def put_files(self, folder: str | Path, files: Mapping[str, bytes]) -> None:
        """Write files below a folder."""
        for name, data in files.items():
            self.write(Path(folder, name), data)

    def write(self, path: str | Path, data: bytes | str) -> None:
        """Write one file, and the folders above it."""
        path = self._inside(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def link(self, path: str | Path, target: str) -> None:
        """Make a symbolic link."""
        self._inside(path).symlink_to(target)

    def remove(self, path: str | Path) -> None:
        """Remove a file, or a folder with its content."""
        path = self._inside(path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _inside(self, path: str | Path) -> Path:
        """Return the path, which a command may have printed.

        Raises:
            StoppedError: if it is not below this stage's root, as after a command that failed and printed nothing.
        """
        resolved = Path(os.path.normpath(path))
        if self.root not in resolved.parents:
            raise StoppedError(f"the scenario cannot continue: {str(path)!r} is not below its root")
        return resolved

    def _run(
        self, title: str, code: str, arguments: tuple[str, ...], stdin: str, environment: dict[str, str], before: str = ""
    ) -> Finished:
        check = before + _CHECK.format(tree=os.path.realpath(self.tree), code=_EXIT_WRONG_TREE)
        done = self._execute([sys.executable, "-c", check + code, *arguments], stdin, environment)
        if done.code == _EXIT_WRONG_TREE:
            raise WrongTreeError(f"the package of {self.tree} was to be run, but {done.err} was imported")
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in environment.items())
        lines = [f"{variables}{title}", f"exit {'none: it ran too long' if done.code is None else done.code}"]
        lines += [f"stdout| {line}" for line in split_lines(done.out)] + [f"stderr| {line}" for line in split_lines(done.err)]
        self.record(title, "\n".join(lines))
        return done

    def _execute(self, command: list[str], stdin: str, environment: dict[str, str]) -> Finished:
        try:
            job = subprocess.run(
                command,
                input=stdin.encode(),
                capture_output=True,
                cwd=self.project,
                env={**self.environment, **environment},
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as ended:
            return Finished(None, (ended.stdout or b"").decode(), (ended.stderr or b"").decode())
        return Finished(job.returncode, *(text.decode("utf-8", "backslashreplace") for text in (job.stdout, job.stderr)))

    def _serve(self, name: str, server: Server) -> Server:
        self._know(name, server.url)
        self._open.enter_context(server)
        return server

    def _know(self, name: str, url: str) -> None:
        self._addresses[f"<{name}>"] = url.partition("://")[2]

    def _finish(self) -> None:
        normaliser = Normaliser(
            {
                "<root>": self.root,
                "<tree>": self.tree,
                "<python>": Path(sys.prefix),
                "<python library>": Path(os.__file__).parent,
            },
            self._addresses,
        )
        files = list(walk(self.root))
        for name, requests in self._list_requests():
            self._sections.append((f"requests to {name}", "\n".join(requests) or "none"))
        for path, text in files:
            content = show_content(path, text, normaliser)
            if content is not None:
                self._sections.append((f"file {text}", content))
        normaliser.learn(text for _, text in self._sections)
        listing = sorted(normaliser.replace(list_path(path, name, normaliser)) for path, name in files)
        recording = {normaliser.replace(title): normaliser.replace(text).splitlines() for title, text in self._sections}
        self.recording = {**recording, "files": listing}

    def _list_requests(self) -> Iterator[tuple[str, list[str]]]:
        known = vars(self)  # a cached property is in it once it was used
        for name in ("origin", "mirror", "git"):
            if name in known:
                yield name, list(known[name].requests)
        hosts = {"host": "host" in known and self.host, "kaggle": "kaggle" in known and self.kaggle.api}
        for name, host in hosts.items():
            if host:
                yield name, [f"{one.method} {one.path} {one.headers.get('range', '')}".strip() for one in host.requests]
