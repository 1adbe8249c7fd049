"""No way leads around the check of a model's operations: looks in the syntax trees of the package for one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tfimm_resolver

pytestmark = pytest.mark.xdist_group("check of operations")  # so that the package is parsed once
PACKAGE = Path(tfimm_resolver.__file__).parent
Trees = dict[str, ast.Module]

CALLERS: dict[str, dict[str, str]] = {
    "saved_model.load": {
        "loading.loader._load_path": "the one call on this machine",
        "loading.remote.load": "the same, with remote workers",
        "loading.remote._load_tf1": "the same",
    },
    "load_model": {"hub.weights.load_saved_model_from_url": "a .keras file, which hub.keras_files checks"},
    "_load_path": {"loading.loader.load_resolved": "runs the check first"},
    "select_model": {
        "resolution.resolver._import_steps": "imports it for _find_plan, which returns the check with the path",
        "resolution.resolver._find_plan": "returns the check with the path",
        "resolution.resolver._locate_to_publish": "runs the check",
        "integrations.serving.model_files.list_model_files": "of a location that locate_to_publish has checked",
        "resolution.resolver._find_cached_path": "runs the check if it is at resolve",
        "resolution.selection.select_path": "of cached_model_path",
        "inspection.reading._find_cached": "describes the model, and does not load it",
        "project.pins.fetch_and_hash": "fetches the model, and does not load it",
        "project.sync_models.check": "reports where the model is, and does not load it",
        "project.sync_models.fetch_pinned": "reports where the model is, and does not load it",
        "resolution.explain.explain": "reports where the model is, and what the check says of it; does not load it",
    },
    "select_path": {"resolution.resolver._find_cached_path": "runs the check if it is at resolve"},
    "_find_plan": {
        "resolution.resolver.resolve_plan": "runs the check if it is at resolve",
        "resolution.resolver._find": "returns the check with the path",
    },
    "_find": {
        "resolution.resolver._resolve_for_hub": "runs the check",
        "resolution.resolver.resolve_to_load": "returns the check to its caller",
    },
    "_locate": {
        "resolution.resolver._find_plan": "returns the check with the path",
        "resolution.resolver._locate_to_publish": "runs the check",
    },
    "locate_to_publish": {"integrations.serving.publishing._publish": "the location was checked"},
    "resolve_to_load": {
        "loading.loader.load": "load_resolved runs the check",
        "loading.loader.load_options": "runs the check",
        "cli.commands.load.command": "load_resolved runs the check",
        "hub.weights.load_saved_model_from_url": "load_resolved runs the check",
    },
    "PolicyError": {
        "resolution.operation_check._make_error": "the one place",
        "resolution.operation_check._make_unsearched_error": "the one place",
        "cli.exit_codes.<module>": "lists its exit code, and does not raise it",
        "resolution.explain.<module>": "names it as a type",
        "resolution.explain._find_refusal": "catches it from the check, to report it",
        "cli.commands.why._explain_missing_path": "describes it, and does not raise it",
    },
}
"""Functions, the only ones that may call them, and why."""

_OF_RESOLVER = ("_find", "_find_plan", "_locate")
"""Private names that other modules use for functions of their own."""

MUST_CHECK_BEFORE = {
    "loading.loader.load_resolved": "_load_path",
    "loading.loader.load_options": "_make_options",
    "resolution.resolver._resolve_for_hub": "Return",
    "resolution.resolver._locate_to_publish": "Return",
    "resolution.resolver.resolve_plan": "Return",
    "resolution.resolver._check_path": "Return",
}
"""Functions that run the check, and what they may do only afterwards."""

_LAST_NAMES = {name.rpartition(".")[2] for name in (*CALLERS, *MUST_CHECK_BEFORE.values(), "run")}


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Parse every module once, and return the syntax trees by their names below the package."""
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {module: ast.parse(path.read_text()) for module, path in paths.items()}


@dataclass(frozen=True, slots=True)
class Use:
    """Where a variable or attribute is read; ``function`` is the innermost around it, by its full name without the class."""

    function: str
    text: str
    line: int

    def is_of(self, name: str) -> bool:
        return f".{self.text}".endswith(f".{name}")


def list_uses(module: str, tree: ast.Module) -> Iterator[Use]:
    """Yield each use of a function that this file names: where it is called or passed on."""
    waiting: list[tuple[str, ast.AST]] = [(f"{module}.<module>", tree)]
    while waiting:
        function, node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = f"{module}.{node.name}"
        last = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if last in _LAST_NAMES and isinstance(node.ctx, ast.Load):
            yield Use(function, ast.unparse(node), node.lineno)
        waiting += ((function, child) for child in ast.iter_child_nodes(node))


def find_ways_around(trees: Trees) -> Iterator[str]:
    """Yield each use of a function of ``CALLERS`` by another one, and each function that acts before it checks."""
    for module, tree in trees.items():
        uses = [*list_uses(module, tree)]
        for name, allowed in CALLERS.items():
            for use in uses if name not in _OF_RESOLVER or module == "resolution.resolver" else ():
                if use.is_of(name) and use.function not in allowed:
                    yield f"{use.function}:{use.line} uses {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (full_name := f"{module}.{node.name}") in MUST_CHECK_BEFORE:
                yield from find_early_actions(node, full_name, [use for use in uses if use.function == full_name])


def find_early_actions(function: ast.FunctionDef, full_name: str, uses: list[Use]) -> Iterator[str]:
    """Yield what a function does before its check, though it may not."""
    action = MUST_CHECK_BEFORE[full_name]
    checks = [use.line for use in uses if use.is_of("run")]
    if action == "Return":
        acts = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Return)]
    else:
        acts = [use.line for use in uses if use.is_of(action)]
    if not checks or not acts or min(acts) < min(checks):
        yield f"{full_name} does not check before {action}"


def test_no_way_leads_around_the_check(trees: Trees) -> None:
    assert list(find_ways_around(trees)) == []


def test_every_exception_is_needed(trees: Trees) -> None:
    uses = [use for module, tree in trees.items() for use in list_uses(module, tree)]
    used = {(name, use.function) for name in CALLERS for use in uses if use.is_of(name)}
    assert {(name, caller) for name, callers in CALLERS.items() for caller in callers} - used == set()


VIOLATIONS = {
    "another load": ("hub.hubconf", "def f(tf, path):\n    return tf.saved_model.load(path)"),
    "a load by another name": ("hub.hubconf", "def f(tf, path):\n    load = tf.saved_model.load\n    return load(path)"),
    "a load that skips the check": (
        "cli.commands.load",
        "def f(tf, path):\n    return loader._load_path(tf, path, None, None)",
    ),
    "a path without the check": ("integrations.tensorflow_hub", "def f(found):\n    return select_model(found)"),
    "a check that is not run": ("cli.commands.verify", "def f(handle):\n    return resolve_to_load(handle).path"),
    "another error": ("loading.loader", "def f():\n    raise PolicyError('no')"),
    "a load before the check": (
        "loading.loader",
        "def load_resolved(tf, one):\n    model = _load_path(tf, one.path)\n    one.check.run(one.path)\n    return model",
    ),
    "no check for tensorflow_hub": ("resolution.resolver", "def resolve_for_hub(handle):\n    return _find(handle).path"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_way_around_is_found(name: str, trees: Trees) -> None:
    module, code = VIOLATIONS[name]
    assert list(find_ways_around({module: ast.parse(code)})) != []
