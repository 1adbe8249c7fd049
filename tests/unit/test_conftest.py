"""The fixtures that isolate tests from the user's machine, and the failure of skips in CI."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import is_engine_skipped
from tfimm_resolver import get_dir, settings

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Another run of pytest; one with a temporary directory of its own does not spend time on removing those of earlier runs."""


def test_no_test_reaches_a_real_cache(tmp_path: Path) -> None:
    assert Path.home() == tmp_path / "home"
    assert all(Path(path).is_relative_to(tmp_path) for path in (get_dir(), settings.urls_root().value))


def test_no_test_leaves_this_machine() -> None:
    with pytest.raises(AssertionError, match="tried to connect to"), socket.socket() as sock:
        sock.connect(("192.0.2.1", 80))


@pytest.mark.parametrize(
    ("test", "ci", "code"),
    [
        ("def test_it(): pytest.skip('something is not installed')", "true", 1),
        ("def test_it(): pytest.skip('something is not installed')", "", 0),
        ("pytest.importorskip('not_installed')\ndef test_it(): pass", "true", 2),
        ("pytest.importorskip('not_installed')\ndef test_it(): pass", "", 5),
    ],
)
def test_a_skip_is_a_failure_in_ci(test: str, ci: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n{test}\n")
    job = subprocess.run(
        [
            *PYTEST,
            "-p",
            "tests.conftest",
            "-c",
            os.devnull,
            "--rootdir",
            str(tmp_path),
            f"--basetemp={tmp_path}/t",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "CI": ci},
        cwd=Path(__file__).parents[2],
    )
    assert job.returncode == code, job.stdout
    assert ("CI=true forbids" in job.stdout) is (ci == "true")


ENGINES = Path(__file__).parents[1] / "engines"


@pytest.mark.parametrize(
    ("name", "arguments", "markexpr", "is_skipped"),
    [
        ("", ["tests"], "not long", True),
        ("integrations/test_ray.py", ["tests"], "", True),
        ("integrations/test_ray.py", ["tests/unit"], "", True),
        ("", ["tests/engines"], "ray and not long", False),
        ("integrations/test_ray.py", ["tests/engines"], "ray and not long", False),
        ("integrations/test_ray_examples.py", ["tests/engines"], "ray and not long", False),
        ("integrations/test_beam.py", ["tests/engines"], "ray and not long", True),
        ("test_others.py", ["tests/engines"], "others and not long", False),
        ("integrations/test_ray.py", ["tests/engines/integrations/test_ray.py::test_x"], "not long", False),
    ],
)
def test_tests_of_an_engine_are_only_collected_where_they_are_asked_for(
    name: str, arguments: list[str], markexpr: str, is_skipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ENGINES.parents[1])
    assert is_engine_skipped(ENGINES / name, arguments, markexpr) is is_skipped


def get_own_id(item: pytest.Item) -> str:
    """Return the id of a test without the group that pytest-xdist appends."""
    group = item.get_closest_marker("xdist_group")
    return item.nodeid.removesuffix(f"@{group.args[0]}") if group else item.nodeid


@pytest.mark.long
def test_the_ids_of_tests_are_the_same_in_every_process(request: pytest.FixtureRequest) -> None:
    """Comparisons of two runs need it, and so does pytest-xdist, which compares those of its workers in each run."""
    own = {get_own_id(item) for item in request.session.items}
    files = sorted({str(item.path) for item in request.session.items})
    options = ["--collect-only", "-q", "-m", "", "-p", "no:xdist"]
    job = subprocess.run(
        [*PYTEST, *options, *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTEST_ADDOPTS": ""},  # this process has another seed
        cwd=request.config.rootpath,
    )
    assert job.returncode == 0, job.stdout
    assert own - set(job.stdout.splitlines()) == set()


def test_the_tests_of_a_group_run_in_one_process(tmp_path: Path) -> None:
    """They do not with pytest 9.2 and pytest-xdist 3.8 (its issue 1386), which is why setup.cfg has an upper limit."""
    (tmp_path / "test_it.py").write_text(
        "import os, pathlib, pytest\n"
        "@pytest.mark.xdist_group('some group')\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "def test_it(number):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'workers').open('a').write(os.environ['PYTEST_XDIST_WORKER'] + ' ')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [*PYTEST, "-n", "2", "--dist", "loadgroup", f"--basetemp={tmp_path}/t"]
    job = subprocess.run([*command, tmp_path], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert job.returncode == 0, job.stdout
    workers = (tmp_path / "workers").read_text().split()
    assert len(workers) == 6 and len({*workers}) == 1
