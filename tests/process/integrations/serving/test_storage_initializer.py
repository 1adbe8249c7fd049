"""``fetch`` as a container runs it before a server: no variables, a user without a name or home, little memory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.faults.origin import Gate, Host, hold_at
from tests.fakes.memory_limit import describe_limit, is_root, limit_memory
from tests.fakes.processes import wait_until
from tests.fakes.serving import list_staging, read_published

USER = 54321
MEMORY_BYTES = 256 << 20
WEIGHTS = "variables/variables.data-00000-of-00001"

CONTAINER = """
import ctypes, os, sys

directory, temporary, size, uid, *needed = sys.argv[1:sys.argv.index("--")]
command = [sys.executable, "-m", "tfimm_resolver", *sys.argv[sys.argv.index("--") + 1:]]
assert not {*os.environ} - {"LC_CTYPE"}, "env -i"
libc = ctypes.CDLL(None, use_errno=True)

def mount(source, target, kind, flags, options=None):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options and options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)

def find_closed(path):
    # The outermost directory around a path that other users may not enter, such as /root.
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
    return next((each for each in above if not os.stat(each).st_mode & 0o001), None)

assert libc.unshare(0x20000) == 0
mount("none", "/", "none", 0x44000)
hidden = {path: os.open(path, os.O_RDONLY) for path in needed if find_closed(path)}
for closed in {find_closed(path) for path in hidden}:
    mount("tmpfs", closed, "tmpfs", 0, "mode=755")
for path, descriptor in hidden.items():
    os.makedirs(path, exist_ok=True)
    mount(f"/proc/self/fd/{descriptor}", path, "none", 0x1000)
