"""One archive of the corpus, and the directories from which programs pack."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.archives import MODEL

Files = dict[str, bytes]

SHORT: Files = {
    **MODEL,
    "assets/vocab.txt": b"zero\none\n",
    "assets/empty.txt": b"",
    "assets/two words, 1 & 2.txt": b"a name with spaces",
    "assets/größe 词表.txt": b"a name in UTF-8",
    "assets/What? 10:30.csv": b"Windows cannot hold this name",
    "assets/aux.py": b"nor this one",
    "assets/Vocab.txt": b"differs from another name in case only",
    "assets.extra/tf_serving_warmup_requests": bytes(range(256)) * 5,
}
"""A model whose names have room in the header of every format."""
LONG: Files = {
    **SHORT,
    f"assets/{'n' * 140}.txt": b"a long name",
    f"assets/{'d' * 90}/{'e' * 90}/{'f' * 90}/{'g' * 80}.txt": b"a long path",
    "assets/block.bin": bytes(range(256)) * 2,
}
HOLES: Files = {**SHORT, "assets/holes.bin": (b"data" + bytes(65_532)) * 30 + bytes(300_000)}
SCRIPT_S = 60


@dataclass(frozen=True)
class Sample:
    """One archive.

    Attributes:
        name: what made it, and how; unique.
        body: its bytes.
        files: what is right to unpack, before any folder is removed.
        suffix: what its URL ends in.
        exception: the id of the row in docs/exceptions.md that it is an example of; empty if everything has to be right.
        headers: of the response by which it is served.
    """

    name: str
    body: bytes
    files: Files
    suffix: str = ".tar"
    exception: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A shell script that packs one of the directories of ``write_trees``, to ``$OUT`` or to its output."""

    name: str
    script: str
    suffix: str = ".tar"
    files: Files = field(default_factory=lambda: LONG)
    exception: str = ""


@dataclass(frozen=True)
class Group:
    """The samples of one program.

    Attributes:
        tools: the commands that it needs.
        make: makes the samples below an empty directory.
    """

    tools: tuple[str, ...]
    make: Callable[[Path], Iterable[Sample]]


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a new directory."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_trees(work: Path) -> None:
    """Write the directories that recipes pack: short, long, wrapped, links, outward and holes."""
    write_tree(work / "short", SHORT)
    write_tree(work / "long", LONG)
    write_tree(work / "wrapped" / "model", SHORT)
    links = write_tree(work / "links", SHORT) / "assets"
    (links / "current.txt").symlink_to("vocab.txt")
    (links / "graph").symlink_to("../saved_model.pb")
    os.link(links / "vocab.txt", links / "again.txt")
    outward = write_tree(work / "outward", SHORT) / "assets"
    (outward / "passwd").symlink_to("/etc/passwd")
    inward = write_tree(work / "directories", SHORT)
    (inward / "latest").symlink_to("assets")
    holes = write_tree(work / "holes", SHORT) / "assets" / "holes.bin"
    with holes.open("wb") as file:
        for at in range(30):
            file.seek(at << 16)
            file.write(b"data")
        file.truncate(len(HOLES["assets/holes.bin"]))


LINKED: Files = {
    **SHORT,
    "assets/current.txt": SHORT["assets/vocab.txt"],
    "assets/again.txt": SHORT["assets/vocab.txt"],
    "assets/graph": SHORT["saved_model.pb"],
}
OUTWARD: Files = {**SHORT, "assets/passwd": b"a file of this machine"}
DIRECTORIES: Files = {
    **SHORT,
    **{name.replace("assets/", "latest/"): data for name, data in SHORT.items() if name.startswith("assets/")},
}


def wrap(files: Mapping[str, bytes], folder: str = "model") -> Files:
    """Return the files, inside a folder."""
    return {f"{folder}/{name}": data for name, data in files.items()}


def run_recipes(program: str, recipes: Iterable[Recipe], work: Path) -> list[Sample]:
    """Run scripts, each of which must succeed; the path of ``work`` has no spaces."""
    write_trees(work)
    return [_run(program, recipe, work) for recipe in recipes]


def _run(program: str, recipe: Recipe, work: Path) -> Sample:
    out = work / "out"
    done = subprocess.run(
        ["sh", "-ec", recipe.script],
        cwd=work,
        env={**os.environ, "OUT": str(out), "LC_ALL": "C.UTF-8", "TAPE": "-"},
        capture_output=True,
        timeout=SCRIPT_S,
        check=False,
    )
    assert done.returncode == 0, (program, recipe.name, done.stderr.decode(errors="replace"))
    body = out.read_bytes() if out.exists() else done.stdout
    out.unlink(missing_ok=True)
    return Sample(f"{program}: {recipe.name}", body, recipe.files, recipe.suffix, recipe.exception)
