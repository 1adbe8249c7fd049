"""The pages of the documentation: links and their anchors, the navigation, generated pages, and the length of README."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.pages import README, REPOSITORY, is_generated, list_pages
from tools.reference import exit_codes, variables
from tools.reference.__main__ import FOLDER, PAGES
from tools.terminal.sessions import SESSIONS, get_picture

DOCS = REPOSITORY / "docs"
PRIVATE = {"tests/data/README.md"}
_FENCE = re.compile(r"^(`{3,})[^`\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


def list_anchors(page: Path) -> set[str]:
    """Return the anchors that a page has both on GitHub and on the site, which differ for repeated hyphens."""
    on_github: dict[str, int] = {}
    on_site: dict[str, int] = {}
    anchors = ([], [])
    for found in _HEADING.finditer(_FENCE.sub("", page.read_text())):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found[1]).replace("`", "").strip()
        for slugs, slug, mark, into in (
            (on_github, re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"), "-", anchors[0]),
            (on_site, slugify(heading), "_", anchors[1]),
        ):
            number = slugs.get(slug, 0)
            slugs[slug] = number + 1
            into.append(f"{slug}{mark}{number}" if number else slug)
    return set(anchors[0]) & set(anchors[1])


def slugify(heading: str) -> str:
    """Return the anchor of a heading as Python-Markdown makes it."""
    text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def find_broken_links(pages: list[Path], docs: Path) -> Iterator[str]:
    """Yield each link to a file or an anchor that does not exist, and each one that leads out of the site."""
    anchors: dict[Path, set[str]] = {}
    for page in pages:
        text = _CODE.sub("", _FENCE.sub("", page.read_text()))
        for link in (found[1] for found in _LINK.finditer(text)):
            if _ELSEWHERE.match(link):
                continue
            path, _, anchor = link.partition("#")
            target = Path(os.path.normpath(page.parent / path)) if path else page
            where = f"{page.name}: {link}"
            if not target.exists():
                yield f"{where} does not exist"
            elif docs in page.parents and docs not in target.parents:
                yield f"{where} is not on the site: write the file's name without a link"
            elif anchor and anchor not in anchors.setdefault(target, list_anchors(target)):
                yield f"{where} has no such heading"


def read_navigation(text: str) -> list[str]:
    """Return the pages in the navigation."""
    nav = text.partition("\nnav = [")[2].partition("\n]\n")[0]
    return re.findall(r'= "([\w/.-]+\.md)"', nav)


def test_links_lead_to_pages_and_headings_that_exist() -> None:
    assert list(find_broken_links(list_pages(), DOCS)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](missing.md)", "a.md: missing.md does not exist"),
        ("![a](missing.svg)", "a.md: missing.svg does not exist"),
        ("[a](b.md#nothing)", "a.md: b.md#nothing has no such heading"),
        ("[a](#nothing)", "a.md: #nothing has no such heading"),
        ("[a](b.md#one--two)", "a.md: b.md#one--two has no such heading"),
        ("[a](../outside.md)", "a.md: ../outside.md is not on the site: write the file's name without a link"),
        ("[a](b.md#in-code)", "a.md: b.md#in-code has no such heading"),
        ("[a [b]](missing.md)", "a.md: missing.md does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_is_noticed(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "outside.md").touch()
    (tmp_path / "docs" / "b.md").write_text("# One & two\n\n## A `b`: c.d\n\n## Twice\n\n```md\n# In code\n```\n")
    page = tmp_path / "docs" / "a.md"
    page.write_text(f"# A\n\n{text} [good](b.md#a-b-cd) [also](#a) [elsewhere](https://h/x) `[code](x.md)`\n")
    assert list(find_broken_links([page], tmp_path / "docs")) == [fault]


def test_each_page_is_in_the_navigation_once() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(read_navigation((REPOSITORY / "zensical.toml").read_text())) == pages


def test_generated_pages_are_current(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tools.reference.__main__ import PAGES\n"
        "for name, make in PAGES.items(): pathlib.Path(sys.argv[1], pathlib.Path(name).name).write_text(make())"
    )
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=60)
    for name in PAGES:
        assert (FOLDER / name).read_text() == (tmp_path / Path(name).name).read_text(), f"{name}: run `make reference`"


def test_generated_pages_say_so_and_no_others_do() -> None:
    generated = {page for page in list_pages() if is_generated(page.read_text())}
    assert generated == {(FOLDER / name).resolve() for name in PAGES if name.endswith(".md")}


def test_every_session_is_shown_on_a_page_of_its_own_and_at_its_command() -> None:
    pages = {page: page.read_text() for page in list_pages()}
    for name, session in SESSIONS.items():
        shown = [page.name for page, text in pages.items() if f"![{session.title}](" in text and get_picture(name) in text]
        assert "commands.md" in shown and len(shown) >= 2, name
    recorded = {get_picture(name) for name in SESSIONS}
    assert {path.name for path in (DOCS / "images").glob("session_*")} == recorded


def test_every_variable_that_the_code_reads_is_documented() -> None:
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (FOLDER / "variables.md").read_text()))
    found = variables.find_variables()
    assert len(found) > 30 and found - documented == set()
    assert {name for name in documented if name.startswith(("TFIMM_", "TFHUB_"))} - found == set()


def test_a_number_with_a_default_in_the_code_shows_it() -> None:
    rows = {name for topic in variables.TOPICS.values() for names, _, _ in topic for name in names.split()}
    assert set(variables.read_defaults()) <= rows
    source = (REPOSITORY / "tfimm_resolver" / "settings" / "environment.py").read_text()
    numbers = set(re.findall(r'_read_(?:int|number)\(\s*"(\w+)"', source))
    assert numbers and numbers - set(variables.read_defaults()) == set()


def test_every_exit_code_has_a_meaning() -> None:
    assert {one.exit_code for one in exit_codes.list_classes()} <= set(exit_codes.MEANINGS)
    constants = {
        value
        for path in (REPOSITORY / "tfimm_resolver" / "cli").rglob("*.py")
        if re.search(r"^EXIT_", path.read_text(), re.MULTILINE)
        for name, value in vars(importlib.import_module(name_module(path))).items()
        if name.startswith("EXIT_")
    }
    assert constants and constants <= set(exit_codes.MEANINGS)


def name_module(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_no_code_in_a_table_has_an_escaped_bar() -> None:
    pages = [
        page.name
        for page in list_pages()
        if re.search(r"^\|.*`[^`|]*\\\|[^`]*`", _FENCE.sub("", page.read_text()), re.MULTILINE)
    ]
    assert pages == [], "GitHub and the site show it differently: write <code>a&#124;b</code>"


def test_readme_fits_on_a_screen() -> None:
    text = README.read_text()
    assert len(text.splitlines()) < 70 and len(text.split()) < 500
    assert "docs/images/session_terminal.svg" in text and "make demo" in text and "make test" in text


def test_pictures_load_nothing_from_elsewhere() -> None:
    for path in (DOCS / "images").glob("*.svg"):
        assert not re.search(r"(?:href|src)=|url\((?!#)|@import|<script", path.read_text()), path
