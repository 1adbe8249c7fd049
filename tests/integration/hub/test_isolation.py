"""Tests of several repositories in one process: each imports its own modules, now and later, and changes no others."""

from __future__ import annotations

import pickle
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes.archives import files_in
from tests.fakes.git_host import GitHost
from tests.fakes.processes import run
from tfimm_resolver import hub
from tfimm_resolver.errors import EntryPointError

NETS = {
    "models/__init__.py": "from .base import Base\nfrom . import deep\n",
    "models/base.py": "class Base:\n    owner = OWNER\n",
    "models/net.py": """
from __future__ import annotations
import dataclasses
import models.base as base
from models import Base
from models.base import Base as Same
assert base.Base is Base is Same

@dataclasses.dataclass
class Net(Base):
    x: int = 1
    later: dataclasses.InitVar[int] = 0

    def lazily(self):
        from models import late
        import models.deep.inner
        return late.OWNER_OF_LATE, models.deep.inner.DEEP

    def by_name(self):
        import importlib
        from importlib import import_module
        import importlib.util
        assert importlib.util.find_spec("json")
        return importlib.import_module("models.late").OWNER_OF_LATE, import_module(".late", "models").OWNER_OF_LATE
""",
    "models/late.py": "import utils\nOWNER_OF_LATE = utils.name()\n",
    "models/deep/__init__.py": "",
    "models/deep/inner.py": """
from ...models.base import Base
from ..base import Base as Same
DEEP = (Base is Same, Base.owner)
""",
    "utils.py": "def name():\n    return OWNER\n",
    "hubconf.py": """
from models.net import Net
from . import utils as relative
import utils
assert relative is utils

def net(**kwargs):
    return Net(**kwargs)

def imported_names():
    import hubconf, json, os.path
    return hubconf.__name__, json.__name__, os.path.__name__
""",
}


BLOCKING = "import sys\ndef run():\n    sys.import_late()\n"


def write_repository(folder: Path, files: dict[str, str]) -> Path:
    """Write the files of a repository; return its directory."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def write_nets(folder: Path) -> Path:
    """Write a repository whose modules have the usual names and know the repository they belong to."""
    return write_repository(folder, {name: text.replace("OWNER\n", f"{folder.name!r}\n") for name, text in NETS.items()})


@pytest.fixture(autouse=True)
def _check_process_unchanged() -> Iterator[None]:
    """Check that a test leaves sys.modules and sys.path unchanged, except for modules in their own namespace."""
    modules, path = {**sys.modules}, [*sys.path]
    yield
    own = {name for name in sys.modules if name.startswith("tfimm_hub_")}
    new = {
        name for name in {*sys.modules} - {*modules} - own if name.partition(".")[0] in ("models", "utils", "hubconf", "late")
    }
    assert new == set() and sys.path == path
    assert all(sys.modules[name] is module for name, module in modules.items() if name in ("models", "utils"))


def test_two_repositories_with_the_same_packages_each_have_their_own(tmp_path: Path) -> None:
    first, second = write_nets(tmp_path / "first"), write_nets(tmp_path / "second")
    one = hub.load(first, "net", source="local")
    other = hub.load(second, "net", source="local", x=2)
    assert (one.owner, other.owner) == ("first", "second") and type(one) is not type(other)
    assert (one.lazily(), other.lazily()) == (("first", (True, "first")), ("second", (True, "second"))), "long after the load"
    assert one.by_name() == ("first", "first") and other.by_name() == ("second", "second")
    assert (one, other) == (hub.load(first, "net", source="local"), hub.load(second, "net", source="local", x=2))


def test_what_is_called_the_same_elsewhere_is_neither_used_nor_touched(tmp_path: Path) -> None:
    own = ModuleType("models")
    own.Base = "mine"  # type: ignore[attr-defined]
    sys.modules["models"] = own
    try:
        net = hub.load(write_nets(tmp_path / "first"), "net", source="local")
        assert net.owner == "first" and net.lazily()[0] == "first"
        assert sys.modules["models"] is own and "models.net" not in sys.modules
        import models  # type: ignore[import-not-found]

        assert models.Base == "mine"
    finally:
        del sys.modules["models"]


def test_objects_can_be_pickled_and_are_of_the_same_class_afterwards(tmp_path: Path) -> None:
    first, second = (hub.load(write_nets(tmp_path / name), "net", source="local", x=7) for name in ("first", "second"))
    for net in (first, second):
        again = pickle.loads(pickle.dumps(net))
        assert again == net and type(again) is type(net)


def test_a_second_load_gives_the_same_classes(tmp_path: Path) -> None:
    folder = write_nets(tmp_path / "first")
    first, second = (hub.load(folder, "net", source="local") for _ in range(2))
    assert type(first) is type(second) and pickle.loads(pickle.dumps(first)) == second


def test_hubconf_is_itself_and_others_are_what_they_are(tmp_path: Path) -> None:
    own, *others = hub.load(write_nets(tmp_path / "first"), "imported_names", source="local")
    assert own.startswith("tfimm_hub_") and own.endswith(".hubconf") and others == ["json", "posixpath"]


def test_a_repositorys_own_module_comes_before_an_installed_one_as_for_a_script(tmp_path: Path) -> None:
    folder = write_repository(
        tmp_path / "repo",
        {
            "hubconf.py": """
