"""Names that are imported on first use, and names of modules that have moved."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tfimm_resolver._util.lazy import export_lazily, forward

FORWARDER = "from tfimm_resolver._util.lazy import forward\n__getattr__ = forward(__name__, 'zoo_new', {'Cat': 'Lion'})\n"


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of modules that nothing has imported."""
    (tmp_path / "zoo_new.py").write_text("__all__ = ['Lion']\nclass Lion: ...\nhidden = 7\n")
    (tmp_path / "zoo_old.py").write_text(FORWARDER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("zoo_")]:
        del sys.modules[name]


def import_old() -> ModuleType:
    """Import the module that has moved."""
    return importlib.import_module("zoo_old")


def test_a_module_is_imported_at_the_first_use_of_its_name() -> None:
    get, _ = export_lazily("zoo", {"Lion": "zoo_new"})
    assert "zoo_new" not in sys.modules
    assert get("Lion") is sys.modules["zoo_new"].Lion


def test_a_name_may_be_another_one_in_its_module_or_the_module_itself() -> None:
    get, list_names = export_lazily("zoo", {"King": "zoo_new:Lion", "zoo_new": "zoo_new"})
    assert get("King").__name__ == "Lion" and get("zoo_new") is sys.modules["zoo_new"]
    assert list_names() == ["King", "zoo_new"]


def test_a_function_is_preferred_to_its_module_of_the_same_name(zoo: Path) -> None:
    (zoo / "zoo_roar.py").write_text("def zoo_roar(): ...\n")
    get, _ = export_lazily("zoo", {"zoo_roar": "zoo_roar"})
    assert callable(get("zoo_roar"))


def test_an_unknown_name_is_an_attribute_error_of_the_package() -> None:
    get, _ = export_lazily("zoo", {"Lion": "zoo_new"})
    with pytest.raises(AttributeError, match=r"module 'zoo' has no attribute 'Tiger'"):
        get("Tiger")


def test_an_old_name_works_and_warns_where_it_is_used() -> None:
    old = import_old()
    with pytest.warns(DeprecationWarning, match=r"zoo_old\.Cat is now zoo_new\.Lion") as caught:
        assert old.Cat is sys.modules["zoo_new"].Lion
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]


@pytest.mark.parametrize("name", ["Tiger", "__path__", "__all__"])
def test_a_moved_module_has_no_other_names(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'zoo_old' has no attribute '{name}'"):
        getattr(import_old(), name)


@pytest.mark.parametrize(("name", "where"), [("Lion", "zoo_public"), ("hidden", "zoo_new")])
def test_the_warning_names_the_public_package_for_its_own_names_only(name: str, where: str, zoo: Path) -> None:
    (zoo / "zoo_public.py").write_text("__all__ = ['Lion']\n")
    with pytest.warns(DeprecationWarning, match=rf"old\.{name} is now {where}\.{name};"):
        forward("old", "zoo_new", public="zoo_public")(name)


def test_a_module_may_have_names_of_its_own_beside_those_that_moved() -> None:
    get = forward("old", "zoo_new", {"Cat": "Lion"}, others=str.upper)
    assert get("Lion") == "LION"
    with pytest.warns(DeprecationWarning):
        assert get("Cat").__name__ == "Lion"
