"""Tests of ``hub.source_finder``: what a reader of a repository sees is what runs."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sysconfig
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from tfimm_resolver import hub
from tfimm_resolver.errors import EntryPointError
from tfimm_resolver.hub.source_finder import MODULE_BYTES_MAX


def compile_hidden(folder: Path, target: Path) -> None:
    """Write bytecode that is never compared with its source, and whose functions return "hidden"."""
    source = folder / "hidden.txt"
    source.write_text("def net():\n    return 'hidden'\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(str(source), cfile=str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.unlink()


def shadow(folder: Path, module: str, kind: str) -> None:
    """Put something beside a module that Python would import instead of its source."""
    if kind == "__pycache__":
        compile_hidden(folder, Path(importlib.util.cache_from_source(str(folder / f"{module}.py"))))
    elif kind == "pyc":
        compile_hidden(folder, folder / f"{module}.pyc")
    elif kind == "extension":
        (folder / f"{module}{EXTENSION_SUFFIXES[0]}").write_bytes(b"\x7fELF, and not one that can be loaded")
    elif kind == "package":
        (folder / module).mkdir()
        (folder / module / "__init__.py").write_text("def net():\n    return 'hidden'\n")
    else:
        compile_hidden(folder, folder / module / "__init__.pyc")


@pytest.mark.parametrize("kind", ["__pycache__", "pyc", "extension", "package", "compiled package"])
def test_exactly_the_file_hubconf_py_runs(kind: str, tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text("import hubconf\ndef net():\n    return 'as seen', hubconf.net is net\n")
    shadow(tmp_path, "hubconf", kind)
    assert hub.load(tmp_path, "net", source="local") == ("as seen", True)


@pytest.mark.parametrize("kind", ["__pycache__", "pyc", "extension", "compiled package"])
@pytest.mark.parametrize("module", ["nets", "folder/nets", "package/nets"])
def test_every_module_of_a_repository_runs_from_its_source(module: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{module}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("def net():\n    return 'as seen'\n")
    if module.startswith("package"):
        (path.parent / "__init__.py").touch()
    name = module.replace("/", ".")
    (tmp_path / "hubconf.py").write_text(f"import {name} as found\ndef net():\n    return found.net()\n")
    shadow(path.parent, "nets", kind)
    assert hub.load(tmp_path, "net", source="local") == "as seen"


@pytest.mark.parametrize("kind", ["pyc", "compiled package"])
@pytest.mark.parametrize("folder", ["", "src"])
def test_bytecode_without_source_is_not_found(folder: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(
        f"import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), {folder!r}))\nfrom nets import net\n"
    )
    (tmp_path / folder).mkdir(exist_ok=True)
    shadow(tmp_path / folder, "nets", kind)
    with pytest.raises(EntryPointError, match=r"ModuleNotFoundError|ImportError"):
        hub.load(tmp_path, "net", source="local")


@pytest.mark.parametrize("module", ["nets.py", "package/__init__.py", "package/nets.py", "folder/nets.py"])
def test_a_module_over_the_limit_is_not_read(module: str, tmp_path: Path) -> None:
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text("k = 3\n")
    os.truncate(path, MODULE_BYTES_MAX + 1)  # a sparse file
    name = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    (tmp_path / "hubconf.py").write_text(f"def net():\n    import {name}\n")
    with pytest.raises(
        EntryPointError, match=rf"ImportError: .*{module} cannot be read: it has over 16777216 bytes"
    ) as caught:
        hub.load(tmp_path, "net", source="local")
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_module_that_is_a_link_is_read_and_one_that_is_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("k = 3\n")
    (tmp_path / "linked.py").symlink_to("real.txt")
    os.mkfifo(tmp_path / "endless.fifo")
    (tmp_path / "hubconf.py").write_text(
        "def net():\n    import linked\n    return linked.k\n"
        "def pipe():\n    spec = __spec__.loader.__class__('endless', __file__.replace('hubconf.py', 'endless.fifo'), {})\n"
        "    spec.get_code('endless')\n"
    )
    assert hub.load(tmp_path, "net", source="local") == 3
    with pytest.raises(EntryPointError, match=r"ImportError: .*endless.fifo cannot be read"):
        hub.load(tmp_path, "pipe", source="local")


def test_an_extension_module_without_source_is_loaded(tmp_path: Path) -> None:
    extension = next(iter(Path(sysconfig.get_config_var("DESTSHARED")).glob(f"_*{EXTENSION_SUFFIXES[0]}")))
    (tmp_path / extension.name).write_bytes(extension.read_bytes())
    name = extension.name.partition(".")[0]
    (tmp_path / "hubconf.py").write_text(f"import {name}\ndef net():\n    return {name}.__file__\n")
    assert hub.load(tmp_path, "net", source="local") == str(tmp_path / extension.name)


@pytest.mark.parametrize("has_bytecode", [False, True])
def test_an_archive_in_the_path_gives_source_only(has_bytecode: bool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("nets.py", "def net():\n    return 'as seen'\n")
        if has_bytecode:
            compile_hidden(tmp_path, tmp_path / "nets.txt")
            archive.write(tmp_path / "nets.txt", "nets.pyc")
    (tmp_path / "hubconf.py").write_text(
        "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), 'lib.zip'))\nfrom nets import net\n"
    )
    if has_bytecode:
        with pytest.raises(EntryPointError, match="No module named 'nets'"):
            hub.load(tmp_path, "net", source="local")
    else:
        assert hub.load(tmp_path, "net", source="local") == "as seen"


FOLDERS = {
    "hubconf.py": """
import nets.deep.small
from nets import other
from nets.deep import small
from . import nets as relative
import importlib
import importlib.resources
import nets

def net():
    assert relative is nets and nets.deep.small is small
    label = importlib.resources.files("nets").joinpath("labels.txt").read_text()
    return small.NAME, other.up().NAME, importlib.import_module("nets.late").NAME, label
""",
    "nets/labels.txt": "cat",
    "nets/deep/small.py": "NAME = 'small'\n",
    "nets/other.py": "def up():\n    from .deep import small\n    from ..nets.deep import small as same\n"
    "    assert small is same\n    return small\n",
    "nets/late.py": "NAME = 'late'\n",
}


@pytest.mark.parametrize("own", ["", "nets.py", "nets/__init__.py"])
def test_directories_without_init_are_packages_also_beside_a_file_of_that_name_of_the_user(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FOLDERS.items():
        path = tmp_path / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "work").mkdir()
    if own:
        (tmp_path / "work" / own).parent.mkdir(exist_ok=True)
        (tmp_path / "work" / own).write_text("def helper(): return 'own'\n")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    assert hub.load(tmp_path / "repo", "net", source="local") == ("small", "small", "late", "cat")
