"""A user with models, settings and a project, in whose shell the examples of the documentation run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.fakes.git_host import GitHost
from tests.fakes.pages import PROMPT, REPOSITORY, Block
from tfimm_resolver.cache.cache import entry_name_for_key

PORT = "8765"
_HANDLE = f"http://127.0.0.1:{PORT}/half_plus_two_v1.tar.gz"
_WEIGHTS = "dense-5c106cde.weights.h5"
_HUBCONF = '''
dependencies = ["keras"]

def dense(units=1):
    """A dense layer."""
    import keras
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(units)])
'''
# Stands in for the reader's shell: prints each command, then runs it; stderr goes to stdout.
_SHOW_AND_RUN = "printf '%s\\n' {}\n{}\n"
_FAIL_EARLY = "set -eu -o pipefail\n"
_MADE_BY_PACKAGE = (".local/state/tfimm_resolver", ".cache/tfimm_resolver")  # counts, and results of searches
_MADE_BY_OTHERS = (".keras", ".config/matplotlib", ".cache/matplotlib")  # when TensorFlow is imported
_SERVED = re.compile(r"/tfhub\.dev/.*\?tf-hub-format=compressed|/models\.example\.org/.*\.(?:tar|tar\.gz|tgz)")


@dataclass(frozen=True)
class Reader:
    """A user, whose files an example must not change."""

    home: Path
    project: Path
    temporary: Path
    environment: dict[str, str]

    def read_files(self) -> dict[str, bytes]:
        """Return the content of all files that an example must not change: not what packages note at home."""
        notes = {self.home / name for name in (*_MADE_BY_PACKAGE, *_MADE_BY_OTHERS)}
        allowed = {*notes, *(folder for note in notes for folder in note.parents)}
        return {
            str(path.relative_to(self.home.parent)): path.read_bytes() if path.is_file() else b""
            for top in (self.home, self.project)
            for path in sorted(top.rglob("*"))
            if path not in allowed and not notes & {*path.parents}
        }

    def run(self, command: list[str], end_s: float = 5) -> str:
        """Run an example in the project's directory; return both streams. All its processes must end within ``end_s``."""
        with tempfile.TemporaryFile("w+") as transcript:
            job = subprocess.Popen(
                command,
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=transcript,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                job.wait(timeout=180)
                assert is_ended(job.pid, end_s), "a process of the example is still running"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.pid, signal.SIGKILL)
                job.wait()
            transcript.seek(0)
            return transcript.read() + (f"exit code {job.returncode}\n" if job.returncode else "")


def is_ended(group: int, end_s: float) -> bool:
    """Return whether all processes of a group end within so many seconds."""
    until_s = time.monotonic() + end_s
    while time.monotonic() < until_s:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def make_reader(folder: Path) -> Reader:
    """Make a user with a cache of models, and a project with a models file."""
    home, project, temporary, programs = (folder / name for name in ("reader", "project", "temporary", "programs"))
    models, name = home / ".cache" / "tfhub_modules", entry_name_for_key("https://tfhub.dev/google/other/1")
    for path, text in {
        models / name / "saved_model.pb": "a model",
        models / name / "variables" / "variables.index": "its variables",
        models / f"{name}.descriptor.txt": "its record",
        home / ".cache" / "tfimm" / "resnet18" / "saved_model.pb": "a model with a name",
        home / ".cache" / "tfimm" / ".hub" / "trusted_list": "bob/models\n",
        home / ".config" / "tfimm_resolver" / "hosts.toml": "",
        project / "tfimm-models.toml": '[models.other]\nhandle = "https://tfhub.dev/google/other/1"\n',
        programs / "python": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n',
        programs / "tfimm-resolver": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tfimm_resolver "$@"\n',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if path.parent == programs else 0o600)
    temporary.mkdir()
    (project / "tests").symlink_to(REPOSITORY / "tests")
    environment = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TFHUB_CACHE_DIR": str(models),
        "TFIMM_MODELS_FILE": str(project / "tfimm-models.toml"),
        # Nothing listens there: a request to another host fails instead of leaving this machine.
        **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1"),
        "no_proxy": "127.0.0.1,localhost",
    }
    return Reader(home, project, temporary, {**os.environ, **environment})


