"""Runs the examples of the documentation that need an engine; each says in its page which one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fakes.pages import Block, read_all_blocks
from tests.fakes.reader import make_reader, serve_for


def list_examples(how: str) -> list[Block]:
    """Return the examples of which the page says that ``make test-engines`` runs them in this way."""
    found = [block for block in read_all_blocks() if block.reason == f"make test-engines runs it {how}"]
    assert found, f"no example is run {how}"
    return found


def name_example(block: Block) -> str:
    """Return the id of a test."""
    return f"{block.page}:{block.line}"


def run_example(block: Block, archive: bytes, folder: Path, **environment: str) -> str:
    """Run an example as a user does, from a file; return what it prints, which has to be what the page shows.

    Every model of tfhub.dev is served, from the same archive.
    """
    reader = make_reader(folder)
    del reader.environment["TFHUB_CACHE_DIR"]
    (folder / "example.py").write_text(block.text)
    with serve_for(block, reader, archive, folder):
        done = subprocess.run(
            [sys.executable, folder / "example.py"],
            cwd=reader.project,
            env={**reader.environment, "TMPDIR": str(reader.temporary), **environment},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-6000:]
    assert not block.output or done.stdout == block.output, f"it prints:\n{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout
