"""A new source, rule, tier or root is one file and one name in a list; handles are parsed where they enter the package."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin

PACKAGE = Path(tfimm_resolver.__file__).parent

SOURCE = """
    from tfimm_resolver.sources.plan import Fetch

    SCHEMES = ("shelf",)

    def plan(handle):
        def fill(into, fetcher):
            fetcher.archive(f"http://{handle.host}{handle.path}.tar.gz", into)

        return Fetch(handle.key, fill)
"""
RULE = """
    from dataclasses import replace

    from tfimm_resolver.handles.handle import Handle
    from tfimm_resolver.resolution.request import ResolvedPlan
    from tfimm_resolver.sources.plan import InPlace

    def match_shelf(request):
        if not request.handle.text.startswith("shelf:"):
            return None
        path = "{folder}/" + request.handle.text.removeprefix("shelf:")
        return ResolvedPlan("shelf", replace(request, handle=Handle.parse(path)), InPlace(path))
"""
TIER = """
    from tfimm_resolver.cache.tier import Tier

    def list_shelf():
        yield Tier("{folder}", is_read_only=True)
"""
ROOT = """
    import shutil
    from dataclasses import replace

    from tfimm_resolver.cache.local_root import LocalRoot

    class ShelfRoot(LocalRoot):
        def __init__(self, location, staging):
            super().__init__(location.removeprefix("shelf:/"))
            self._staging = staging

        def lock(self, name, what="", is_already_done=lambda: False):
            return self._staging.lock(name, what, is_already_done)

        def publish(self, staged, new, known):
            shutil.copytree(staged, self.path_of(new.tree))
            return new
"""


class Copy:
    """A copy of the package that a test may extend, and a home of its own for the processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        shutil.copytree(PACKAGE, folder / "tfimm_resolver", ignore=shutil.ignore_patterns("__pycache__"))
        self.home.mkdir()

    def add_file(self, name: str, text: str) -> None:
        """Add a file to the package."""
        path = self.folder / "tfimm_resolver" / name
        assert not path.exists()
        path.write_text(textwrap.dedent(text))

    def add_to_list(self, name: str, before: str, after: str) -> None:
        """Change one line of a module: the list that a new name belongs into, or its import."""
        path = self.folder / "tfimm_resolver" / name
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))

    def resolve(self, handle: str, **variables: str) -> str:
        """Return what a process with the extended package resolves a handle to."""
        code = f"import json, tfimm_resolver; print(json.dumps(tfimm_resolver.resolve({handle!r})))"
        env = {"PYTHONPATH": str(self.folder), "HOME": str(self.home), "TFHUB_CACHE_DIR": f"{self.home}/cache", **variables}
        job = subprocess.run([sys.executable, "-c", code], env=env, cwd=self.home, capture_output=True, text=True, check=False)
        assert job.returncode == 0, job.stderr
        path = json.loads(job.stdout)
        assert isinstance(path, str)
        return path


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy")


def put_model(folder: Path) -> Path:
    for name, data in MODEL.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_source_is_one_file_and_one_name_in_the_list(copy: Copy, origin: Origin) -> None:
    origin.put("/lion.tar.gz", tar_gz())
    copy.add_file("sources/shelf.py", SOURCE)
    copy.add_to_list("sources/registry.py", "local, tensorflow_files, tfhub,", "local, shelf, tensorflow_files, tfhub,")
    copy.add_to_list("sources/registry.py", "web_pages, web, tfhub)", "web_pages, web, tfhub, shelf)")
    assert files_in(copy.resolve(f"shelf://{origin.url.removeprefix('http://')}/lion")) == MODEL


def test_a_rule_is_one_file_and_one_name_in_the_list(copy: Copy, tmp_path: Path) -> None:
    model = put_model(tmp_path / "shelf" / "lion")
    copy.add_file("resolution/shelf.py", RULE.replace("{folder}", str(tmp_path / "shelf")))
    copy.add_to_list("resolution/rules.py", "import named_models, overrides\n", "import named_models, overrides, shelf\n")
    copy.add_to_list(
        "resolution/rules.py",
        '    "override": match_override,\n',
        '    "shelf": shelf.match_shelf, "override": match_override,\n',
    )
    assert copy.resolve("shelf:lion") == str(model)


