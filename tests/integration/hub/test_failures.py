"""Tests of ``hub.failures``: what a repository's zip lacks, and paths, are named in the error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.git_host import GitHost
from tfimm_resolver import hub
from tfimm_resolver.errors import EntryPointError, NotFoundError

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4' * 64}\nsize 48000000\n"
FAIL = "def net():\n    raise ValueError('no data')\n"


def load(host: GitHost, files: dict[str, str]) -> None:
    """Load the entry point of a new repository with these files."""
    host.repo("ada/models", files)
    hub.load("ada/models", "net", trust_repo=True)


def test_a_submodule_is_named_if_its_directory_is_empty(host: GitHost) -> None:
    modules = '[submodule "a"]\n\tpath = third_party/ops\n\turl = ../ops\n[submodule "b"]\n\tpath = filled\n\turl = ../b\n'
    text = "def net():\n    from third_party.ops import K\n"
    with pytest.raises(EntryPointError, match="third_party/ops: a Git submodule") as caught:
        load(host, {"hubconf.py": text, ".gitmodules": modules, "filled/x.py": "", "third_party/x.py": ""})
    assert "filled" not in str(caught.value) and "--recurse-submodules" in caught.value.fix
    assert "No module named 'third_party.ops'" in str(caught.value) and "tfimm_hub_" not in str(caught.value)


@pytest.mark.parametrize("path", ["../repo-other", "../repo", "sub/../../repo-other", ".", "../..", "/repo-other"])
def test_a_submodule_outside_of_the_repository_is_not_named(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "hubconf.py").write_text(FAIL)
    (repo / ".gitmodules").write_text(f'[submodule "a"]\n\tpath = {path}\n[submodule "b"]\n\tpath = ./ops/\n')
    monkeypatch.chdir(tmp_path)
    for folder in (repo, "repo", "./repo/"):
        with pytest.raises(EntryPointError, match=r"\n  \./ops/: a Git submodule"):
            hub.load(folder, "net", source="local")


@pytest.mark.parametrize(
    "start", ["version https://hawser.github.com/spec/v1\n", "version https://git-lfs.github.com/spec/v1\r\n"]
)
def test_every_form_of_a_pointer_is_named_and_a_text_about_pointers_is_not(start: str, tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(FAIL)
    (tmp_path / "w.npz").write_bytes(start.encode() + b"oid sha256:" + b"4" * 64)
    (tmp_path / "notes.txt").write_text("version https://git-lfs.github.com/spec/ has the format\n")
    with pytest.raises(EntryPointError, match=r"\n  w\.npz: a Git LFS pointer"):
        hub.load(tmp_path, "net", source="local")


def test_pointers_of_git_lfs_are_named(host: GitHost) -> None:
    pointers = {f"weights/{number}.npz": POINTER for number in range(5)}
    with pytest.raises(EntryPointError, match=r"weights/0.npz, .*2.npz and 2 more: a Git LFS pointer") as caught:
        load(host, {"hubconf.py": FAIL, **pointers, "README": "version https://git-lfs is used"})
    assert "git lfs pull" in caught.value.fix and 'source="local"' in caught.value.fix
    assert "--local" in caught.value.advice.command


@pytest.mark.parametrize("body", ["open('configs/net.yaml')", "raise RuntimeError('cannot read configs/net.yaml: gone')"])
def test_a_path_relative_to_the_working_directory_is_explained(body: str, host: GitHost) -> None:
    with pytest.raises(EntryPointError, match="relative to the working directory") as caught:
        load(host, {"hubconf.py": f"def net():\n    {body}\n", "configs/net.yaml": "k: 3"})
    assert "configs/net.yaml" in str(caught.value) and os.getcwd() in str(caught.value) and "__file__" in caught.value.fix


@pytest.mark.parametrize("path", ["configs/other.yaml", "/configs/net.yaml", "../configs/net.yaml"])
def test_other_paths_and_failures_are_not_explained(path: str, host: GitHost) -> None:
    with pytest.raises(EntryPointError, match="No such file") as caught:
        load(host, {"hubconf.py": f"def net():\n    open({path!r})\n", "configs/net.yaml": "k: 3"})
    assert caught.value.text.count("\n") == 0 and caught.value.fix == ""


def test_a_file_that_is_in_the_working_directory_too_is_not_explained(
    host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EntryPointError, match=r"cannot parse net.yaml") as caught:
        load(host, {"hubconf.py": "def net():\n    raise ValueError('cannot parse net.yaml')\n", "net.yaml": ""})
    assert "working directory" not in str(caught.value)


def test_a_hubconf_that_lies_deeper_is_named(host: GitHost, hub_dir: Path) -> None:
    with pytest.raises(NotFoundError, match=r"it has text/hubconf\.py, vision/hubconf\.py, a/b/hubconf\.py;") as caught:
        load(host, {"vision/hubconf.py": FAIL, "text/hubconf.py": FAIL, "a/b/hubconf.py": FAIL, "README": ""})
    assert 'load(".../text", model, source="local")' in caught.value.fix and "--local" in caught.value.advice.command
    assert not list(hub_dir.glob("*/README"))
