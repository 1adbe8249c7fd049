"""Never worse than tensorflow_hub: both packages resolve and load archives that real programs made, and handles of all kinds.

What differs, or what only other programs read, is a row of docs/exceptions.md. Each row has to be seen.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import REAL, tar_gz
from tests.fakes.corpus import GROUPS
from tests.fakes.corpus.exceptions import Row, read_table
from tests.fakes.corpus.sample import SHORT, Sample, write_tree
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tfimm_resolver.handles.handle import get_key

_CLIENT = "import sys; from tests.fakes.corpus.client import main; main(sys.argv[1])"
_BARE = ", without a suffix"
_MEMORY = Path("/dev/shm")
_EMPTY = hashlib.sha256().hexdigest()
TABLE = read_table()


@dataclass(frozen=True)
class Case:
    """One handle.

    Attributes:
        hashes: of the right files; None if there is nothing to resolve.
        exception: the id of the row of the table that it is an example of.
    """

    handle: str
    hashes: dict[str, str] | None
    exception: str = ""
    group: str = "handles"


@dataclass
class Outcomes:
    """What each package got for each case, by the names of package and case, and what it computed with the real models."""

    cases: dict[str, Case] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)


def _hash(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _is_installed(group: str) -> bool:
    return all(map(shutil.which, GROUPS[group].tools))


def _serve(origin: Origin, path: str, sample: Sample) -> str:
    origin.put_model(path, sample.body, headers=dict(sample.headers))
    return origin.put(path, sample.body, headers=dict(sample.headers))


def _make_cases(origin: Origin, work: Path) -> Iterator[tuple[str, Case]]:
    for at, group in enumerate(filter(_is_installed, GROUPS)):
        (folder := work / f"{at}").mkdir()
        for number, sample in enumerate(GROUPS[group].make(folder)):
            for path, name in ((f"/{at}/{number}{sample.suffix}", ""), (f"/bare/{at}/{number}", _BARE)):
                handle = _serve(origin, path, sample)
                yield sample.name + name, Case(handle, _hash(sample.files), sample.exception, group)


def _make_handles(origin: Origin, work: Path) -> Iterator[tuple[str, Case]]:
    """Make handles of other kinds: spellings of URLs, redirects, paths, and models that do not exist."""
    sample, right = Sample("handles", tar_gz({"saved_model.pb": b"a graph"}), {}, ".tar.gz"), {"saved_model.pb": b"a graph"}
    urls = ("/h/model/1", "/h/slash/1/", "/h/archive.tar.gz", "/h/caps.TAR.GZ", "/h/100%25.tar.gz", "/h//double/1")
    for path in urls:
        yield path, Case(_serve(origin, path, sample), _hash(right))
    for path in ("/h/query.tar.gz?version=2", "/h/query/1?a=b&c=d"):
        origin.put(f"{path}&tf-hub-format=compressed", sample.body)
        yield path, Case(origin.put(path, sample.body), _hash(right))
    for path in ("/h/format/1", "/h/format.tar.gz"):
        origin.put(f"{path}?tf-hub-format=compressed&tf-hub-format=compressed", sample.body)
        yield f"{path}, with the format", Case(f"{_serve(origin, path, sample)}?tf-hub-format=compressed", _hash(right))
    for status in (301, 302, 303, 307, 308):
        path, target = f"/h/moved/{status}", {"Location": "/h/archive.tar.gz"}
        origin.put(f"{path}?tf-hub-format=compressed", status=status, headers=target)
        yield path, Case(f"{origin.url}{path}", _hash(right))
    yield "a fragment", Case(_serve(origin, "/h/fragment.tar.gz", sample) + "#part", _hash(right))
    yield "a misspelt pin", Case(_serve(origin, "/h/pin.tar.gz", sample) + "#sha256=0123", _hash(right), "pin")
    _serve(origin, "/h/%C3%A9/1", sample)
    yield "beyond ASCII", Case(f"{origin.url}/h/é/1", _hash(right))
    yield "localhost", Case(origin.url.replace("127.0.0.1", "LOCALHOST") + "/h/model/1", _hash(right))
    yield "a missing page", Case(f"{origin.url}/h/missing/1", None)
    folder = write_tree(work / "a model #1", SHORT)
    paths = (str(folder), f"{folder}/", f"{folder}/.", f"{folder}/../{folder.name}", f"file://{folder}")
    yield from ((path.replace(str(work), ""), Case(path, _hash(SHORT))) for path in paths)
    for form in ("tar", "gztar", "bztar", "xztar", "zip"):
        archive = shutil.make_archive(str(work / "local"), form, folder)
        yield f"a local archive, {form}", Case(archive, _hash(SHORT))
    for path in (f"{folder}/missing", f"{folder}/missing.tar.gz", "missing", f"file://{folder}/missing", "~/missing", ""):
        yield path.replace(str(work), ""), Case(path, None)


def _serve_models(origin: Origin, work: Path, server: ForkServer) -> dict[str, str]:
    """Serve real models; return their handles by the way in which they are loaded."""
    server.run("import sys; from tests.tensorflow.models import save_line; save_line(sys.argv[1])", str(work / "line"))
    line = Path(shutil.make_archive(str(work / "packed"), "gztar", work / "line")).read_bytes()
    handles = {
        kind: _serve(origin, f"/real/{kind}.tar.gz", Sample(kind, line, {}))
        for kind in ("call", "options", "own", "KerasLayer")
    }
    handles["tags"] = handles["ram"] = str(work / "line")
    handles["TF1"] = _serve(origin, "/real/half_plus_two/1", Sample("TF1", REAL.read_bytes(), {}))
    return handles


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory if there is one: thousands of files are flushed to it."""
    if not _MEMORY.is_dir():
        yield tmp_path_factory.mktemp("work")
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def memo() -> list[Outcomes]:
    """Where the outcomes are kept from one test to the next; they are made with the private environment of the first."""
    return []


