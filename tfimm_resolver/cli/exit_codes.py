"""The exit codes of the command line, and what each of them means."""

from __future__ import annotations

from tfimm_resolver import errors
from tfimm_resolver.errors import ResolverError

EXIT_STDOUT = EXIT_DECLINED = 1
EXIT_DAMAGED = 6
EXIT_UNVERIFIED = 7
EXIT_OUTDATED = 8
EXIT_PROBLEMS = 11
EXIT_CANNOT_RUN, EXIT_NOT_FOUND = 126, 127
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

MEANINGS = {
    0: "success",
    EXIT_STDOUT: "stdout cannot be written; `rm`, `prune`: the question was answered with no",
    errors.HandleError.exit_code: "wrong options or arguments: a handle that cannot be parsed or that no source knows, "
    "a model that is not cached where it has to be, a file that is not a bundle; an invalid models file",
    errors.FetchError.exit_code: "the model could not be fetched, or is not what it should be: by its pin, as an archive",
    errors.CacheError.exit_code: "the cache, or another file or directory, cannot be read or written",
    errors.LoadError.exit_code: "the model cannot be loaded",
    EXIT_DAMAGED: "`verify`: a model is damaged",
    EXIT_UNVERIFIED: "`verify`: none is damaged, but at least one has no record to compare it with",
    EXIT_OUTDATED: "`lock`: a model changed upstream or, with `--check`, is not pinned; "
    "`sync --check`: a model is missing or does not match its pin",
    errors.PolicyError.exit_code: "a model is refused by its operations, or cannot be searched for them",
    errors.SignatureError.exit_code: "a signature that is required is missing or not valid; also with `verify`",
    EXIT_PROBLEMS: "`doctor`: there is at least one problem",
    EXIT_CANNOT_RUN: "`run`: the program cannot be run",
    EXIT_NOT_FOUND: "`run`: the program was not found",
    EXIT_INTERRUPTED: "interrupted by Ctrl-C; the next run resumes the download where possible",
    EXIT_TERMINATED: "ended by SIGTERM; the next run resumes the download where possible",
}


def list_classes() -> list[type[ResolverError]]:
    """Return the error classes, in the order of their exit codes and names."""
    classes = [getattr(errors, name) for name in errors.__all__]
    return sorted((one for one in classes if one is not ResolverError), key=lambda one: (one.exit_code, one.__name__))


def get_code(kind: type[ResolverError]) -> str:
    """Return the code of an error class, as ``--json`` prints it."""
    return kind("").code
