"""Tests of the examples in README.md: each uses its own directories, changes no other files, and prints what it shows."""

from __future__ import annotations

import configparser
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
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.fakes.git_host import GitHost
from tests.fakes.readme import PROMPT, README, Block, find_unsafe_lines, is_run_by_import, read_blocks
from tests.fakes.saved_models import make_half_plus_two
from tests.fakes.weights import make_h5
from tfimm_resolver.cache.cache import entry_name_for_key

REPOSITORY = README.parent
BLOCKS = read_blocks(README.read_text())
TRANSCRIPTS = [block for block in BLOCKS if block.is_transcript]
PROGRAMS = [block for block in BLOCKS if is_run_by_import(block)]
PORT = "8765"
HANDLE = f"http://127.0.0.1:{PORT}/half_plus_two_v1.tar.gz"
WEIGHTS = "dense-5c106cde.weights.h5"
HUBCONF = '''
dependencies = ["keras"]

def dense(units=1):
    """A dense layer."""
    import keras
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(units)])
'''
# Stands in for the reader's shell: prints each command, then runs it; stderr goes to stdout.
SHOW_AND_RUN = "printf '%s\\n' {}\n{}\n"
MADE_BY_KERAS = ".keras"


@dataclass(frozen=True)
class Reader:
    """A user with models, settings and a project, in whose shell an example runs."""

    home: Path
    project: Path
    temporary: Path
    environment: dict[str, str]

    def read_files(self) -> dict[str, bytes]:
        """Return the content of all files that an example must not change."""
        return {
            str(path.relative_to(self.home.parent)): path.read_bytes() if path.is_file() else b""
            for top in (self.home, self.project)
            for path in sorted(top.rglob("*"))
            if MADE_BY_KERAS not in path.parts
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
            return transcript.read()


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


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A user with a cache as README recommends, and a project with a models file."""
    home, project, temporary, programs = (tmp_path / name for name in ("reader", "project", "temporary", "programs"))
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
    }
    return Reader(home, project, temporary, {**os.environ, **environment})


@pytest.fixture
def git_host(tmp_path: Path, reader: Reader) -> Iterator[GitHost]:
    """A git host with the repository of the examples, set as TFIMM_GITHUB_URL."""
    with GitHost(tmp_path / "host") as host:
        repo = host.repo("ada/models", {"hubconf.py": HUBCONF})
        repo.git("tag", "v1")
        repo.push()
        reader.environment["TFIMM_GITHUB_URL"] = host.url
        yield host


def find_free_port() -> str:
    """Return a free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def run_transcript(block: Block, reader: Reader, end_s: float = 5) -> str:
    """Run the commands of a block in order; return what a terminal would show."""
    port = find_free_port()
    waits = f"until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.02; done"
    script = "".join(
        SHOW_AND_RUN.format(shlex.quote(PROMPT + command), command.replace("& sleep 1", f"& {waits}").replace(PORT, port))
        for command in block.list_commands()
    )
    transcript = reader.run(["bash", "-c", script], end_s).replace(str(reader.temporary), "/tmp")
    return transcript.replace(entry_name_for_key(HANDLE.replace(PORT, port)), entry_name_for_key(HANDLE)).replace(port, PORT)


def make_pattern(transcript: str) -> str:
    """Return a regular expression for a transcript: an ellipsis is any text in a line, spaces are one or more."""
    return re.sub(r"(?:\\ )+", " +", re.escape(transcript)).replace("…", ".+")


def test_blocks_are_found() -> None:
    assert len(TRANSCRIPTS) >= 4 and len(PROGRAMS) >= 2
    assert [block.list_commands()[0] for block in BLOCKS if block.is_shell and not block.is_transcript] == [
        "make demo     # .venv, installation, and the main job on a small model, served on loopback",
        "pip install '.[tensorflow]'       # from a clone; without the extra there is resolve(), and no load()",
    ]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_no_block_changes_files_of_the_reader(block: Block) -> None:
    assert find_unsafe_lines(block) == []


OWN = "$ demo=$(mktemp -d); export TFHUB_CACHE_DIR=$demo/cache\n"


@pytest.mark.parametrize(
    "text",
    [
        "$ rm ~/.cache/tfhub_modules/*/variables/*\n",
        "$ rm -r ~/.cache/tfhub_modules\n",
        OWN + '$ rm -r "$HOME/.cache/tfhub_modules"\n',
        OWN + "$ rm -r ${XDG_CACHE_HOME}/tfimm\n",
        OWN + "$ rm -r $TFHUB_CACHE_DIR\n",
        OWN + '$ rm -r "$demo/../models"\n',
        OWN + "$ rm -r $demonstration\n",
        OWN + "$ true && rm tfimm-models.toml\n",
        OWN + "$ true | tee models.txt\n",
        OWN + "$ echo x > tfimm-models.toml\n",
        OWN + "$ printf x | dd of=models.tar bs=1 seek=3000\n",
        OWN + "$ tfimm-resolver add half http://h/m.tgz\n",
        OWN + "$ tfimm-resolver rm resnet18\n",
        OWN + "$ tfimm-resolver hub list --trust ada/models\n",
        OWN + "$ export TFHUB_CACHE_DIR=/mnt/models\n$ tfimm-resolver rm half\n",
        "$ tfimm-resolver -q resolve http://h/m.tgz\n",
        "$ export TFHUB_CACHE_DIR=~/.cache/tfhub_modules\n$ tfimm-resolver resolve http://h/m.tgz\n",
    ],
)
def test_a_transcript_that_would_is_seen(text: str) -> None:
    assert find_unsafe_lines(Block("", text, 1)) != []


@pytest.mark.parametrize(
    "text",
    [
        "import tfimm_resolver\npath = tfimm_resolver.resolve('https://h/m.tgz')\n",
        "from tfimm_resolver import hub\nhub.list('ada/models', trust_repo=True)\nhub.set_dir(tempfile.mkdtemp())\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir('models')\ntfimm_resolver.resolve('https://h/m.tgz')\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir(tempfile.mkdtemp())\nshutil.rmtree(path)\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir(tempfile.mkdtemp())\nload('~/model')\n",
    ],
)
def test_a_program_that_would_is_seen(text: str) -> None:
    assert find_unsafe_lines(Block("python", text, 1)) != []


@pytest.mark.parametrize("block", TRANSCRIPTS, ids=lambda block: f"line {block.line}")
def test_a_transcript_shows_what_its_commands_print(block: Block, reader: Reader, request: pytest.FixtureRequest) -> None:
    if "tfimm-resolver hub" in block.text:
        request.getfixturevalue("git_host")
    before = reader.read_files()
    transcript = run_transcript(block, reader)
    assert re.fullmatch(make_pattern(block.text), transcript), f"it shows:\n{transcript}"
    assert reader.read_files() == before
    assert list(reader.temporary.iterdir()) == [], "it leaves files"


@pytest.mark.parametrize("command", ["rm ~/.cache/tfhub_modules/*/variables/*", "rm -r ~/.cache/tfhub_modules", "touch new"])
def test_a_transcript_that_changes_files_of_the_reader_is_noticed(command: str, reader: Reader) -> None:
    before = reader.read_files()
    run_transcript(Block("", PROMPT + command, 1), reader)
    assert reader.read_files() != before


def test_a_transcript_that_leaves_a_process_is_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="still running"):
        run_transcript(Block("", "$ sleep 60 &\n", 1), reader, end_s=0.2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"line {block.line}")
