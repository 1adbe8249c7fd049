"""Import hooks run code around the imports of other modules, and never break them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path

import pytest

from tests.fakes.processes import run
from tfimm_resolver._util import import_hooks
from tfimm_resolver._util.import_hooks import hook_import, is_imported

ModuleMaker = Callable[..., str]


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleMaker]:
    """Return a function that writes modules for a test; they are unloaded afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def make(name: str, code: str = "from builtins import steps\nsteps.append('body')\n") -> str:
        (tmp_path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        names.append(name)
        return name

    yield make
    for name in names:
        import_hooks._hooks.pop(name, None)
        sys.modules.pop(name, None)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record steps in order; the modules of a test append to it, too."""
    recorded: list[str] = []
    monkeypatch.setattr("builtins.steps", recorded, raising=False)
    return recorded


@pytest.fixture
def recording_hook(steps: list[str]) -> import_hooks.ImportHook:
    """Return a hook that records when its context is entered and left."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        steps.append("before")
        yield
        steps.append("after")

    return context


def test_runs_before_and_after_the_body_of_a_module(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("watched")
    hook_import(name, recording_hook)
    assert steps == [], "it ran without an import"
    assert name not in sys.modules, "hooking a module imported it"
    importlib.import_module(name)
    assert steps == ["before", "body", "after"]
    importlib.import_module(name)
    assert steps == ["before", "body", "after"], "the hook ran for an import that runs no code"


def test_leaves_other_modules_alone(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    hook_import(make_module("watched"), recording_hook)
    importlib.import_module(make_module("neighbour"))
    assert steps == ["body"]


def test_runs_at_once_after_a_module_that_is_imported_already(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("early")
    importlib.import_module(name)
    hook_import(name, recording_hook)
    assert steps == ["body", "before", "after"]


def test_runs_again_around_a_reload(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("reloaded")
    hook_import(name, recording_hook)
    module = importlib.import_module(name)
    steps.clear()
    assert importlib.reload(module) is module
    assert steps == ["before", "body", "after"]


def test_leaves_the_context_if_the_module_raises(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("failing", "raise LookupError('its own fault')")
    hook_import(name, recording_hook)
    for _ in range(2):
        with pytest.raises(LookupError, match=r"^its own fault$"):
            importlib.import_module(name)
    assert name not in sys.modules
    assert steps == ["before", "after"] * 2


def test_reports_a_missing_module_as_usual(steps: list[str], recording_hook: import_hooks.ImportHook) -> None:
    hook_import("missing_for_good", recording_hook)
    with pytest.raises(ModuleNotFoundError, match="missing_for_good"):
        importlib.import_module("missing_for_good")
    assert importlib.util.find_spec("missing_for_good") is None
    assert steps == []
    del import_hooks._hooks["missing_for_good"]


def test_a_later_hook_replaces_an_earlier_one(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("watched")
    hook_import(name, recording_hook)
    hook_import(name, contextlib.nullcontext)
    importlib.import_module(name)
    assert steps == ["body"]


def test_adds_one_finder_to_the_import_system_for_all_hooked_modules(
    make_module: ModuleMaker, recording_hook: import_hooks.ImportHook
) -> None:
    for name in ("first", "second"):
        hook_import(make_module(name), recording_hook)
    assert sys.meta_path.count(import_hooks._finder) == 1


def test_after_a_reload_of_import_hooks_there_is_one_finder_and_one_hook(
    make_module: ModuleMaker, steps: list[str], recording_hook: import_hooks.ImportHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attribute in ("_hooks", "_finder"):
        monkeypatch.setattr(import_hooks, attribute, getattr(import_hooks, attribute))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    name = make_module("watched")
    hook_import(name, recording_hook)
    importlib.reload(import_hooks)
    import_hooks.hook_import(name, recording_hook)
    assert [type(finder).__module__ for finder in sys.meta_path].count(import_hooks.__name__) == 1
    importlib.import_module(name)
    assert steps == ["before", "body", "after"]


def test_modules_are_provided_by_their_full_name_also_after_the_last_hook_was_removed(
    make_module: ModuleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_hooks, "_hooks", {})
    monkeypatch.setattr(import_hooks, "_providers", {})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    make_module("watched")
    spec = ModuleSpec("provided_1", None, is_package=True)
    hook_import("watched", contextlib.nullcontext)
    import_hooks.provide_modules("provided_[0-9]", lambda name: spec)
    import_hooks.unhook_import("watched")
    try:
        assert importlib.import_module("provided_1").__spec__ is spec
    finally:
        sys.modules.pop("provided_1", None)
    for other in ("provided_x", "provided_12", "my_provided_1"):
        assert importlib.util.find_spec(other) is None


def test_a_module_that_another_finder_has_is_not_provided(make_module: ModuleMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_hooks, "_providers", {})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    name = make_module("provided_2", "answer = 42\n")
    import_hooks.provide_modules("provided_[0-9]", lambda name: ModuleSpec(name, None, is_package=True))
    assert importlib.import_module(name).answer == 42


def test_modules_of_a_user_whose_names_are_like_those_of_the_hub_are_left_alone(tmp_path: Path) -> None:
    for name in ("tfimm_hub_tools", f"tfimm_hub_a_b_{'0' * 16}"):
        (tmp_path / f"{name}.py").write_text("answer = 42\n")
    output = run(
        f"""
        import importlib.util
        import tfimm_resolver, tfimm_hub_tools, tfimm_hub_a_b_{"0" * 16} as other
        print(tfimm_hub_tools.answer, other.answer)
        for name in ("tfimm_hub_missing", "tfimm_hub_", "tfimm_hub_a_0123456789ABCDEF", "tfimm_hub_a_0123"):
            print(importlib.util.find_spec(name))
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert output.split() == ["42", "42", *["None"] * 4]


def test_works_with_finders_that_call_the_whole_import_system(tmp_path: Path) -> None:
    (tmp_path / "watched.py").write_text("import builtins\nbuiltins.steps.append('body')\n")
    output = run(
        """
        import builtins, contextlib, sys
        import wrapt
        from tfimm_resolver._util import import_hooks

        @contextlib.contextmanager
        def recording_hook():
            builtins.steps.append("before")
            yield
            builtins.steps.append("after")

        import_hooks.hook_import("watched", recording_hook)
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
    assert output.splitlines() == ["before body after wrapt", "before body wrapt after"]


def test_the_module_sees_its_real_loader_during_and_after_the_import(
    make_module: ModuleMaker, recording_hook: import_hooks.ImportHook
) -> None:
    name = make_module("honest", "seen = [type(__loader__), type(__spec__.loader)]\n")
    hook_import(name, recording_hook)
    module = importlib.import_module(name)
    assert module.seen == [SourceFileLoader] * 2
    assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader
    importlib.reload(module)
    assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader


def test_its_loader_has_the_methods_of_the_real_one(make_module: ModuleMaker, recording_hook: import_hooks.ImportHook) -> None:
    name = make_module("inspected", "answer = 42\n")
    hook_import(name, recording_hook)
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    assert spec.loader.get_source(name) == "answer = 42\n"  # type: ignore[attr-defined]
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer == 42


@pytest.mark.parametrize("fault", ["when made", "when entered", "when left"])
def test_a_failing_hook_only_warns(fault: str, make_module: ModuleMaker, steps: list[str]) -> None:
    @contextlib.contextmanager
    def make_failing_hook() -> Iterator[None]:
        if fault == "when entered":
            raise OSError("no luck")
        yield
        if fault == "when left":
            raise OSError("no luck")

    def raise_when_called() -> contextlib.AbstractContextManager[None]:
        raise OSError("no luck")

    name = make_module("host")
    hook_import(name, raise_when_called if fault == "when made" else make_failing_hook)
    with pytest.warns(RuntimeWarning, match=r"could not attach to host: OSError\('no luck'\)"):
        importlib.import_module(name)
    assert steps == ["body"]
    assert is_imported(name)


def test_a_failing_hook_hides_no_error_of_the_module(make_module: ModuleMaker) -> None:
    @contextlib.contextmanager
    def make_failing_hook() -> Iterator[None]:
        yield
        raise OSError("no luck")

    name = make_module("host", "raise LookupError('its own fault')")
    hook_import(name, make_failing_hook)
    with pytest.warns(RuntimeWarning, match="no luck"), pytest.raises(LookupError, match="its own fault"):
        importlib.import_module(name)


def test_a_module_counts_as_imported_only_when_its_code_has_run(make_module: ModuleMaker) -> None:
    name = make_module("busy", "from tfimm_resolver._util.import_hooks import is_imported\nthen = is_imported(__name__)\n")
    assert not is_imported(name)
    module = importlib.import_module(name)
    assert module.then is False
    assert is_imported(name)


def test_importing_the_package_imports_no_framework() -> None:
    absent = ("tensorflow", "tensorflow_hub", "absl", "keras", "tf_keras", "requests", "rich", "pkg_resources")
    assert run(f"import sys, tfimm_resolver; print([name for name in {absent} if name in sys.modules])") == "[]"
