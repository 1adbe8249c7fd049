"""Layers of the package, its imports of TensorFlow, sizes, docstrings, and a light start."""

from __future__ import annotations

import ast
import builtins
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.light_start import HEAVY
from tests.fakes.origin import Origin
from tests.fakes.processes import run

pytestmark = pytest.mark.xdist_group("architecture")  # so that the package is parsed once
PACKAGE = Path(tfimm_resolver.__file__).parent

LAYERS = (
    {"_util"},
    {"errors", "manifest"},
    {"archives", "handles", "progress", "saved_model", "settings"},
    {"http", "locking", "object_store", "trust"},
    {"cache", "models_file", "sources", "transfer"},
    {"resolution"},
    {"inspection", "loading", "maintenance"},
    {"bundles", "hub", "integrations", "project"},
    {"cli", "__init__"},
)
"""The units at the top of the package, lowest layer first. An import goes to a lower layer, or stays inside its unit."""

FORWARDERS = {"bundle", "handle", "plan", "unbundle"}
"""Modules of earlier versions: each only warns and forwards."""

LAYER_OF = {unit: number for number, units in enumerate(LAYERS, 1) for unit in units}
UNITS_MAX, LAYERS_MAX = 26, 9
IMPORT_TENSORFLOW = {
    "cli.demo",
    "hub.hubconf",
    "hub.weights",
    "integrations.tensorflow_hub",
    "loading.loaded_model",
    "loading.loader",
    "loading.remote",
}
TRANSLATE_OS_ERRORS = {
    "_util.fs": "an fsync that failed, as an OSError with the path",
    "_util.rename_check": "a rename that the file system does not support, as an OSError of its own for map_os_errors",
    "errors.os_errors": "the one place",
    "http.errors": "errors of the network, which requests derives from OSError",
    "settings.ownership": "a file that is not trusted, as an OSError of its own for the built-in open",
    "hub.hubconf": "any reason why a file of code cannot be compiled",
}
"""Modules that may turn an OSError into another error themselves, and why."""
REQUEST_LIBRARIES = (
    *("requests", "urllib3", "urllib.request", "http.client", "httpx", "aiohttp", "ftplib", "pycurl"),
    *("socket.create_connection", "google.auth", "huggingface_hub", "obstore", "botocore"),
)
HARMLESS_NAMES = {"urllib.request.getproxies", "urllib.request.proxy_bypass"}
"""Names of those libraries that only read the environment."""

SEND_REQUESTS = {
    "object_store.credentials": {"google.auth", "obstore", "botocore", "http.client"},
    "object_store.google_credentials": {"google.auth"},
    "object_store.network": {"google.auth", "urllib3"},
    "sources.hugging_face": {"huggingface_hub"},
    "sources.hugging_face_errors": {"huggingface_hub"},
    "sources.hugging_face_repository": {"huggingface_hub"},
}
"""Modules outside ``http`` that use a library which sends requests: those of stores with protocols of their own."""

FUNCTION_LINES_MAX, FILE_LINES_MAX = 50, 300


@dataclass(frozen=True)
class Import:
    """One import: the importing module, what it imports, and whether it runs when that module is imported."""

    module: str
    imported: str
    line: int
    is_at_import: bool
    is_for_types: bool


Trees = dict[str, ast.Module]
Imports = dict[str, list[Import]]


def unit_of(module: str) -> str:
    """Return the file or folder of a module at the top of the package; ``__main__`` belongs to the command line."""
    return "cli" if module == "__main__" else module.partition(".")[0]


def find_imports(module: str, tree: ast.Module) -> list[Import]:
    """Return every import of a module, including those in functions and for type checkers."""

    def walk(node: ast.AST, is_at_import: bool, is_for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                names = [f"{child.module}.{alias.name}" for alias in child.names]
            for name in names:
                yield Import(module, name, child.lineno, is_at_import and not is_for_types, is_for_types)
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            is_typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from walk(child, is_at_import and not is_function, is_for_types or is_typing)

    return list(walk(tree, True, False))


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Parse every module once, and return the syntax trees by their names below the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name] = ast.parse(path.read_text())
    return found


