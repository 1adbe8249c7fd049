"""Tests of the public names: signatures, what editors and type checkers see, and the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run

WITH_TENSORFLOW = {
    "tfimm_resolver.errors.NotASavedModelError",
    "tfimm_resolver.hub.load_saved_model_from_url",
    "tfimm_resolver.integrations.register",
    "tfimm_resolver.load",
    "tfimm_resolver.load_options",
    "tfimm_resolver.register",
}
SNAPSHOT = Path(__file__).parents[1] / "data" / "public_api.txt"
PUBLIC = (
    "",
    ".errors",
    ".hub",
    ".sources",
    ".bundles",
    ".maintenance",
    ".project",
    ".integrations",
    ".integrations.serving",
    ".inspection",
)
MOVED = {
    "tfimm_resolver.plan": ("Fetch", "InPlace", "Ask", "Latest", "Plan", "Source"),
    "tfimm_resolver.handle": ("Handle",),
    "tfimm_resolver.bundle": ("write", "Written"),
    "tfimm_resolver.unbundle": ("read", "Taken"),
    "tfimm_resolver.transfer": ("Transfer",),
}


def list_public_modules() -> Iterator[ModuleType]:
    """Yield the modules that list public names."""
    for suffix in PUBLIC:
        yield importlib.import_module(f"tfimm_resolver{suffix}")


def describe_class(name: str, found: type) -> Iterator[str]:
    """Yield a line for a class and one for each of its public attributes."""
    bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
    yield f"class {name}({bases})"
    for attribute, value in sorted(vars(found).items()):
        if attribute.startswith("_"):
            continue
        function = getattr(value, "__func__", value)
        signature = str(inspect.signature(function)) if inspect.isfunction(function) else ""
        yield f"  {name}.{attribute}{signature}"


def describe_api() -> str:
    """Return every public name with its signature, a line each."""
    lines = []
    for module in list_public_modules():
        for name in sorted(module.__all__):
            found, full = getattr(module, name), f"{module.__name__}.{name}"
            if inspect.isclass(found):
                lines += describe_class(full, found)
            elif inspect.isfunction(found):
                lines.append(f"{full}{inspect.signature(found)}")
            else:
                lines.append(full)
    return "\n".join(lines) + "\n"


def test_names_and_signatures_are_those_of_the_snapshot() -> None:
    """After an intended change, run ``python -m tests.integration.test_public_api`` and describe the change in CHANGELOG."""
    assert describe_api() == SNAPSHOT.read_text()


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    for module in list_public_modules():
        assert dir(module) == sorted(module.__all__), module.__name__


def list_public_functions() -> Iterator[FunctionType]:
    """Yield the functions among the public names."""
    for module in list_public_modules():
        yield from (value for name in module.__all__ if isinstance(value := getattr(module, name), FunctionType))


def test_a_function_belongs_to_the_package_that_publishes_it() -> None:
    public = {module.__name__ for module in list_public_modules()}
    found = [*list_public_functions()]
    assert [f"{one.__module__}.{one.__name__}" for one in found if one.__module__ not in public] == [] and len(found) > 40
    at_top = tfimm_resolver.inspect
    assert (
        tfimm_resolver.inspection.inspect is at_top
        and at_top.__module__ == tfimm_resolver.cached.__module__ == "tfimm_resolver"
    )
    for one in found:
        assert pickle.loads(pickle.dumps(one)) is one and inspect.getsource(one).startswith(("def ", "@"))
        assert f"c{one.__module__}\n".encode() in pickle.dumps(one, protocol=0)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    for module in list_public_modules():
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = module.nonsense


@pytest.mark.parametrize("module", MOVED)
def test_a_module_that_moved_works_and_warns(module: str) -> None:
    for name in MOVED[module]:
        with pytest.warns(DeprecationWarning, match=rf"{module}\.{name} is now tfimm_resolver\."):
            assert getattr(importlib.import_module(module), name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = importlib.import_module(module).nonsense


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("plan.Fetch", "sources.Fetch"),
        ("handle.Handle", "sources.Handle"),
        ("bundle.write", "bundles.write"),
        ("unbundle.read", "bundles.read"),
        ("transfer.Transfer", "transfer.Downloader"),
    ],
)
def test_importing_a_name_from_where_it_was_names_the_public_one_and_the_line_that_does(old: str, new: str) -> None:
    module, _, name = f"tfimm_resolver.{old}".rpartition(".")
    code = f"""
    import warnings
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        from {module} import {name}
    for warning in seen:
        print(warning.filename, warning.message)
    """
    text = f"<string> tfimm_resolver.{old} is now tfimm_resolver.{new}; the old name works until version 1.0"
    assert {*run(code).splitlines()} == {text}  # twice from a package, of which Python first asks whether it has the name


def test_unregister_removes_the_import_hook() -> None:
    code = """
    import sys, tfimm_resolver
    def hooked(): return "tensorflow_hub" in sys.modules["tfimm_resolver._util.import_hooks"]._hooks
    print(hooked()); tfimm_resolver.unregister(); print(hooked())
    """
    assert run(code).split() == ["True", "False"]


@pytest.fixture
def example_origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Origin]:
    """A loopback server in place of models.example; the working directory is empty."""
    with Origin() as origin:
        origin.put("/models.example/half_plus_two/1.tar.gz", tar_gz())
        monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url)
        monkeypatch.setenv("TFIMM_RESOLVER_QUIET", "1")
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        yield origin


def find_examples() -> list[doctest.DocTest]:
    """Return the examples of all public names."""
    finder, found = doctest.DocTestFinder(), {}
    for module in list_public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                for test in finder.find(value, f"{module.__name__}.{name}", globs={}):
                    if test.examples:
                        found[test.name] = test
    return list(found.values())


def test_each_public_name_has_an_example() -> None:
    named = {test.name for test in find_examples()}
    expected = {f"{module.__name__}.{name}" for module in list_public_modules() for name in module.__all__}
    values = {name: getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in expected}
    documented = {name for name, value in values.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert (
        documented - {name for name in documented if any(one == name or one.startswith(f"{name}.") for one in named)} == set()
    )


@pytest.mark.parametrize(
    "example",
    [pytest.param(test, marks=pytest.mark.tensorflow) if test.name in WITH_TENSORFLOW else test for test in find_examples()],
    ids=lambda test: test.name,
)
def test_the_example_of(example: doctest.DocTest, example_origin: Origin) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    example.globs = {"tfimm_resolver": tfimm_resolver}
    report: list[str] = []
    doctest.DocTestRunner(optionflags=flags).run(example, out=report.append)
    assert report == []


if __name__ == "__main__":
    SNAPSHOT.write_text(describe_api())
