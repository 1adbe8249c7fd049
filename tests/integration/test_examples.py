"""Tests of the examples in README.md and docs/: each uses its own directories and prints what the page shows.

Those that need TensorFlow are run by ``tests/tensorflow/test_examples.py``.
"""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path

import pytest

from tests.fakes.archives import REAL
from tests.fakes.pages import (
    PROMPT,
    REPOSITORY,
    Block,
    find_unsafe_lines,
    is_generated,
    list_pages,
    read_all_blocks,
    read_blocks,
)
from tests.fakes.reader import Reader, check_block, make_reader, run_transcript, serve_for

BLOCKS = read_all_blocks()
RUN = [block for block in BLOCKS if block.is_run]
LIGHT = [block for block in RUN if not block.needs_tensorflow]
PROMPTS = re.compile(r"^\s*\$ ", re.MULTILINE)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A user with a cache as the documentation recommends, and a project with a models file."""
    return make_reader(tmp_path)


def name_block(block: Block) -> str:
    """Return the id of a test."""
    return f"{block.page}:{block.line}"


def test_blocks_are_found() -> None:
    assert len(LIGHT) >= 3 and len(RUN) > len(LIGHT)
    assert any(block.page == "README.md" for block in RUN)


def test_every_example_is_run_or_says_why_not() -> None:
    silent = [name_block(block) for block in BLOCKS if block.is_shell and not block.is_run and not block.reason]
    assert silent == []
    assert [name_block(block) for block in BLOCKS if block.language in ("pycon", "shell", "zsh")] == []
    hidden = [name_block(block) for block in BLOCKS if not block.is_transcript and PROMPTS.search(block.text)]
    assert hidden == [], "a transcript is a block of the language console"


def test_no_block_hides_in_a_list() -> None:
    pages = [page for page in list_pages() if not is_generated(page.read_text())]
    assert [page.name for page in pages if re.search(r"^[ \t]+```", page.read_text(), re.MULTILINE)] == []


def test_a_reason_is_one_for_the_block_below_it() -> None:
    for page in list_pages():
        text = page.read_text()
        if page.name != "CONTRIBUTING.md":  # which explains it
            assert text.count("<!-- not run: ") == sum(bool(block.reason) for block in read_blocks(text)), page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```console\n$ ls\n```\n", ("transcript", "", "")),
        ("```\n$ ls\n```\n", ("transcript", "", "")),
        ("```bash\nls\n```\n", ("script", "", "")),
        ("```python\nprint(1)\n```\n\n```text\n1\n```\n", ("program", "", "1\n")),
        ("```python\ndef f(): ...\n```\n", ("", "", "")),
        ("<!-- not run: why -->\n```bash\nls\n```\n", ("", "why", "")),
        ("```toml\n$ x\n```\n", ("", "", "")),
    ],
)
def test_kinds_of_blocks_are_told_apart(text: str, expected: tuple[str, str, str]) -> None:
    block = read_blocks(text)[0]
    kind = {block.is_transcript: "transcript", block.is_script: "script", block.is_program: "program"}.get(True, "")
    assert (kind if block.is_run else "", block.reason, block.output) == expected


@pytest.mark.parametrize("block", RUN, ids=name_block)
def test_no_block_changes_files_of_the_reader(block: Block) -> None:
    assert find_unsafe_lines(block) == []


OWN = "$ demo=$(mktemp -d); export TFHUB_CACHE_DIR=$demo/cache\n"


@pytest.mark.parametrize(
    "text",
    [
        "$ rm ~/.cache/tfhub_modules/*/variables/*\n",
        "$ rm -r ~/.cache/tfhub_modules\n",
        OWN + '$ rm -r "$HOME/.cache/tfhub_modules"\n',
        OWN + "$ rm -r ${XDG_CACHE_HOME}/tfimm\n",
        OWN + "$ rm -r $TFHUB_CACHE_DIR\n",
        OWN + '$ rm -r "$demo/../models"\n',
        OWN + "$ rm -r $demonstration\n",
        OWN + "$ true && rm tfimm-models.toml\n",
        OWN + "$ true | tee models.txt\n",
        OWN + "$ echo x > tfimm-models.toml\n",
        OWN + "$ printf x | dd of=models.tar bs=1 seek=3000\n",
        OWN + "$ tfimm-resolver add half http://h/m.tgz\n",
        OWN + "$ tfimm-resolver rm resnet18\n",
        OWN + "$ chmod -R a-w models\n",
        OWN + "$ tfimm-resolver hub list --trust ada/models\n",
        OWN + "$ export TFHUB_CACHE_DIR=/mnt/models\n$ tfimm-resolver rm half\n",
        "$ tfimm-resolver -q resolve http://h/m.tgz\n",
        "$ export TFHUB_CACHE_DIR=~/.cache/tfhub_modules\n$ tfimm-resolver resolve http://h/m.tgz\n",
    ],
)
def test_a_transcript_that_would_is_seen(text: str) -> None:
    assert find_unsafe_lines(Block("", text, 1)) != []


@pytest.mark.parametrize(
    "text",
    [
        "import tfimm_resolver\npath = tfimm_resolver.resolve('https://h/m.tgz')\n",
        "from tfimm_resolver import hub\nhub.list('ada/models', trust_repo=True)\nhub.set_dir(tempfile.mkdtemp())\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir('models')\ntfimm_resolver.resolve('https://h/m.tgz')\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir(tempfile.mkdtemp())\nshutil.rmtree(path)\n",
        "import tfimm_resolver\ntfimm_resolver.set_dir(tempfile.mkdtemp())\nload('~/model')\n",
    ],
)
def test_a_program_that_would_is_seen(text: str) -> None:
    assert find_unsafe_lines(Block("python", text, 1)) != []


@pytest.mark.parametrize("block", LIGHT, ids=name_block)
def test_an_example_shows_what_it_prints(block: Block, reader: Reader, tmp_path: Path) -> None:
    if "ada/" in block.text and shutil.which("git") is None:
        pytest.skip("git is not installed")
    with serve_for(block, reader, REAL.read_bytes(), tmp_path) as served:
        check_block(served, reader)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ echo 1\n2\n```\n",
        "```console\n$ echo 1\n```\n",
        "```bash\nfalse\ntrue\n```\n",
        "```bash\nfalse | true\n```\n",
        "```python\nimport sys\nsys.exit(3)\n```\n",
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nopen('tfimm-models.toml', 'w').close()\n```\n",
        "```bash\nrm -r ~/.cache/tfhub_modules\n```\n",
        "```console\n$ touch $TMPDIR/left\n```\n",
    ],
)
def test_a_wrong_example_is_noticed(text: str, reader: Reader) -> None:
    with pytest.raises(AssertionError):
        check_block(read_blocks(text)[0], reader)


@pytest.mark.parametrize("command", ["rm ~/.cache/tfhub_modules/*/variables/*", "rm -r ~/.cache/tfhub_modules", "touch new"])
def test_a_transcript_that_changes_files_of_the_reader_is_noticed(command: str, reader: Reader) -> None:
    before = reader.read_files()
    run_transcript(Block("", PROMPT + command, 1), reader)
    assert reader.read_files() != before


def test_a_transcript_that_leaves_a_process_is_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="still running"):
        run_transcript(Block("", "$ sleep 60 &\n", 1), reader, end_s=0.2)


def test_the_installation_names_every_extra_and_make_knows_its_targets() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    commands = "\n".join(line for block in BLOCKS if block.is_shell for line in block.list_commands())
    extras = {name for found in re.findall(r"\[([\w,]+)\]'", commands) for name in found.split(",")}
    known = {name for name in setup["options.extras_require"] if not name.startswith("test")}
    assert extras == known - {"docs", "fuzz"}
    targets = re.findall(r"^make (\w+)", commands, re.MULTILINE)
    assert targets and all(
        re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE) for target in targets
    )