@pytest.fixture(scope="module")
def imports(trees: Trees) -> Imports:
    """Return the imports of every module."""
    return {module: find_imports(module, tree) for module, tree in trees.items()}


def find_arrows(imports: Imports) -> Iterator[tuple[str, str, Import]]:
    """Yield every import of one unit by another: the importing unit, the imported one, and the import."""
    for module, found in imports.items():
        for one in found:
            top, _, rest = one.imported.partition(".")
            other = unit_of(rest)
            if top != "tfimm_resolver" or other == unit_of(module):
                continue
            if other in LAYER_OF or other in FORWARDERS:
                yield unit_of(module), other, one
            elif unit_of(module) != "__init__" and not one.imported.startswith("tfimm_resolver.__"):
                yield unit_of(module), "__init__", one  # a public name, which is defined at the top


def find_upward_imports(imports: Imports) -> list[str]:
    """Return imports of a unit in the same or a higher layer."""
    return sorted(
        f"{one.module}:{one.line} imports {other}"
        for unit, other, one in find_arrows(imports)
        if unit not in FORWARDERS
        and LAYER_OF.get(other, len(LAYERS) + 1) >= LAYER_OF[unit]
        and not (one.is_for_types and (unit, other in FORWARDERS) == ("__init__", True))  # for freezers
    )


