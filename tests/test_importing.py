"""Code runs around an import that somebody else makes, and never breaks it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from tests.processes import run
from tfimm_resolver._util import import_hooks
from tfimm_resolver._util.import_hooks import hook_import, is_imported

Maker = Callable[..., str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Writes modules that nobody else has; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def make(name: str, code: str = "from builtins import steps\nsteps.append('body')\n") -> str:
        (tmp_path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        names.append(name)
        return name

    yield make
    for name in names:
        import_hooks._around.pop(name, None)
        sys.modules.pop(name, None)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in order; the modules write into it, too."""
    happened: list[str] = []
    monkeypatch.setattr("builtins.steps", happened, raising=False)
    return happened


@pytest.fixture
def noted(steps: list[str]) -> import_hooks.ImportHook:
    """A context that notes when it is entered and left."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        steps.append("before")
        yield
        steps.append("after")

    return context


def test_runs_before_and_after_the_body_of_a_module(made: Maker, steps: list[str], noted: import_hooks.ImportHook) -> None:
    name = made("watched")
    hook_import(name, noted)
    assert steps == [], "it ran without an import"
    assert name not in sys.modules, "watching a module imported it"
    importlib.import_module(name)
    assert steps == ["before", "body", "after"]
    importlib.import_module(name)
    assert steps == ["before", "body", "after"], "an import that runs no code counted"


def test_leaves_other_modules_alone(made: Maker, steps: list[str], noted: import_hooks.ImportHook) -> None:
    hook_import(made("watched"), noted)
    importlib.import_module(made("neighbour"))
    assert steps == ["body"]


def test_runs_at_once_after_a_module_that_is_imported_already(
    made: Maker, steps: list[str], noted: import_hooks.ImportHook
) -> None:
    name = made("early")
    importlib.import_module(name)
    hook_import(name, noted)
    assert steps == ["body", "before", "after"]


def test_runs_again_around_a_reload(made: Maker, steps: list[str], noted: import_hooks.ImportHook) -> None:
    name = made("reloaded")
    hook_import(name, noted)
    module = importlib.import_module(name)
    steps.clear()
    assert importlib.reload(module) is module
    assert steps == ["before", "body", "after"]


def test_leaves_the_context_of_a_module_that_fails(made: Maker, steps: list[str], noted: import_hooks.ImportHook) -> None:
    name = made("failing", "raise LookupError('its own fault')")
    hook_import(name, noted)
    for _ in range(2):
        with pytest.raises(LookupError, match=r"^its own fault$"):
            importlib.import_module(name)
    assert name not in sys.modules
    assert steps == ["before", "after"] * 2


def test_passes_on_that_a_module_is_missing(steps: list[str], noted: import_hooks.ImportHook) -> None:
    hook_import("missing_for_good", noted)
    with pytest.raises(ModuleNotFoundError, match="missing_for_good"):
        importlib.import_module("missing_for_good")
    assert importlib.util.find_spec("missing_for_good") is None
    assert steps == []
    del import_hooks._around["missing_for_good"]


def test_the_last_context_for_a_name_holds(made: Maker, steps: list[str], noted: import_hooks.ImportHook) -> None:
    name = made("watched")
    hook_import(name, noted)
    hook_import(name, contextlib.nullcontext)
    importlib.import_module(name)
    assert steps == ["body"]


def test_puts_one_finder_into_the_import_system_however_many_modules_it_watches(
    made: Maker, noted: import_hooks.ImportHook
) -> None:
    for name in ("first", "second"):
        hook_import(made(name), noted)
    assert sys.meta_path.count(import_hooks._finder) == 1


def test_a_reload_of_this_module_leaves_one_finder_and_one_context(
    made: Maker, steps: list[str], noted: import_hooks.ImportHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attribute in ("_around", "_finder"):
        monkeypatch.setattr(import_hooks, attribute, getattr(import_hooks, attribute))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    name = made("watched")
    hook_import(name, noted)
    importlib.reload(import_hooks)
    import_hooks.hook_import(name, noted)
    assert [type(finder).__module__ for finder in sys.meta_path].count(import_hooks.__name__) == 1
    importlib.import_module(name)
    assert steps == ["before", "body", "after"]


def test_gets_on_with_finders_that_ask_the_whole_import_system(tmp_path: Path) -> None:
    if Version(version("wrapt")) < Version("1.15"):
        pytest.skip("this wrapt cannot watch a module that was removed from sys.modules")
    (tmp_path / "watched.py").write_text("import builtins\nbuiltins.steps.append('body')\n")
    said = run(
        """
        import builtins, contextlib, sys
        import wrapt
        from tfimm_resolver._util import import_hooks

        @contextlib.contextmanager
        def noted():
            builtins.steps.append("before")
            yield
            builtins.steps.append("after")

        import_hooks.hook_import("watched", noted)
        wrapt.register_post_import_hook(lambda module: builtins.steps.append("wrapt"), "watched")
        for _ in range(2):
            builtins.steps = []
            import watched
            print(*builtins.steps)
            del sys.modules["watched"]
            sys.meta_path.insert(0, sys.meta_path.pop(sys.meta_path.index(import_hooks._finder)))
            wrapt.register_post_import_hook(lambda module: builtins.steps.append("wrapt"), "watched")
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert said.splitlines() == ["before body after wrapt", "before body wrapt after"]