def test_a_tier_is_one_file_and_one_name_in_the_list(copy: Copy, origin: Origin, tmp_path: Path) -> None:
    shelf, url = tmp_path / "shelf", origin.put("/lion.tar.gz", tar_gz())
    copy.resolve(url, TFHUB_CACHE_DIR=str(shelf))
    fetched = len(origin.requests)
    copy.add_file("cache/shelf.py", TIER.replace("{folder}", str(shelf)))
    copy.add_to_list("cache/tiers.py", "[_list_extra_roots, ", "[list_shelf, _list_extra_roots, ")
    copy.add_to_list(
        "cache/tiers.py",
        "from tfimm_resolver.cache.tier import",
        "from tfimm_resolver.cache.shelf import list_shelf\nfrom tfimm_resolver.cache.tier import",
    )
    path = copy.resolve(url)
    assert path.startswith(f"{shelf}/") and files_in(path) == MODEL and len(origin.requests) == fetched


def test_a_root_is_one_file_and_one_name_in_the_list(copy: Copy, origin: Origin, tmp_path: Path) -> None:
    shelf, url = tmp_path / "shelf", origin.put("/lion.tar.gz", tar_gz())
    shelf.mkdir()
    copy.add_file("cache/shelf_root.py", ROOT)
    entry = '"shelf": ("tfimm_resolver.cache.shelf_root:ShelfRoot", "json"), '
    copy.add_to_list("cache/roots.py", '= {"gs": _IN_BUCKET', f'= {{{entry}"gs": _IN_BUCKET')
    path = copy.resolve(url, TFHUB_CACHE_DIR=f"shelf:/{shelf}")
    (entry_dir,) = [entry for entry in shelf.iterdir() if entry.is_dir() and not entry.name.endswith(".parts")]
    assert files_in(path) == files_in(entry_dir) == MODEL and not path.startswith(f"{shelf}/")


DOORS = {
    "bundles/bundled_record.py": "the names in a bundle",
    "bundles/reader.py": "the caller's file name and pin",
    "bundles/writer.py": "the caller's handle, and the handles in records",
    "handles/handle.py": "get_key, for text that may not be a handle",
    "hub/downloads.py": "the caller's URL",
    "hub/refs.py": "the caller's repository",
    "hub/repository.py": "the caller's repository",
    "integrations/tensorflow_hub.py": "tensorflow_hub's argument",
    "maintenance/foreign_caches.py": "the names in other tools' caches",
    "maintenance/inventory.py": "the names that users type",
    "maintenance/naming.py": "the handles in records",
    "maintenance/sbom.py": "the handles in records",
    "models_file/schema.py": "the handles in a models file",
    "project/add_model.py": "the caller's handle and mirrors",
    "resolution/cached_names.py": "the handles in records",
    "resolution/mutable_refs.py": "the alias that a cache has stored",
    "resolution/operation_check.py": "the handles in records",
    "resolution/overrides.py": "the name in set_model_cache",
    "resolution/request.py": "the caller's handle",
    "resolution/resolver.py": "the URL of weights that the hub loads",
    "resolution/rules.py": "what a source's MutableRef returned, and the path in set_model_cache",
    "resolution/signatures.py": "the handles in records, paths in set_model_cache, and where a signature is",
    "sources/kaggle.py": "the handles in records",
}
"""The modules in which texts become handles, and where these texts enter the package."""


def list_parse_calls(text: str) -> list[int]:
    """Return the lines of a module that call ``Handle.parse``."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr == "parse" and ast.unparse(node.value) in ("Handle", "handle.Handle")
    ]


def test_handles_are_parsed_only_where_texts_enter_the_package() -> None:
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if list_parse_calls(path.read_text())}
    assert found == {*DOORS}


def test_a_call_behind_the_door_is_noticed() -> None:
    assert list_parse_calls("def f(text):\n    return Handle.parse(text)\n") == [2]
    assert list_parse_calls("parse = Handle.parse\n") == [1]
    assert list_parse_calls("def f(request):\n    return request.handle, json.parse('')\n") == []
