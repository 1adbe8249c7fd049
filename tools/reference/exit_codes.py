"""The page of exit codes and error classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from tfimm_resolver import errors
from tfimm_resolver.cli import app
from tfimm_resolver.cli.commands import EXIT_OUTDATED, doctor, run, verify
from tools.reference.markdown import GENERATED, convert_docstring, make_table

_HEAD = """# Exit codes and errors

Every error is a `tfimm_resolver.errors.ResolverError` and, where one fits, also the builtin exception that
you would expect. `error.text` says what was asked, what happened and where the package looked; `error.fix`
says what to do; `error.code` is the name that `--json` prints.

## Exit codes
"""
MEANINGS = {
    0: "success",
    1: "stdout cannot be written; `rm`, `prune`: the question was answered with no",
    2: "wrong options; a handle that cannot be parsed or that no rule or source knows; an invalid models file",
    3: "the model could not be fetched",
    4: "the cache cannot be used",
    5: "the model cannot be loaded",
    verify.EXIT_DAMAGED: "`verify`: a model is damaged",
    verify.EXIT_UNVERIFIED: "`verify`: none is damaged, but at least one has no record to compare it with",
    EXIT_OUTDATED: "`lock`: a model changed upstream or, with `--check`, is not pinned; "
    "`sync --check`: a model is missing or does not match its pin",
    errors.PolicyError.exit_code: "a model is refused by its operations, or cannot be searched for them",
    doctor.EXIT_PROBLEMS: "`doctor`: there is at least one problem",
    errors.SignatureError.exit_code: "a signature that is required is missing or not valid; also with `verify`",
    run.EXIT_CANNOT_RUN: "`run`: the program cannot be run",
    run.EXIT_NOT_FOUND: "`run`: the program was not found",
    app.EXIT_INTERRUPTED: "interrupted by Ctrl-C; the next run resumes the download where possible",
    app.EXIT_TERMINATED: "ended by SIGTERM; the next run resumes the download where possible",
}


def list_classes() -> list[type[errors.ResolverError]]:
    """Return the error classes, in the order of their exit codes and names."""
    classes = [getattr(errors, name) for name in errors.__all__]
    return sorted((one for one in classes if one is not errors.ResolverError), key=lambda one: (one.exit_code, one.__name__))


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
        yield f"Code `{_get_code(one)}`, exit code {one.exit_code}; a subclass of {', '.join(bases)}.\n"
        yield convert_docstring((inspect.getdoc(one) or "").partition("\nExample:")[0])


def _get_code(one: type[errors.ResolverError]) -> str:
    return one("").code
