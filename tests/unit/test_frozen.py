"""What a frozen program, or one in a zip, has of the package: modules that an import statement names, and no metadata."""

from __future__ import annotations

import configparser
import modulefinder
from pathlib import Path

import pytest

import tfimm_resolver

REPOSITORY = Path(__file__).parents[2]
START = "import tfimm_resolver\nfrom tfimm_resolver.cli import main\n"

NOT_IMPORTED = {"tfimm_resolver.__main__"}
"""Modules that Python itself runs, with -m."""


def find_modules(root: Path, script: Path) -> set[str]:
    """Return the modules of the package that a freezer finds from a script; only the package is searched for imports."""
    finder = modulefinder.ModuleFinder(path=[str(root)])
    finder.run_script(str(script))
    return {name for name in finder.modules if name.partition(".")[0] == "tfimm_resolver"}


def test_a_freezer_finds_every_module(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(START)
    paths = (path.relative_to(REPOSITORY).with_suffix("") for path in (REPOSITORY / "tfimm_resolver").rglob("*.py"))
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    assert modules - find_modules(REPOSITORY, tmp_path / "program.py") == NOT_IMPORTED


@pytest.mark.parametrize(
    "code", ["import importlib\nimportlib.import_module('tfimm_resolver.b')\n", "if False:\n    from . import b\n"]
)
def test_a_module_that_no_statement_imports_is_not_found(tmp_path: Path, code: str) -> None:
    package = tmp_path / "tfimm_resolver"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "b.py").write_text("")
    (tmp_path / "program.py").write_text("import tfimm_resolver\n")
    assert find_modules(tmp_path, tmp_path / "program.py") == {"tfimm_resolver"}


def test_the_version_is_that_of_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert tfimm_resolver.__version__ == setup["metadata"]["version"]
    assert f"\nversion: {tfimm_resolver.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()