def test_shows_the_real_loader_to_a_module_and_after_it(made: Maker, noted: import_hooks.ImportHook) -> None:
    name = made("honest", "seen = [type(__loader__), type(__spec__.loader)]\n")
    hook_import(name, noted)
    module = importlib.import_module(name)
    assert module.seen == [SourceFileLoader] * 2
    assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader
    importlib.reload(module)
    assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader


def test_lends_its_loader_the_methods_of_the_real_one(made: Maker, noted: import_hooks.ImportHook) -> None:
    name = made("asked", "answer = 42\n")
    hook_import(name, noted)
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    assert spec.loader.get_source(name) == "answer = 42\n"  # type: ignore[attr-defined]
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer == 42


@pytest.mark.parametrize("fault", ["when made", "when entered", "when left"])
def test_a_context_that_fails_only_warns(fault: str, made: Maker, steps: list[str]) -> None:
    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        if fault == "when entered":
            raise OSError("no luck")
        yield
        if fault == "when left":
            raise OSError("no luck")

    def unmade() -> contextlib.AbstractContextManager[None]:
        raise OSError("no luck")

    name = made("host")
    hook_import(name, unmade if fault == "when made" else failing)
    with pytest.warns(RuntimeWarning, match=r"could not attach to host: OSError\('no luck'\)"):
        importlib.import_module(name)
    assert steps == ["body"]
    assert is_imported(name)


def test_a_context_that_fails_hides_no_error_of_the_module(made: Maker) -> None:
    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        yield
        raise OSError("no luck")

    name = made("host", "raise LookupError('its own fault')")
    hook_import(name, failing)
    with pytest.warns(RuntimeWarning, match="no luck"), pytest.raises(LookupError, match="its own fault"):
        importlib.import_module(name)


def test_a_module_counts_as_imported_only_when_its_code_has_run(made: Maker) -> None:
    name = made("busy", "from tfimm_resolver._util.import_hooks import is_imported\nthen = is_imported(__name__)\n")
    assert not is_imported(name)
    module = importlib.import_module(name)
    assert module.then is False
    assert is_imported(name)


def test_importing_the_package_imports_no_host() -> None:
    absent = ("tensorflow", "tensorflow_hub", "absl", "keras", "tf_keras", "requests", "rich", "pkg_resources")
    assert run(f"import sys, tfimm_resolver; print([name for name in {absent} if name in sys.modules])") == "[]"