def test_a_program_runs_and_leaves_the_reader_s_files(block: Block, reader: Reader, git_host: GitHost, tmp_path: Path) -> None:
    if "TFSMLayer" in block.text and version("keras") < "3":
        pytest.skip("TensorFlow 2.15 comes with Keras 2")
    mirror, weights = tmp_path / "mirror", make_h5()
    name = f"dense-{hashlib.sha256(weights).hexdigest()[:8]}.weights.h5"
    (mirror / "models.example.org").mkdir(parents=True)
    (mirror / "models.example.org" / name).write_bytes(weights)
    (mirror / "tfhub.dev" / "google" / "nnlm-en-dim50").mkdir(parents=True)
    (tmp_path / "saved").mkdir()
    (mirror / "tfhub.dev" / "google" / "nnlm-en-dim50" / "2.tar.gz").write_bytes(make_half_plus_two(tmp_path / "saved"))
    reader.environment["TFIMM_RESOLVER_MIRRORS"] = f"file://{mirror}" + ",direct" * ("hub.list" in block.text)
    before = reader.read_files()
    transcript = reader.run([sys.executable, "-c", block.text.replace(WEIGHTS, name) + "\nprint('It ran to its end')\n"])
    assert transcript.endswith("It ran to its end\n"), transcript
    assert reader.read_files() == before


def test_what_it_has_one_install_and_make_is_there() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    commands = textwrap.dedent("\n".join(line for block in BLOCKS if block.is_shell for line in block.list_commands()))
    extras = set(re.findall(r"'\.\[(\w+)\]'", commands))
    assert extras == set(setup["options.extras_require"]) - {"test", "test-integration", "test-unit"}
    targets = re.findall(r"^make (\w+)", commands, re.MULTILINE)
    assert targets and all(
        re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE) for target in targets
    )