import colorsys, numpy, sys, docs_only

def one():
    return colorsys.MINE, numpy.__name__, sys.__name__
""",
            "colorsys.py": "MINE = 1\n",  # of the standard library
            "numpy/README": "a directory of that name, without a module, shadows nothing\n",
            "sys.py": "MINE = 2\n",  # a built-in module, which cannot be shadowed
            "docs_only/x.py": "",
        },
    )
    assert hub.load(folder, "one", source="local") == (1, "numpy", "sys")
    import colorsys

    assert not hasattr(colorsys, "MINE")


def test_a_directory_with_the_name_of_an_installed_package_never_comes_before_it(tmp_path: Path) -> None:
    text = """
def one():
    try:
        from json import extra
    except ImportError:
        pass
    import json
    return json.dumps(1)
"""
    folder = write_repository(tmp_path / "repo", {"hubconf.py": text, "json/extra.py": ""})
    assert hub.load(folder, "one", source="local") == "1"


def test_the_directory_of_the_users_program_may_be_the_repository(tmp_path: Path) -> None:
    write_nets(tmp_path)
    (tmp_path / "foreign.py").write_text("def call(function):\n    import late_of_user\n    return function()\n")
    (tmp_path / "late_of_user.py").touch()
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from tfimm_resolver import hub
        net = hub.load(sys.argv[1], "net", source="local")
        import foreign, utils
        print(type(net).__module__.startswith("tfimm_hub_"), utils.__name__, foreign.call(lambda: net.by_name()[0]))
        print(sys.path[0] == sys.argv[1])
    """
    assert run(code, str(tmp_path)).split() == ["True", "utils", tmp_path.name, "True"]


def test_modules_are_found_after_the_same_commit_was_downloaded_again(host: GitHost) -> None:
    repo = host.repo("ada/models", {name: text.replace("OWNER\n", "'ada'\n") for name, text in NETS.items()})
    repo.commit({"hubconf.py": NETS["hubconf.py"] + "def late():\n    import late_of_hub\n    return late_of_hub.OWNER\n"})
    repo.commit({"late_of_hub.py": "OWNER = 'ada'\n"})
    net = hub.load("ada/models", "net", trust_repo=True)
    before = Path(sys.modules[type(net).__module__].__file__ or "").parents[1]
    again = hub.load("ada/models", "net", force_reload=True)
    shutil.rmtree(before)
    assert type(net) is type(again) and pickle.loads(pickle.dumps(net)) == again
    assert hub.load("ada/models", "late") == "ada", "a module that was not imported before"


SRC = {
    "hubconf.py": """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))
sys.path.append(os.path.join(os.path.dirname(__file__), "src"))
from models.net import OWNER_OF

def one():
    sys.path.append(os.path.join(os.path.dirname(__file__), "more"))
    import more_models
    def late():
        from models import late
        return late.OWNER_OF, more_models.OWNER_OF
    return OWNER_OF, late
""",
    "src/models/__init__.py": "",
    "src/models/net.py": "OWNER_OF = OWNER\n",
    "src/models/late.py": "OWNER_OF = OWNER\n",
    "more/more_models.py": "OWNER_OF = OWNER\n",
}


def test_modules_of_a_directory_that_hubconf_puts_into_sys_path_are_its_own_and_the_path_is_as_before(tmp_path: Path) -> None:
    loaded = {}
    for name in ("first", "second"):
        folder = write_repository(
            tmp_path / name, {path: text.replace("OWNER\n", f"{name!r}\n") for path, text in SRC.items()}
        )
        loaded[name] = hub.load(folder, "one", source="local")
        assert not [path for path in sys.path if str(tmp_path) in path]
    for name, (owner, late) in loaded.items():
        assert owner == name and late() == (name, name)


