"""Parses the code blocks of README.md and docs/, and checks that their examples do not touch the reader's own files."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
PROMPT = "$ "

# The line before it may give the reason why it is not run; a block of text after it is what it prints.
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$"
    r"(?:\n\n?^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_GENERATED = "<!-- Written by"
_TENSORFLOW = re.compile(
    r"tensorflow|keras|(?<!up)load\(|tfimm-resolver (?:hub )?load|load_saved_model|load_state_dict|tfimm-resolver demo"
)
_SHELLS = ("bash", "sh")
_OTHER_SHELL = re.compile(r"(?:make|pip|sudo|cd|export|rm|mv|cp) ")
_HOME = re.compile(r"~|\$\{?(?:HOME|XDG_\w+)\b|/home/|/root/")
_OWN_VARIABLE = re.compile(r"\b(\w+)=\$\(mktemp -d\)")
_WRITERS = {"rm", "rmdir", "mv", "cp", "ln", "dd", "tee", "touch", "mkdir", "truncate", "install", "rsync", "sed", "chmod"}
_WRITING_CALLS = {"rmtree", "remove", "unlink", "rmdir", "rename", "replace", "write_text", "write_bytes", "open", "mkdir"}
_CACHE_USERS = {"tfimm_resolver", "hub", "resolver", "bundles", "maintenance", "project"}
# The commands that need no cache, and the variables that others need besides, or instead of, TFHUB_CACHE_DIR.
_HARMLESS = {"path", "why", "demo", "run"}
_CACHES = {"TFHUB_CACHE_DIR", "TFIMM_HOME"}
_PINS = {"TFHUB_CACHE_DIR", "TFIMM_MODELS_FILE"}
_NEEDED = {"hub": {"TFIMM_HUB_DIR"}, "ls": _CACHES, "rm": _CACHES, "verify": _CACHES}
_NEEDED |= {"add": _PINS, "lock": _PINS, "sync": _PINS}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        line: the number of its first line in the file.
        page: the page, relative to the repository.
        reason: why it is not run; empty if it is.
        output: what the page shows as its output, if it shows it in a block of its own.
    """

    language: str
    text: str
    line: int
    page: str = ""
    reason: str = ""
    output: str = ""

    @property
    def is_transcript(self) -> bool:
        """Whether it contains commands and their output."""
        return self.language in ("", "console") and self.text.startswith(PROMPT)

    @property
    def is_script(self) -> bool:
        """Whether it contains shell commands without their output."""
        return self.language in _SHELLS

    @property
    def is_program(self) -> bool:
        """Whether it is a Python program that does more than define functions and classes."""
        return self.language == "python" and is_run_by_import(self)

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return not self.reason and (self.is_transcript or self.is_script or self.is_program)

    @property
    def needs_tensorflow(self) -> bool:
        """Whether it imports TensorFlow."""
        return _TENSORFLOW.search(self.text) is not None

    @property
    def is_shell(self) -> bool:
        """Whether it contains shell commands."""
        return self.is_transcript or self.is_script or (not self.language and _OTHER_SHELL.match(self.text) is not None)

    def list_commands(self) -> list[str]:
        """Return its command lines, without prompts and output."""
        if not self.is_shell:
            return []
        lines = self.text.splitlines()
        return [line.removeprefix(PROMPT) for line in lines if not self.is_transcript or line.startswith(PROMPT)]