@pytest.fixture
def outcomes(memo: list[Outcomes], work: Path, server: ForkServer) -> Outcomes:
    """What both packages do, each in a process of its own."""
    if not memo:
        memo.append(_compare(work, server))
    return memo[0]


def _compare(work: Path, server: ForkServer) -> Outcomes:
    found = Outcomes()

    def run(package: str, cache: str, names: Iterable[str], load: dict[str, str]) -> dict[str, Any]:
        handles = {name: found.cases[name].handle for name in names}
        (work / "job").write_text(json.dumps({"ours": package == "ours", "handles": handles, "load": load}))
        output = server.run(_CLIENT, str(work / "job"), TFHUB_CACHE_DIR=str(work / cache), TFIMM_RESOLVER_RETRIES="0")
        return dict(json.loads(output.splitlines()[-1]))

    with Origin() as origin:
        (work / "corpus").mkdir()
        found.cases.update(_make_cases(origin, work / "corpus"))
        found.cases.update(_make_handles(origin, work))
        models = _serve_models(origin, work, server)
        for package in ("hub", "ours"):
            done = run(package, package, found.cases, models)
            found.results[package], found.outputs[package] = done["results"], done["outputs"]
    # The server is gone: what is asked for now has to come from the cache that the other package filled.
    both = [
        name
        for name, case in found.cases.items()
        if case.handle.startswith("http")
        and case.hashes
        and "files" in found.results["ours"][name]
        and _is_right_for_hub(found.results["hub"][name], case.hashes)
    ]
    for package, other in (("hub", "ours"), ("ours", "hub")):
        found.results[f"{package}, cache of {other}"] = run(package, other, both, {})["results"]
    return found


def _is_right(got: dict[str, Any], right: dict[str, str] | None) -> bool:
    return got.get("files") == right if right is not None else "error" in got


def _is_right_for_hub(got: dict[str, Any], right: dict[str, str] | None) -> bool:
    """As ``_is_right``; tensorflow_hub never creates empty files."""
    expected = right and {name: digest for name, digest in right.items() if digest != _EMPTY}
    return _is_right(got, expected) or _is_right(got, right)


