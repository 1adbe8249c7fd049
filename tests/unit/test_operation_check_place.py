"""No way leads around the check of a model's operations: looks in the syntax trees of the package for one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Parse every module once, and return the syntax trees by their names below the package."""
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {module: ast.parse(path.read_text()) for module, path in paths.items()}


def list_functions(module: str, tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield each function of a module by its full name, without the class, and the module itself without a name."""
    yield f"{module}.<module>", tree
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{module}.{node.name}", node


def find_uses(function: ast.AST, name: str) -> list[ast.expr]:
    """Return where a function is called or passed on, not in functions inside of another."""
    found: list[ast.expr] = []
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        last = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        text = ast.unparse(node) if last == name.rpartition(".")[2] else ""
        if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None), ast.Load) and f".{text}".endswith(f".{name}"):
            found.append(node)
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def find_ways_around(trees: Trees) -> Iterator[str]:
    """Yield each use of a function of ``CALLERS`` by another one, and each function that acts before it checks."""
    for module, tree in trees.items():
        for full_name, function in list_functions(module, tree):
            for name, allowed in CALLERS.items():
                for use in find_uses(function, name):
                    if full_name not in allowed and not (name in _OF_RESOLVER and module != "resolution.resolver"):
                        yield f"{full_name}:{use.lineno} uses {name}"
            if full_name in MUST_CHECK_BEFORE:
                yield from find_early_actions(full_name, function)


def find_early_actions(full_name: str, function: ast.AST) -> Iterator[str]:
    """Yield what a function does before its check, though it may not."""
    action = MUST_CHECK_BEFORE[full_name]
    checks = [node.lineno for node in find_uses(function, "check.run") + find_uses(function, "run")]
    if action == "Return":
        acts = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Return)]
    else:
        acts = [node.lineno for node in find_uses(function, action)]
    if not checks or not acts or min(acts) < min(checks):
        yield f"{full_name} does not check before {action}"


def test_no_way_leads_around_the_check(trees: Trees) -> None:
    assert list(find_ways_around(trees)) == []


def test_every_exception_is_needed(trees: Trees) -> None:
    used = {
        (name, full_name)
        for module, tree in trees.items()
        for full_name, function in list_functions(module, tree)
        for name in CALLERS
        if find_uses(function, name)
    }
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
