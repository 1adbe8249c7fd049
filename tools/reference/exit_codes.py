"""The page of exit codes and error classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from tfimm_resolver.cli.exit_codes import MEANINGS, get_code, list_classes
from tools.reference.markdown import GENERATED, convert_docstring, make_table

_HEAD = """# Exit codes and errors

Every error is a `tfimm_resolver.errors.ResolverError` and, where one fits, also the builtin exception that
you would expect. `error.text` says what was asked, what happened and where the package looked; `error.fix`
says what to do; `error.code` is the name that `--json` prints.

## Exit codes
"""


def make_page() -> str:
    """Return the page."""
    names: dict[int, list[str]] = {}
    for one in list_classes():
        names.setdefault(one.exit_code, []).append(f"[`{one.__name__}`](#{one.__name__.lower()})")
    rows = [[str(code), meaning, ", ".join(names.get(code, []))] for code, meaning in sorted(MEANINGS.items())]
    head = (
        f"{_HEAD}\n{make_table(['exit code', 'meaning', 'error classes'], rows)}\n`run` returns the program's own exit code.\n"
    )
    return GENERATED + "\n" + "\n".join([head, "## Error classes\n", *_describe_classes()])


def _describe_classes() -> Iterator[str]:
    for one in list_classes():
        bases = [f"`{base.__name__}`" for base in one.__mro__[1:] if base not in (Exception, BaseException, object)]
        yield f"### {one.__name__}\n"
        yield f"Code `{get_code(one)}`, exit code {one.exit_code}; a subclass of {', '.join(bases)}.\n"
        yield convert_docstring((inspect.getdoc(one) or "").partition("\nExample:")[0])