@pytest.mark.parametrize("group", [*GROUPS, "handles"])
def test_gives_the_right_files_but_for_rows_of_the_table(group: str, outcomes: Outcomes) -> None:
    if group in GROUPS and not _is_installed(group):
        pytest.skip(f"needs the commands {', '.join(GROUPS[group].tools)}")
    cases = {name: case for name, case in outcomes.cases.items() if case.group == group}
    assert cases
    for name, case in cases.items():
        got = outcomes.results["ours"][name]
        if not case.exception:
            assert _is_right(got, case.hashes), (name, got, "tensorflow_hub:", outcomes.results["hub"][name])
            continue
        row = TABLE[case.exception]
        assert not _is_right(got, case.hashes), f"{name} does not show the row {row.id}"
        assert ("error" in got) == row.is_error, (name, got)
        if row.is_error:
            assert any(message in got["error"] + got["cause"] for message in row.messages), (name, got)
        else:
            assert case.hashes is not None and got["files"] == _take_model(case.hashes), (name, got)


def _take_model(files: dict[str, str]) -> dict[str, str]:
    """Return the files in the folder of the only SavedModel."""
    (graph,) = [name for name in files if name.endswith("saved_model.pb") and not name.endswith("._saved_model.pb")]
    folder = graph.removesuffix("saved_model.pb")
    return {name.removeprefix(folder): digest for name, digest in files.items() if name.startswith(folder)}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_each_row_of_the_table_is_seen_in_both_packages(row: Row, outcomes: Outcomes) -> None:
    names = [name for name, case in outcomes.cases.items() if case.exception == row.id]
    assert names, "no input shows this difference"
    are_read = [_is_right_for_hub(outcomes.results["hub"][name], outcomes.cases[name].hashes) for name in names]
    assert any(are_read) == row.is_read_by_hub, dict(zip(names, are_read, strict=True))
    quoted = [message for message in row.messages if any(message in _get_text(outcomes, name) for name in names)]
    assert quoted == [*row.messages], "the table quotes a message that no input shows"


def _get_text(outcomes: Outcomes, name: str) -> str:
    got = outcomes.results["ours"][name]
    return str(got.get("error", "")) + str(got.get("cause", ""))


def test_tensorflow_hub_alone_reads_most_tars_so_that_the_comparison_means_something(outcomes: Outcomes) -> None:
    cases = {name: case for name, case in outcomes.cases.items() if case.hashes and not case.handle.endswith((".zip", ".zst"))}
    right = [name for name, case in cases.items() if _is_right_for_hub(outcomes.results["hub"][name], case.hashes)]
    assert len(right) > len(cases) // 2, sorted(cases.keys() - set(right))


def test_each_package_reads_what_the_other_one_cached(outcomes: Outcomes) -> None:
    for reader, writer in (("hub", "ours"), ("ours", "hub")):
        results = outcomes.results[f"{reader}, cache of {writer}"]
        assert len(results) > 50
        for name, got in results.items():
            case, written = outcomes.cases[name], outcomes.results[writer][name]["files"]
            # tensorflow_hub takes two spellings of a URL for two models, which share an entry here. It returns the top of
            # an entry, and this package the directory of the only SavedModel in it.
            if reader == "hub" and (get_key(case.handle) != case.handle or case.exception == "deep"):
                continue
            assert got.get("files") in (written, case.exception and _take_model(written)), (reader, name, got)


def test_models_give_the_same_outputs(outcomes: Outcomes) -> None:
    assert outcomes.outputs["ours"] == outcomes.outputs["hub"]
    assert outcomes.outputs["ours"]["call"] == [3.0, 6.0] and outcomes.outputs["ours"]["TF1"] == [2.5, 3.25]


def test_reports_a_path_that_does_not_exist_as_tensorflow_hub_does(outcomes: Outcomes) -> None:
    missing = [name for name, case in outcomes.cases.items() if case.hashes is None and not case.handle.startswith("http")]
    assert len(missing) > 3
    for name in missing:
        assert outcomes.results["ours"][name]["error"] == outcomes.results["hub"][name]["error"]
