"""Tests of ``hub.text_names``: names of a repository's modules that are passed as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tfimm_resolver import hub
from tfimm_resolver.errors import EntryPointError

BODIES = {
    "files": "import importlib.resources\n    return importlib.resources.files('nets').joinpath(TXT).read_text()",
    "files of a package": "from importlib import resources as r\n    return r.files(nets.__name__).joinpath(TXT).read_text()",
    "imported files": "from importlib.resources import files\n    return files(anchor).joinpath(TXT).read_text()",
    "pkgutil": "import pkgutil\n    return pkgutil.get_data('nets', 'labels.txt').decode()",
    "resolve_name": "import pkgutil\n    return pkgutil.resolve_name('nets.small:Net').label",
    "find_spec": "from importlib.util import find_spec as f\n    return 'cat' * bool(f('nets.small') and not f('nets.no'))",
    "find_spec relative": "from importlib.util import find_spec\n    return 'cat' * (find_spec('.small', 'nets') is not None)",
    "import_module": "from importlib import import_module\n    return import_module(name='nets.small').Net.label",
}
DIRECT = {
    "hubconf.py": "import nets\nTXT, anchor = 'labels.txt', 'nets'\n"
    + "".join(f"def f{number}():\n    {body}\n" for number, body in enumerate(BODIES.values()))
    + "def later():\n    return [f0, f1, f2, f3, f4, f5, f6, f7]\n",
    "nets/__init__.py": "",
    "nets/small.py": "class Net:\n    label = 'cat'\n    def __init__(self, k=1):\n        self.k = k\n",
    "nets/labels.txt": "cat",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write the files of a repository; return its directory."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def own_nets() -> Iterator[ModuleType]:
    """A module ``nets`` of the user's own, already imported."""
    own = sys.modules["nets"] = ModuleType("nets")
    yield own
    assert sys.modules.pop("nets") is own


@pytest.mark.parametrize("number", range(len(BODIES)), ids=list(BODIES))
def test_its_own_code_may_pass_names_to_the_standard_library_while_it_is_loaded_and_later(number: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "repo", DIRECT)
    assert hub.load(folder, f"f{number}", source="local") == "cat"
    assert hub.load(folder, "later", source="local")[number]() == "cat"
    assert "nets" not in sys.modules and "nets.small" not in sys.modules


def test_names_mean_its_own_modules_also_if_the_user_has_imported_others(tmp_path: Path, own_nets: ModuleType) -> None:
    assert [function() for function in hub.load(write(tmp_path / "repo", DIRECT), "later", source="local")] == ["cat"] * 8


INSTANTIATE = """
import importlib
def instantiate(name, **options):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)(**options)
def get_data(module, name):
    import pkgutil
    return pkgutil.get_data(module, name)
"""
FOREIGN = {
    "hubconf.py": """
import logging.config
import mini_hydra

def hydra():
    return mini_hydra.instantiate("nets.small.Net", k=3)

def data():
    return mini_hydra.get_data("nets", "labels.txt")

def log():
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "handlers": {"h": {"class": "handlers.own.Own"}}}
    )
    import handlers.own
    return handlers.own.Own.made

def bad():
    return mini_hydra.instantiate("nets.missing.Net")

def outer(other):
    from tfimm_resolver import hub
    return hydra().owner, hub.load(other, "hydra", source="local").owner, hydra().owner

def late():
    return hydra
""",
    "nets/__init__.py": "",
    "nets/small.py": "class Net:\n    owner = OWNER\n    def __init__(self, k=1):\n        self.k = k\n",
    "nets/labels.txt": "cat",
    "handlers/own.py": (
        "import logging\nclass Own(logging.NullHandler):\n    made = 0\n"
        "    def __init__(self):\n        Own.made += 1\n        super().__init__()\n"
    ),
}


def write_foreign(folder: Path) -> Path:
    """Write a repository whose code passes names of its modules to other packages."""
    return write(folder, {name: text.replace("OWNER\n", f"{folder.name!r}\n") for name, text in FOREIGN.items()})


@pytest.fixture
def _hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(write(tmp_path / "site", {"mini_hydra.py": INSTANTIATE})))


@pytest.mark.usefixtures("_hydra")
def test_packages_that_it_calls_find_its_modules_by_name_and_no_module_of_that_name_is_left(tmp_path: Path) -> None:
    folder, before = write_foreign(tmp_path / "repo"), {*sys.meta_path}
    net = hub.load(folder, "hydra", source="local")
    assert net.k == 3 and type(net).__module__.endswith(".nets.small") and type(net).__module__.startswith("tfimm_hub_")
    assert sys.modules[type(net).__module__].__spec__.name == type(net).__module__  # type: ignore[union-attr]
    assert hub.load(folder, "data", source="local") == b"cat" and hub.load(folder, "log", source="local") == 1
    with pytest.raises(EntryPointError, match=r"No module named 'nets.missing'"):
        hub.load(folder, "bad", source="local")
    assert not {"nets", "nets.small", "handlers", "handlers.own"} & {*sys.modules}
    assert {type(finder).__name__ for finder in {*sys.meta_path} - before} <= {"type"}
    with pytest.raises(ModuleNotFoundError):
        hub.load(folder, "late", source="local")()


@pytest.mark.usefixtures("_hydra")
def test_each_of_two_repositories_finds_its_own_also_if_one_loads_the_other(tmp_path: Path) -> None:
    first, second = write_foreign(tmp_path / "first"), write_foreign(tmp_path / "second")
    assert [hub.load(folder, "hydra", source="local").owner for folder in (first, second)] == ["first", "second"]
    assert hub.load(first, "outer", second, source="local") == ("first", "second", "first")
    text = "import mini_hydra\nfound = mini_hydra.instantiate('nets.small.Net')\ndef hydra():\n    return found\n"
    third = write_foreign(tmp_path / "third")
    (third / "hubconf.py").write_text(text)
    assert hub.load(first, "outer", third, source="local") == ("first", "third", "first"), "also while it is imported"


@pytest.mark.usefixtures("_hydra")
def test_a_module_that_anything_else_provides_is_not_hidden_from_the_packages_it_calls(tmp_path: Path) -> None:
    write(tmp_path / "site", {"secret_tools.py": "class Net:\n    owner = 'installed'\n"})
    text = FOREIGN["hubconf.py"].replace("nets.small.Net", "secret_tools.Net").replace(", k=3", "")
    folder = write(tmp_path / "repo", {**FOREIGN, "hubconf.py": text, "secret_tools.py": "class Net:\n    owner = 'repo'\n"})
    assert hub.load(folder, "hydra", source="local").owner == "installed"
    assert "tfimm" not in sys.modules.pop("secret_tools").__name__