def list_pages() -> list[Path]:
    """Return the pages: README.md, those of the same folder that users read, and those below docs/."""
    return [README, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "SECURITY.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def is_generated(text: str) -> bool:
    """Return whether a script writes the page; its examples are those of docstrings, which another test runs."""
    return text.startswith(_GENERATED)


def read_all_blocks() -> list[Block]:
    """Return every fenced block of the pages that are written by hand."""
    return [
        block
        for page in list_pages()
        if not is_generated(text := page.read_text())
        for block in read_blocks(text, page.relative_to(REPOSITORY).as_posix())
    ]


def read_blocks(text: str, page: str = "") -> list[Block]:
    """Return every fenced block."""
    return [
        Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("text")) + 1,
            page,
            found["reason"] or "",
            found["output"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def find_unsafe_lines(block: Block) -> list[str]:
    """Return each line that could change the reader's own files, with the reason."""
    if block.language == "python":
        return _check_python(ast.parse(block.text))
    own: set[str] = set()
    variables: set[str] = set()
    unsafe = []
    for line in block.list_commands():
        unsafe += [f"{line}: {reason}" for reason in _check_command_line(line, own, variables)]
    return unsafe


def _check_command_line(line: str, own: set[str], variables: set[str]) -> Iterator[str]:
    """Yield what is unsafe; add variables of new directories to ``own``, and those that point into one to ``variables``."""
    if _HOME.search(line):
        yield "it refers to the reader's home"
    own |= {found[1] for found in _OWN_VARIABLE.finditer(line)}
    for words in _split_commands(line.replace("$(mktemp -d)", "NEW")):
        while words and (words[0] in ("export", "env") or re.match(r"\w+=", words[0])):
            name, equals, value = words.pop(0).partition("=")
            if equals and (value == "NEW" or _is_below(value, own)):
                variables.add(name)
            elif equals:
                variables.discard(name)
        targets = [after for word, after in itertools.pairwise(words) if word in (">", ">>", ">|", "&>")]
        if words and words[0] in _WRITERS:
            targets += [
                word.removeprefix("of=") for word in words[1:] if not word.startswith("-") and _is_written(words[0], word)
            ]
        for target in targets:
            if target != "/dev/null" and not _is_below(target, own):
                yield f"{target} is not in a directory of the example's own"
        if words and words[0] == "tfimm-resolver":
            command = next((word for word in words[1:] if not word.startswith("-")), "path")
            needed = set() if command in _HARMLESS else _NEEDED.get(command, {"TFHUB_CACHE_DIR"})
            yield from (f"{name} does not point to a directory of the example's own" for name in sorted(needed - variables))


def _split_commands(line: str) -> Iterator[list[str]]:
    """Split a line into the words of each of its commands."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    reader.whitespace_split = True
    words: list[str] = []
    for word in reader:
        if set(word) <= set(";&|") and word != "&>":
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _is_written(program: str, word: str) -> bool:
    """Return whether a program changes the file that this word names; redirections are checked separately."""
    if program == "dd":
        return word.startswith("of=")
    if program == "chmod" and re.fullmatch(r"[0-7]{3,4}|[augo]*[-+=][rwxX]+", word):
        return False
    return word not in (">", ">>", "<", "2") and not word.startswith("/dev/")


def _is_below(path: str, own: set[str]) -> bool:
    """Return whether a path begins with the variable of a directory that the example created."""
    found = re.match(r"\$\{?(\w+)(?::\?)?\}?(?=/|$)", path)
    return found is not None and found[1] in own and ".." not in path.split("/")


def _check_python(tree: ast.Module) -> list[str]:
    """Return each call that writes, and the first call that could use the cache if it does not set a new directory."""
    unsafe = [
        f"{ast.unparse(node)}: it writes, or refers to the reader's home"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and _get_call_name(node) in {*_WRITING_CALLS, "expanduser", "home"})
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and _HOME.search(node.value))
    ]
    first = next((call for call in _find_calls(tree) if _get_root_name(call) in _CACHE_USERS), None)
    if first and not re.fullmatch(r"\w+\.set_dir\(tempfile\.mkdtemp\(\)\)", ast.unparse(first)):
        unsafe.append(f"{ast.unparse(first)}: set_dir(tempfile.mkdtemp()) does not come first")
    return unsafe


def _find_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls that an import of the code makes, in order."""
    for statement in tree.body:
        if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call))


def is_run_by_import(block: Block) -> bool:
    """Return whether a Python block does more than define functions and classes."""
    return block.language == "python" and next(_find_calls(ast.parse(block.text)), None) is not None


def _get_call_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _get_root_name(node: ast.Call) -> str:
    """Return the first name of what is called: ``hub`` of ``hub.load``."""
    found: ast.expr = node.func
    while isinstance(found, ast.Attribute):
        found = found.value
    return getattr(found, "id", "")