def find_cycles(imports: Imports) -> list[str]:
    """Return a cycle of modules that import each other when they are imported."""
    graph: dict[str, set[str]] = {module: set() for module in imports}
    for module, found in imports.items():
        for one in found:
            if one.is_at_import and one.imported.startswith("tfimm_resolver."):
                name = one.imported.removeprefix("tfimm_resolver.")
                graph[module] |= {other for other in (name, name.rpartition(".")[0]) if other in imports and other != module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def find_unlisted_units(imports: Imports) -> list[str]:
    """Return units that are missing in the table of layers, and entries of the table that do not exist."""
    units = {unit_of(module) for module in imports} - FORWARDERS
    return sorted(units ^ set(LAYER_OF))


def find_os_error_translations(trees: Trees) -> list[str]:
    """Return handlers of OSError that raise an error of this package themselves, instead of using ``map_os_errors``."""
    found = []
    for module, tree in trees.items():
        for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is not None):
            kinds = {node.id for node in ast.walk(handler.type or handler) if isinstance(node, ast.Name)}
            raised = [node.exc for node in ast.walk(handler) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
            called = {ast.unparse(call.func).rpartition(".")[2] for call in raised if isinstance(call, ast.Call)}
            is_translated = any(not hasattr(builtins, name) for name in called)
            if kinds & {"OSError", "IOError", "EnvironmentError"} and is_translated and module not in TRANSLATE_OS_ERRORS:
                found.append(f"{module}:{handler.lineno}")
    return found


def find_tensorflow_imports(imports: Imports) -> list[str]:
    """Return imports of TensorFlow in modules that may not import it, or that run when a module is imported."""
    return sorted(
        f"{module}:{one.line}"
        for module, found in imports.items()
        for one in found
        if one.imported.partition(".")[0] in ("tensorflow", "tensorflow_hub", "tf_keras", "keras")
        and (module not in IMPORT_TENSORFLOW or one.is_at_import)
    )


def find_request_imports(imports: Imports) -> list[str]:
    """Return imports of libraries that send requests, outside ``http`` and the named exceptions."""
    found = []
    for module, ones in imports.items():
        for one in ones:
            library = next((name for name in REQUEST_LIBRARIES if f"{one.imported}.".startswith(f"{name}.")), None)
            harmless = one.imported in HARMLESS_NAMES
            if library and not harmless and unit_of(module) != "http" and library not in SEND_REQUESTS.get(module, {}):
                found.append(f"{module}:{one.line} imports {one.imported}")
    return sorted(found)


RULES = {
    "only http sends requests": find_request_imports,
    "imports go to lower layers": find_upward_imports,
    "no import cycle": find_cycles,
    "each unit has a layer": find_unlisted_units,
    "TensorFlow is imported late, and in few modules": find_tensorflow_imports,
}
BREACHES = {
    "only http sends requests": [
        ("sources.github", "import requests"),
        ("hub.downloads", "def f():\n    from urllib.request import urlopen"),
        ("project.pins", "import urllib.request"),
        ("settings.network", "from urllib import request"),
        ("transfer.download", "import urllib3"),
        ("maintenance.inventory", "from http import client"),
        ("object_store.client", "import http.client"),
        ("sources.kaggle", "import httpx"),
        ("cache.cache", "import socket\nsocket.create_connection(('h', 1))\nfrom socket import create_connection"),
    ],
    "imports go to lower layers": [
        ("errors", "from tfimm_resolver.cli import main"),
        ("cache.record", "from tfimm_resolver.sources import plan"),
        ("sources.plan", "def f():\n    from tfimm_resolver.transfer.downloader import Downloader"),
        ("handles.handle", "if TYPE_CHECKING:\n    from tfimm_resolver.settings import paths"),
        ("cache.record", "from tfimm_resolver import resolve"),
    ],
    "no import cycle": [("archives.tar_reader", "from tfimm_resolver.archives import unpacking")],
    "each unit has a layer": [("new_unit", "")],
    "TensorFlow is imported late, and in few modules": [
        ("cache.cache", "def f():\n    import tensorflow"),
        ("loading.loader", "import tensorflow"),
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds(rule: str, imports: Imports) -> None:
    assert RULES[rule](imports) == []


@pytest.mark.parametrize(("rule", "module", "code"), [(rule, *breach) for rule in RULES for breach in BREACHES[rule]])
def test_rule_notices_a_breach(rule: str, module: str, code: str, imports: Imports) -> None:
    assert RULES[rule]({**imports, module: find_imports(module, ast.parse(code))}) != []


def test_only_one_function_translates_os_errors(trees: Trees) -> None:
    assert find_os_error_translations(trees) == []
    assert TRANSLATE_OS_ERRORS.keys() <= trees.keys()


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    f()\nexcept OSError as error:\n    raise CacheError('no') from error",
        "try:\n    f()\nexcept (ValueError, OSError):\n    if True:\n        raise errors.FetchError('no')",
        "try:\n    f()\nexcept OSError as error:\n    raise self._make_error(error) from error",
        "try:\n    f()\nexcept OSError as error:\n    kind = g(error)\n    raise kind('no') from error",
    ],
)
def test_another_translation_of_os_errors_is_noticed(code: str, trees: Trees) -> None:
    assert find_os_error_translations({**trees, "cache.cache": ast.parse(code)}) != []


def test_the_top_of_the_package_is_small() -> None:
    assert len(LAYER_OF) <= UNITS_MAX and len(LAYERS) <= LAYERS_MAX


def test_functions_and_files_are_short_and_modules_have_docstrings(trees: Trees) -> None:
    for module, tree in trees.items():
        assert ast.get_docstring(tree), f"{module} has no docstring"
        lines = (tree.body[-1].end_lineno or 0) if tree.body else 0
        assert lines <= FILE_LINES_MAX, f"{module} has {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{module}.{node.name} is long"


def test_each_package_lists_its_public_names(trees: Trees) -> None:
    for module, tree in trees.items():
        if module.endswith(".__init__"):
            assigned = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
            assert any("__all__" in ast.unparse(node).partition("=")[0] for node in assigned), f"{module} has no __all__"


def test_neither_the_import_nor_a_hit_loads_tensorflow_or_the_network(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    tfimm_resolver.resolve(handle)
    code = "import sys, tfimm_resolver; {}; print(*sys.modules)"
    for action in ("pass", f"tfimm_resolver.resolve({handle!r})"):
        loaded = set(run(code.format(action)).split())
        assert loaded.isdisjoint(HEAVY), (action, loaded & HEAVY)
    code = "import sys; from tfimm_resolver.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    loaded = set(run(code, "resolve", handle).split())
    assert loaded.isdisjoint(HEAVY - {"click", "socket"}), loaded & HEAVY
    assert len(origin.requests) == 1