@contextlib.contextmanager
def serve_for(block: Block, reader: Reader, archive: bytes, folder: Path) -> Iterator[Block]:
    """Serve what an example of the documentation asks for; yield the example with the names that are served."""
    with contextlib.ExitStack() as stack:
        weights = _make_weights() if _WEIGHTS in block.text else b""
        name = f"dense-{hashlib.sha256(weights).hexdigest()[:8]}.weights.h5"
        uses_repository = "ada/" in block.text
        if uses_repository:
            host = stack.enter_context(GitHost(folder / "host"))
            repo = host.repo("ada/models", {"hubconf.py": _HUBCONF})
            repo.git("tag", "v1")
            repo.push()
            reader.environment["TFIMM_GITHUB_URL"] = host.url
        if PORT not in block.text and "TFIMM_RESOLVER_MIRRORS" not in block.text:
            mirror = stack.enter_context(_serve(archive, {f"/models.example.org/{name}": weights}))
            reader.environment["TFIMM_RESOLVER_MIRRORS"] = mirror + ",direct" * uses_repository
        yield Block(block.language, block.text.replace(_WEIGHTS, name), block.line, block.page, block.reason, block.output)


def _make_weights() -> bytes:
    from tests.fakes.weights import make_h5  # needs the extra tensorflow, as the examples with weights do

    return make_h5()


@contextlib.contextmanager
def _serve(archive: bytes, files: dict[str, bytes]) -> Iterator[str]:
    """Serve a mirror of tfhub.dev and models.example.org, on which each model is the same archive; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path) or (archive if _SERVED.fullmatch(self.path) else b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _find_free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def run_transcript(block: Block, reader: Reader, end_s: float = 5) -> str:
    """Run the commands of a block in order; return what a terminal would show."""
    port = _find_free_port()
    waits = f"until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.02; done"
    show = "" if block.is_script else _SHOW_AND_RUN
    lines = ((command, command.replace("& sleep 1", f"& {waits}").replace(PORT, port)) for command in block.list_commands())
    script = "".join(show.format(shlex.quote(PROMPT + command), run) if show else f"{run}\n" for command, run in lines)
    transcript = reader.run(["bash", "-c", (_FAIL_EARLY if block.is_script else "") + script], end_s)
    transcript = transcript.replace(str(reader.temporary), "/tmp")
    return transcript.replace(entry_name_for_key(_HANDLE.replace(PORT, port)), entry_name_for_key(_HANDLE)).replace(port, PORT)


def make_pattern(transcript: str) -> str:
    """Return a regular expression for a transcript: an ellipsis is any text in a line, spaces are one or more."""
    return re.sub(r"(?:\\ )+", " +", re.escape(transcript)).replace("…", ".+")


def check_block(block: Block, reader: Reader, run_program: Callable[[str], str] | None = None) -> None:
    """Run a block: transcripts show what they print, scripts and programs succeed, and the reader's files do not change."""
    before = reader.read_files()
    if block.is_program:
        seen = run_program(block.text) if run_program else reader.run([sys.executable, "-c", block.text])
        assert "\nexit code " not in f"\n{seen}", seen
        assert re.fullmatch(make_pattern(block.output), seen) or not block.output, f"it shows:\n{seen}"
    else:
        seen = run_transcript(block, reader)
        if block.is_transcript:
            seen = re.sub(r"exit code \d+\n\Z", "", seen)  # that of the last command, as at the end of a terminal session
            assert re.fullmatch(make_pattern(block.text), seen), f"it shows:\n{seen}"
        else:
            assert "\nexit code " not in f"\n{seen}", seen
        left = [path.name for path in reader.temporary.iterdir()]
        assert block.is_script or left == [], f"it leaves {left}"
    assert reader.read_files() == before
