"""Tests of ``hub.repository``: the directory of a repository, local or fetched."""

from __future__ import annotations

import importlib.util
import py_compile
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.git_host import GitHost
from tests.fakes.processes import run, start
from tfimm_resolver import hub
from tfimm_resolver.errors import HandleError, NotFoundError, UntrustedError
from tfimm_resolver.hub.repository import ensure_checkout


def test_a_trusted_repository_is_fetched_once(host: GitHost, hub_dir: Path) -> None:
    host.repo("ada/models", {"hubconf.py": "x = 1\n"})
    path = ensure_checkout("ada/models", trust_repo=True).path
    assert files_in(path) == {"hubconf.py": b"x = 1\n"} and Path(path).parent == hub_dir
    count = len(host.requests)
    assert ensure_checkout("ada/models").path == path and len(host.requests) == count, "it is cached and trusted now"


def test_nothing_is_downloaded_without_trust_and_nothing_is_kept_without_a_hubconf(host: GitHost, hub_dir: Path) -> None:
    host.repo("ada/models", {"README": "hello"})
    with pytest.raises(UntrustedError):
        ensure_checkout("ada/models")
    assert host.list_zips() == []
    with pytest.raises(NotFoundError, match=r"has no hubconf\.py at commit"):
        ensure_checkout("ada/models", trust_repo=True)
    assert list(hub_dir.glob("*/README")) == []


def test_a_local_directory_needs_a_hubconf(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"hubconf\.py not found in"):
        ensure_checkout(tmp_path, source="local")
    (tmp_path / "hubconf.py").touch()
    assert ensure_checkout(tmp_path, source="LOCAL").path == str(tmp_path)


def test_other_sources_and_values_are_errors(tmp_path: Path) -> None:
    for options, message in (({"source": "gitlab"}, "Unknown source"), ({"trust_repo": "yes"}, "trust_repo is 'yes'")):
        with pytest.raises(HandleError, match=message):
            ensure_checkout("ada/models", **options)  # type: ignore[arg-type]
    with pytest.raises(HandleError, match="is not a repository"):
        ensure_checkout(tmp_path)


BY_PATH = """
import importlib.util, os
def one():
    spec = importlib.util.spec_from_file_location("nets", os.path.join(os.path.dirname(__file__), "nets.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NAME
"""


def test_bytecode_in_a_repository_is_removed_also_for_files_that_it_runs_by_their_path(host: GitHost, tmp_path: Path) -> None:
    repo = host.repo("ada/models", {"hubconf.py": BY_PATH, "nets.py": "NAME = 'as seen'\n", "pycs/x": ""})
    hidden = tmp_path / "hidden.py"
    hidden.write_text("NAME = 'hidden'\n")
    cached = importlib.util.cache_from_source(str(tmp_path / "host/work/ada/models/nets.py"))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for target in (cached, str(tmp_path / "host/work/ada/models/pycs/y.pyc")):
        py_compile.compile(str(hidden), cfile=target, invalidation_mode=mode)
    repo.commit({})
    checkout = ensure_checkout("ada/models", trust_repo=True)
    assert sorted(files_in(checkout.path)) == ["hubconf.py", "nets.py", "pycs/x"]
    assert hub.load("ada/models", "one") == "as seen"


REPORT = """
    import logging
    from tfimm_resolver import hub
    {setup}
    for _ in range(2):
        print(hub.load("ada/models", "one", trust_repo=True, verbose={verbose}))
"""


@pytest.mark.parametrize(
    ("setup", "verbose", "count"),
    [
        ("", True, 1),
        ("", False, 0),
        ("logging.basicConfig(level=logging.INFO)", True, 1),
        ("logging.basicConfig(level=logging.ERROR)", True, 1),
        ("import os; os.environ['TFIMM_RESOLVER_QUIET'] = '1'", True, 1),  # that is about progress
        ("import sys; sys.stderr = None", True, 0),
    ],
)
def test_verbose_prints_once_what_torch_hub_prints(
    setup: str, verbose: bool, count: int, host: GitHost, hub_dir: Path
) -> None:
    commit = host.repo("ada/models", {"hubconf.py": "def one(): return 1"}).git("rev-parse", "HEAD")
    with start(REPORT.format(setup=setup, verbose=verbose)) as job:
        out, err = job.communicate(timeout=60)
    assert (job.returncode, out) == (0, "1\n1\n"), err
    assert err.count(f'Downloading: "{host.url}/ada/models/zipball/{commit}" to {hub_dir}\n') == count
    assert err.count(f"Using cache found in {hub_dir}/ada_models_main") == count


def test_a_repository_in_use_is_not_removed(host: GitHost, hub_dir: Path) -> None:
    host.repo("ada/models", {"hubconf.py": "x = 1\n"})
    path = ensure_checkout("ada/models", trust_repo=True).path
    code = "import sys; from tfimm_resolver.locking import use_lock; print(use_lock.try_exclude(sys.argv[1]))"
    assert run(code, path) == "None"
