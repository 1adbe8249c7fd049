"""The shape of the package, held as tests: floors, doors to TensorFlow, sizes, docstrings, and a light start."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfimm_resolver
from tests.origin import Origin
from tests.processes import run

HOUSE = Path(tfimm_resolver.__file__).parent
FLOORS = (
    {"ahead", "errors", "progress", "importing"},
    {"access", "checksums", "digests", "flags", "git_names", "git_refs", "kaggle_access"}
    | {"member_names", "ownership", "parts", "spellings", "tar", "together"},
    {"roots", "locks", "lock_file", "claims", "holder", "disk", "models_file", "models_toml"}
    | {"objects", "bucket_access", "record", "handle", "settings", "placement"}
    | {"hosts", "mirrors"},
    {"archive", "body", "target", "unzip", "request", "partial_content", "tries", "remote"}
    | {"models_edit", "hugging_face_errors"},
    {"cache", "plan", "transfer", "streams", "download", "ranges", "hugging_face_files"},
    {"sources", "names", "plugins"},
    {"lookup"},
    {"latest"},
    {"resolver"},
    {"loading", "adapters", "listing", "pins", "reasons", "hub"},
    {"demo", "screen", "bundle", "unbundle"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}
DOORS_TO_TENSORFLOW = {"loading", "placement", "remote", "adapters", "demo", "hub"}
FUNCTION_LINES, FILE_LINES = 50, 300
HEAVY = (
    "tensorflow",
    "numpy",
    "absl",
    "requests",
    "urllib3",
    "ssl",
    "rich",
    "click",
    "filelock",
    "isal",
    "zipfile",
    "socket",
    "tomllib",
    "tomlkit",
    "huggingface_hub",
    "obstore",
    "botocore",
    "h5py",
)

Import = tuple[str, str, str, ast.stmt]


def files() -> dict[str, Path]:
    """Every module of the package by its dotted name below it."""
    return {".".join(path.relative_to(HOUSE).with_suffix("").parts): path for path in sorted(HOUSE.rglob("*.py"))}


def room(module: str) -> str:
    """The file, or folder, at the top of the package that a module belongs to."""
    return module.split(".", maxsplit=1)[0]


def imports(trees: dict[str, ast.Module]) -> Iterator[Import]:
    """Who imports what of the package or of TensorFlow: module, imported name, its first part, the statement."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield module, name.name, name.name.split(".")[0], node
            elif isinstance(node, ast.ImportFrom) and node.module == "tfimm_resolver":
                for name in node.names:
                    yield module, f"tfimm_resolver.{name.name}", "tfimm_resolver", node
            elif isinstance(node, ast.ImportFrom):
                yield module, node.module or "", (node.module or "").split(".")[0], node


def parsed() -> dict[str, ast.Module]:
    """The syntax tree of every module."""
    return {module: ast.parse(path.read_text()) for module, path in files().items()}


def edges(trees: dict[str, ast.Module]) -> set[tuple[str, str]]:
    """Which room imports which other one, type-only imports included."""
    found = set()
    for module, imported, top, _ in imports(trees):
        if top == "tfimm_resolver" and imported != top and room(imported.split(".", 1)[1]) != room(module):
            found.add((room(module), room(imported.split(".", 1)[1])))
    return found


def upward(trees: dict[str, ast.Module]) -> list[str]:
    """Imports that run to a higher floor."""
    return sorted(f"{a} imports {b}" for a, b in edges(trees) if FLOOR[a] < FLOOR[b])


def circles(trees: dict[str, ast.Module]) -> list[str]:
    """Rooms that reach themselves."""
    reach = {a: {b for x, b in edges(trees) if x == a} for a in FLOOR}
    for _ in FLOOR:
        reach = {a: set.union(direct, *(reach[b] for b in direct)) for a, direct in reach.items()}
    return sorted(a for a, reached in reach.items() if a in reached)


def wrong_doors(trees: dict[str, ast.Module]) -> list[str]:
    """Imports of TensorFlow elsewhere than in its doors, or at the top of a module."""
    wrong = []
    for module, _, top, node in imports(trees):
        if top in ("tensorflow", "tensorflow_hub", "tf_keras", "keras"):
            is_late = any(
                node in ast.walk(part) for part in ast.walk(trees[module]) if isinstance(part, (ast.FunctionDef, ast.If))
            )
            if room(module) not in DOORS_TO_TENSORFLOW or not is_late:
                wrong.append(f"{module}:{node.lineno}")
    return wrong


def forbidden(trees: dict[str, ast.Module]) -> list[str]:
    """Pairs that may never know each other."""
    never = {("cache", "sources"), ("sources", "cache"), ("transfer", "cache"), ("sources", "roots")}
    return sorted(f"{a} knows {b}" for a, b in edges(trees) & never)


RULES = {
    "no import runs upwards": upward,
    "there is no circle": circles,
    "TensorFlow has its doors": wrong_doors,
    "strangers": forbidden,
}
BREAKS = {
    "no import runs upwards": ("errors", "from tfimm_resolver.cli import main"),
    "there is no circle": ("tar", "from tfimm_resolver import archive"),
    "TensorFlow has its doors": ("cache", "import tensorflow"),
    "strangers": ("transfer", "from tfimm_resolver.cache import Cache"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rules(rule: str) -> None:
    assert RULES[rule](parsed()) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_sees_a_break(rule: str) -> None:
    module, line = BREAKS[rule]
    trees = parsed()
    trees[module] = ast.parse(line)
    assert RULES[rule](trees) != []


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in files()} == set(FLOOR)


def test_functions_and_files_are_short_and_say_what_they_are_for() -> None:
    for module, tree in parsed().items():
        text = files()[module].read_text()
        assert ast.get_docstring(tree), f"{module} has no docstring"
        assert len(text.splitlines()) <= FILE_LINES, f"{module} is long"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, f"{module}.{node.name} is long"


def test_the_public_face_is_sorted_and_documented() -> None:
    assert tfimm_resolver.__all__ == sorted(tfimm_resolver.__all__)
    for name in tfimm_resolver.__all__:
        assert getattr(tfimm_resolver, name).__doc__, name
    assert tfimm_resolver.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tfimm_resolver.nonsense


def test_neither_the_import_nor_a_hit_loads_tensorflow_or_the_network(origin: Origin) -> None:
    from tests.archives import tar_gz

    handle = origin.put("/m.tar.gz", tar_gz())
    tfimm_resolver.resolve(handle)
    code = "import sys, tfimm_resolver; {}; print(*sys.modules)"
    for deed in ("pass", f"tfimm_resolver.resolve({handle!r})"):
        loaded = set(run(code.format(deed)).split())
        assert loaded.isdisjoint(HEAVY), (deed, loaded.intersection(HEAVY))
    code = "import sys; from tfimm_resolver.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    loaded = set(run(code, "resolve", handle).split())
    assert loaded.isdisjoint({*HEAVY} - {"click", "socket"}), loaded.intersection(HEAVY)
    assert len(origin.asked) == 1