if size != "0":
    mount("tmpfs", directory, "tmpfs", 0, f"size={size},mode=777")
    if os.fork():
        _, status = os.wait()
        for folder, _, names in os.walk(directory):
            for path in (os.path.join(folder, name) for name in names):
                print(os.path.relpath(path, directory), oct(os.stat(path).st_mode & 0o777), file=sys.stderr)
        sys.exit(os.waitstatus_to_exitcode(status))
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
os.execve(command[0], command, {"TMPDIR": temporary})  # else the cache would be below the machine's /tmp
"""


@pytest.fixture
def container() -> Iterator[Path]:
    """A directory with a mount point ``models``, and temporary files of the user who runs the container."""
    if not is_root():
        pytest.skip("only root can mount a file system and become another user")
    path = Path(tempfile.mkdtemp(prefix="tfimm_resolver-"))
    path.chmod(0o755)
    for name, mode in (("models", 0o777), ("tmp", 0o1777)):
        (path / name).mkdir()
        (path / name).chmod(mode)
    yield path
    shutil.rmtree(path)


def start_container(container: Path, limit: str, *arguments: str, size: str = "64m") -> subprocess.Popen[str]:
    """Start ``fetch`` there, as Kubernetes would; with ``size`` "0", without a mount."""
    needed = (sys.base_prefix, str(Path(tfimm_resolver.__file__).parents[1]), sys.prefix)
    fixed = (str(container / "models"), str(container / "tmp"), size, str(USER), *dict.fromkeys(needed))
    command = [sys.executable, "-c", limit + CONTAINER, *fixed, "--", "fetch", *arguments]
    return subprocess.Popen(command, env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def run_container(container: Path, *arguments: str, size: str = "64m") -> tuple[int, str, list[str]]:
    """Run it to its end; return exit code, stdout, and the lines of stderr."""
    with limit_memory(MEMORY_BYTES) as limit, start_container(container, limit, *arguments, size=size) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err.splitlines()


def make_weights(size_bytes: int) -> bytes:
    """Return weights that are packed to about a tenth: archives that are packed much more tightly are refused."""
    random_bytes, zeros = random.Random(3).randbytes(size_bytes // 10), bytes(900)
    return b"".join(random_bytes[at : at + 100] + zeros for at in range(0, len(random_bytes), 100))


@pytest.mark.parametrize("layout", ["flat", "tf-serving"])
def test_a_model_arrives_on_the_mount_and_every_user_may_read_it(layout: str, container: Path, host: Host) -> None:
    url = host.put("/m.tar.gz", tar_gz({**MODEL, WEIGHTS: make_weights(24_000_000)}))
    code, out, err = run_container(container, f"tfimm+{url}", str(container / "models"), "--layout", layout)
    target = container / "models" / ("1" if layout == "tf-serving" else "")
    assert (code, out) == (0, f"{target}\n"), err
    prefix = "1/" if layout == "tf-serving" else ""
    modes = dict(line.split() for line in err if line.endswith("0o644"))
    assert {prefix + path for path in MODEL} <= modes.keys(), err


@pytest.mark.long
def test_a_model_larger_than_the_memory_is_published(container: Path, host: Host) -> None:
    url = host.put("/m.tar.gz", tar_gz({**MODEL, WEIGHTS: make_weights(MEMORY_BYTES + (64 << 20))}))
    for _ in range(2):
        code, _, err = run_container(container, url, str(container / "models"), size="0")
        assert code == 0, err
    assert (container / "models" / WEIGHTS).stat().st_size > MEMORY_BYTES


def test_the_memory_is_limited(container: Path) -> None:
    code = "x = bytearray(400 << 20)\nfor at in range(0, len(x), 4096):\n    x[at] = 1"
    with limit_memory(MEMORY_BYTES) as limit:
        job = subprocess.run([sys.executable, "-c", limit + code], env={}, capture_output=True, text=True, check=False)
    assert job.returncode == -signal.SIGKILL or "MemoryError" in job.stderr, describe_limit(limit)


def test_killed_and_run_again_it_resumes_and_ends_right(container: Path, host: Host) -> None:
    body = tar_gz({**MODEL, WEIGHTS: random.Random(4).randbytes(12_000_000)})
    gate = Gate(len(body) * 3 // 4)
    url, target = host.put("/m.tar.gz", body, hold_at(gate)), str(container / "models")
    with limit_memory(MEMORY_BYTES) as limit:
        with start_container(container, limit, url, target, size="0") as process:
            wait_until(lambda: gate.reached.is_set() or process.poll() is not None)
            process.kill()
        gate.end()
        assert process.returncode == -signal.SIGKILL and os.listdir(container / "models") == []
        sent_before = host.count_sent_bytes()
        host.put("/m.tar.gz", body)
        code, _, err = run_container(container, url, target, size="0")
    assert code == 0, err
    assert host.count_sent_bytes() - sent_before < len(body) * 0.8, "it began again"
    assert len(read_published(container / "models")) == 3 and list_staging(container / "models") == []
    again = host.count_sent_bytes()
    assert run_container(container, url, target, size="0")[0] == 0 and host.count_sent_bytes() == again


def test_a_failure_ends_in_one_plain_sentence(container: Path, host: Host) -> None:
    url = f"{host.url}/gone.tar.gz"
    code, out, err = run_container(container, url, str(container / "models"))
    assert (code, out) == (3, "") and err[-1].startswith(f"error: {url} answered 404") and err[-1].endswith("."), err


def test_a_directory_that_may_not_be_written_is_an_error_that_names_the_user(container: Path, host: Host) -> None:
    url = host.put("/m.tar.gz", tar_gz())
    (container / "models").chmod(stat.S_IRWXU)
    code, _, err = run_container(container, url, str(container / "models"), size="0")
    assert code == 4 and "Permission denied" in err[-1], err
    (container / "models").chmod(0o755)
    code, _, err = run_container(container, url, str(container / "models"), size="0")
    assert code == 4 and "Permission denied" in err[-1] and f"Let user {USER} write to the directory" in err[-1], err
    assert os.listdir(container / "models") == []


@pytest.mark.parametrize("layout", ["flat", "tf-serving"])
def test_a_mount_that_is_too_small_is_an_error_and_what_was_there_stays(layout: str, container: Path, host: Host) -> None:
    url = host.put("/m.tar.gz", tar_gz({**MODEL, WEIGHTS: make_weights(8_000_000)}))
    code, _, err = run_container(container, url, str(container / "models"), "--layout", layout, size="4m")
    assert code == 4 and "No space left on device" in err[-1] and "Free some space on its disk" in err[-1], err
