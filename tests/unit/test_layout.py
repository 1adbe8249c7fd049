"""Where tests are: each module of the package is tested in a file that its name predicts, and no test imports another."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
KINDS = ("unit", "integration", "process", "tensorflow", "engines")

_TEST_MODULE = re.compile(r"tests\.(.*\.)?test_")

TESTED_IN = {
    "__main__": "integration/cli/test_app.py",
    "bundle": "integration/test_public_api.py",
    "cache.contents": "integration/maintenance/test_usage.py",
    "cache.tier": "integration/test_extending.py",
    "cli.commands.add": "integration/cli/test_pin_commands.py",
    "cli.commands.adopt": "integration/maintenance/test_adoption.py",
    "cli.commands.completion": "integration/cli/test_completion.py",
    "cli.commands.demo": "tensorflow/cli/test_demo.py",
    "cli.commands.du": "integration/maintenance/test_usage.py",
    "cli.commands.fetch": "integration/integrations/serving/test_publishing.py",
    "cli.commands.doctor": "integration/cli/diagnosis/test_report.py",
    "cli.commands.env": "integration/cli/diagnosis/test_report.py",
    "cli.commands.explain": "integration/cli/test_exit_codes.py",
    "cli.commands.export": "integration/bundles/test_writer.py",
    "cli.commands.hub": "integration/hub/test_command.py",
    "cli.commands.import_": "integration/bundles/test_reader.py",
    "cli.commands.inspect": "integration/cli/test_inspect.py",
    "cli.commands.keep": "integration/maintenance/test_pruning.py",
    "cli.commands.load": "integration/cli/test_app.py",
    "cli.commands.lock": "integration/cli/test_pin_commands.py",
    "cli.commands.ls": "integration/cli/test_app.py",
    "cli.commands.path": "integration/cli/test_app.py",
    "cli.commands.prune": "integration/maintenance/test_pruning.py",
    "cli.commands.resolve": "integration/cli/test_app.py",
    "cli.commands.rm": "integration/cli/test_app.py",
    "cli.commands.run": "process/cli/test_run.py",
    "cli.commands.sbom": "integration/maintenance/test_sbom.py",
    "cli.commands.sign": "integration/maintenance/test_signing.py",
    "cli.commands.sync": "integration/cli/test_pin_commands.py",
    "cli.commands.unkeep": "integration/maintenance/test_pruning.py",
    "cli.commands.verify": "integration/cli/test_app.py",
    "cli.commands.why": "integration/cli/test_pin_commands.py",
    "cli.diagnosis.codes": "unit/cli/test_explanations.py",
    "cli.diagnosis.disk": "integration/cli/diagnosis/test_roots.py",
    "cli.diagnosis.findings": "integration/cli/diagnosis/test_report.py",
    "cli.startup.sitecustomize": "process/cli/test_run.py",
    "integrations.serving.outcome": "integration/integrations/serving/test_publishing.py",
    "handle": "integration/test_public_api.py",
    "integrations.ray_seed": "engines/integrations/test_ray.py",
    "inspection.report": "unit/inspection/test_summary.py",
    "locking.stale_locks": "integration/cli/diagnosis/test_roots.py",
    "maintenance.foreign_caches": "integration/maintenance/test_adoption.py",
    "maintenance.foreign_files": "integration/maintenance/test_adoption.py",
    "maintenance.views": "integration/maintenance/test_cached_models.py",
    "maintenance.cache_item": "integration/maintenance/test_usage.py",
    "maintenance.cached_model": "unit/maintenance/test_filters.py",
    "plan": "integration/test_public_api.py",
    "saved_model.entry_points": "unit/saved_model/test_operations.py",
    "saved_model.graph_index": "unit/saved_model/test_operations.py",
    "saved_model.keras_layers": "unit/saved_model/test_operations.py",
    "saved_model.path_tracing": "unit/saved_model/test_operations.py",
    "unbundle": "integration/test_public_api.py",
}
"""Modules whose tests are in a file of another name, relative to tests/."""


def list_modules(repository: Path) -> list[str]:
    """Return the modules of the package by their dotted names below it; an ``__init__`` only gathers names of others."""
    package = repository / "tfimm_resolver"
    paths = (path.relative_to(package) for path in package.rglob("*.py"))
    return sorted(".".join(path.with_suffix("").parts) for path in paths if path.name != "__init__.py")


def list_tests(repository: Path) -> list[Path]:
    """Return all test modules."""
    return sorted((repository / "tests").rglob("test_*.py"))


def find_predicted(repository: Path, modules: list[str]) -> set[str]:
    """Return the modules with a file test_MODULE.py or test_MODULE_*.py in their folder; the longest MODULE is meant."""
    found = set()
    for path in list_tests(repository):
        kind, *folders = path.relative_to(repository / "tests").parent.parts or ("",)
        names = [
            module
            for module in modules
            if module.split(".")[:-1] == folders
            and f"{path.stem}_".startswith(f"test_{module.rpartition('.')[2].strip('_')}_")
        ]
        if kind in KINDS and names:
            found.add(max(names, key=len))
    return found


def find_untested(repository: Path, tested_in: Mapping[str, str] = TESTED_IN) -> Iterator[str]:
    """Yield each module without a predicted test file that no table lists, and each wrong or needless entry of a table."""
    modules = list_modules(repository)
    predicted = find_predicted(repository, modules)
    yield from (f"{one} has no tests" for one in modules if one not in predicted and one not in tested_in)
    for module, test in tested_in.items():
        path = repository / "tests" / test
        if module not in modules or module in predicted:
            yield f"the entry of {module} is not needed"
        elif not path.is_file() or not names_module(path.read_text(), module):
            yield f"{test} does not exist or does not name {module}"


def names_module(text: str, module: str) -> bool:
    """Whether a test imports a module, or names it in full, or runs it: a command by its name, __main__ by ``-m``."""
    package, _, name = f"tfimm_resolver.{module}".rpartition(".")
    forms = [rf"\b{re.escape(package)}\.{name}\b", rf"from {re.escape(package)} import [^\n]*\b{name}\b"]
    if name == "__main__":
        forms.append(r"""-m["']?,? ["']?tfimm_resolver\b""")
    if module.startswith("cli.commands."):
        forms.append(rf'"{name.strip("_")}\b')
    return any(re.search(form, text) for form in forms)


def find_imports_of_tests(repository: Path) -> Iterator[str]:
    """Yield each import of a test module by another one."""
    for path in list_tests(repository):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{'tests.' * bool(node.level)}{node.module or ''}.{one.name}" for one in node.names]
            yield from (f"{path.relative_to(repository)} imports {name}" for name in names if _TEST_MODULE.match(name))


def list_distributions(repository: Path, *extras: str) -> set[str]:
    """Return the distributions that the extras of setup.cfg name, and those that every installation has."""
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg")
    texts = [config["options"].get("install_requires", ""), *(config["options.extras_require"][one] for one in extras)]
    return {canonicalize_name(Requirement(line).name) for text in texts for line in text.strip().splitlines()}


def list_imports(path: Path) -> Iterator[str]:
    """Yield each name that a file imports when it is imported, and not only when a function of it is called."""
    nodes: list[ast.AST] = [ast.parse(path.read_bytes())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            under_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            nodes.extend(node.orelse if under_types else ast.iter_child_nodes(node))  # type: ignore[attr-defined]


def find_imports_beyond(repository: Path, kind: str, missing: set[str]) -> Iterator[str]:
    """Yield each import of a missing distribution by a test of this kind, or by a module of tests that it imports."""
    of_module = packages_distributions()
    files, seen = [*(repository / "tests" / kind).rglob("*.py")], set[Path]()
    while files:
        path = files.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in list_imports(path):
            if name.startswith("tests."):
                bases = (repository / name.replace(".", "/"), repository / name.rpartition(".")[0].replace(".", "/"))
                candidates = [one for base in bases for one in (base.with_suffix(".py"), base / "__init__.py")]
                files += [one for one in candidates if one.is_file()]
            elif missing.intersection(map(canonicalize_name, of_module.get(name.partition(".")[0], ()))):
                yield f"{path.relative_to(repository)} imports {name}"


def find_misplaced(repository: Path) -> list[str]:
    """Return the test modules that lie in no folder of their kind."""
    tests = repository / "tests"
    parts = {path: path.relative_to(tests).parts for path in list_tests(repository)}
    return [str(path.relative_to(repository)) for path, names in parts.items() if len(names) < 2 or names[0] not in KINDS]


def test_no_test_imports_another() -> None:
    assert list(find_imports_of_tests(REPOSITORY)) == []


def test_unit_tests_import_only_what_their_extra_installs() -> None:
    others = list_distributions(REPOSITORY, "beam", "ray", "tensorflow", "gs", "s3", "test-integration", "test")
    missing = others - list_distributions(REPOSITORY, "test-unit", "hf")
    assert {"h5py", "tensorflow"} < missing
    assert list(find_imports_beyond(REPOSITORY, "unit", missing)) == []


def test_every_module_is_tested_where_its_name_predicts() -> None:
    assert list(find_untested(REPOSITORY)) == []


def test_every_test_is_in_a_folder_of_its_kind() -> None:
    assert find_misplaced(REPOSITORY) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of three modules, of which ``zoo.cat`` is not tested where its name predicts."""
    for name in ("zoo/cat.py", "zoo/cat_food.py", "zoo/dog_.py", "zoo/__init__.py"):
        write(tmp_path / "tfimm_resolver" / name)
    for name in ("unit/zoo/test_cat_food.py", "process/zoo/test_dog_barks.py"):
        write(tmp_path / "tests" / name)
    write(tmp_path / "tests/unit/test_all.py", "from tfimm_resolver.zoo import cat_food, cat\n")
    return tmp_path


def write(path: Path, text: str = "") -> None:
    """Write a file, and create its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_module_without_tests_is_noticed(project: Path) -> None:
    assert list(find_untested(project, {})) == ["zoo.cat has no tests"]
    assert list(find_untested(project, {"zoo.cat": "unit/test_all.py"})) == []


@pytest.mark.parametrize("test", ["unit/test_none.py", "unit/zoo/test_cat_food.py"])
def test_an_entry_whose_file_does_not_test_the_module_is_noticed(test: str, project: Path) -> None:
    assert list(find_untested(project, {"zoo.cat": test})) == [f"{test} does not exist or does not name zoo.cat"]


@pytest.mark.parametrize("module", ["zoo.cat", "zoo.gone"])
def test_an_entry_that_is_not_needed_is_noticed(module: str, project: Path) -> None:
    write(project / "tests/integration/zoo/test_cat.py")
    fault = [f"the entry of {module} is not needed"]
    assert list(find_untested(project, {module: "unit/test_all.py"})) == fault


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.unit.test_all import x",
        "from tests.unit import test_all",
        "import tests.unit.test_all",
        "from ..test_all import x",
    ],
)
def test_an_import_of_a_test_is_noticed(statement: str, project: Path) -> None:
    assert list(find_imports_of_tests(project)) == []
    write(project / "tests/unit/zoo/test_cat.py", f"def f():\n    {statement}\n")
    (fault,) = find_imports_of_tests(project)
    assert fault.startswith("tests/unit/zoo/test_cat.py imports tests.") and "test_all" in fault


def test_an_import_of_a_missing_distribution_is_noticed_through_other_modules(project: Path) -> None:
    write(project / "tests/unit/test_some.py", "from tests.fakes.some import make\n")
    unseen = "if TYPE_CHECKING:\n    import pytest\n\n\ndef make():\n    import pytest\n\n\n"
    write(project / "tests/fakes/some.py", unseen + "try:\n    import pytest.x\nexcept ImportError:\n    pass\n")
    assert list(find_imports_beyond(project, "unit", {"pytest"})) == ["tests/fakes/some.py imports pytest.x"]
    assert list(find_imports_beyond(project, "unit", {"numpy"})) == []


@pytest.mark.parametrize("name", ["test_cat.py", "fakes/test_cat.py"])
def test_a_misplaced_test_is_noticed(name: str, project: Path) -> None:
    assert find_misplaced(project) == []
    write(project / "tests" / name)
    assert find_misplaced(project) == [f"tests/{name}"]