def test_such_a_directory_is_known_later_also_if_nothing_was_imported_from_it_at_once(tmp_path: Path) -> None:
    text = """
import os.path, sys
here = os.path.dirname(__file__)

def one():
    def late():
        import more_models
        return more_models.OWNER_OF
    sys.path.append(here + "/more")
    return late
"""
    folder = write_repository(tmp_path / "first", {"hubconf.py": text, "more/more_models.py": "OWNER_OF = 'first'\n"})
    assert hub.load(folder, "one", source="local")() == "first"


def test_many_threads_load_at_once(tmp_path: Path) -> None:
    folders = [write_nets(tmp_path / f"repo{number}") for number in range(6)]
    found: list[tuple[str, str]] = []

    def load(folder: Path) -> None:
        for _ in range(3):
            net = hub.load(folder, "net", source="local")
            found.append((folder.name, net.lazily()[0]))

    threads = [threading.Thread(target=load, args=(folder,)) for folder in folders * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 36 and all(name == owner for name, owner in found)


def test_the_end_of_a_load_does_not_disturb_an_import_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write_nets(tmp_path / "first"), write_repository(tmp_path / "second", {"hubconf.py": BLOCKING})
    net = hub.load(first, "net", source="local")
    is_importing, is_ended, found = threading.Event(), threading.Event(), []

    class BlockingFinder:
        """Comes before the finder of repositories, and returns once the load has removed its own finders."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name.endswith(".late"):
                is_importing.set()
                assert is_ended.wait(60)

    def import_late() -> None:
        sys.meta_path.insert(1, BlockingFinder)  # type: ignore[arg-type]
        thread.start()
        assert is_importing.wait(60)

    thread = threading.Thread(target=lambda: found.append(net.lazily()))
    monkeypatch.setattr(sys, "import_late", import_late, raising=False)
    try:
        hub.load(second, "run", source="local")
    finally:
        is_ended.set()
        thread.join()
        sys.meta_path = [finder for finder in sys.meta_path if finder is not BlockingFinder]
    assert found == [("first", (True, "first"))]


def test_a_failed_import_leaves_no_module_and_the_next_one_starts_from_scratch(tmp_path: Path) -> None:
    folder = write_repository(
        tmp_path / "repo", {"hubconf.py": "import part\nimport flag\ndef one(): return part\n", "part.py": ""}
    )
    (folder / "flag.py").write_text("raise ValueError('not yet')\n")
    before = {*sys.modules}
    with pytest.raises(EntryPointError, match="ValueError: not yet"):
        hub.load(folder, "one", source="local")
    assert {*sys.modules} == before
    (folder / "flag.py").write_text("done = 1  # longer than before\n")
    assert hub.load(folder, "one", source="local").__name__.endswith(".part")


def test_a_relative_import_beyond_the_repository_is_refused(tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "repo", {"hubconf.py": "from .. import os\n"})
    with pytest.raises(EntryPointError, match="attempted relative import beyond top-level package"):
        hub.load(folder, "one", source="local")


def test_no_file_is_written_into_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = write_nets(tmp_path / "first")
    before = files_in(folder)
    hub.load(folder, "net", source="local").lazily()
    assert files_in(folder) == before


def test_importing_the_hub_loads_neither_tensorflow_nor_the_network() -> None:
    code = "import sys, tfimm_resolver; from tfimm_resolver import hub; print(*sys.modules)"
    heavy = {"tensorflow", "numpy", "requests", "urllib3", "ssl", "h5py", "rich", "click", "filelock", "zipfile", "socket"}
    assert set(run(code).split()).isdisjoint(heavy)
    assert "tfimm_resolver.hub" not in run("import sys, tfimm_resolver; print(*sys.modules)").split()


def test_a_warm_load_loads_neither_tensorflow_nor_the_network(tmp_path: Path) -> None:
    folder = write_nets(tmp_path / "first")
    code = f"""
        import sys
        from tfimm_resolver import hub
        hub.load({str(folder)!r}, "net", source="local")
        print(*sys.modules)
    """
    assert set(run(code).split()).isdisjoint({"tensorflow", "numpy", "requests", "urllib3", "ssl", "h5py", "zipfile"})
