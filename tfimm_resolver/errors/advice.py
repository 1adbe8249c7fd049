"""Advice on what to do about an error, in one form for Python and one for the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from tfimm_resolver._util.outgoing import show


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about an error; the same remedy is a keyword argument in Python and an option on the command line.

    Attributes:
        python: the advice that ``str(error)`` and a traceback show. It may name a command only for what exists nowhere
            else, and then says "on the command line".
        command: the advice that the command line prints, also as ``fix`` with ``--json``. It may name Python only for
            what exists nowhere else, and then says "in Python".
    """

    python: str
    command: str

    def __bool__(self) -> bool:
        """Whether there is any advice."""
        return bool(self.python or self.command)

    def convert(self, function: Callable[[str], str]) -> Advice:
        """Return both forms, each passed through a function."""
        return Advice(function(self.python), function(self.command))


Fix = Union[str, Advice]
"""An advice; a plain text fits both kinds of callers."""


def make_advice(fix: Fix) -> Advice:
    """Return an advice from a text that fits both kinds of callers, or the advice itself."""
    return fix if isinstance(fix, Advice) else Advice(fix, fix)


def join_advice(fixes: Iterable[Fix], separator: str = "\n  ") -> Advice:
    """Join several pieces of advice, without the empty ones, in each form."""
    advice = [make_advice(fix) for fix in fixes]
    python, command = [one.python for one in advice], [one.command for one in advice]
    return Advice(separator.join(filter(None, python)), separator.join(filter(None, command)))


FETCH_AGAIN = Advice(
    python="Copy or save a directory of your own again; fetch any other model again: resolve(handle, refresh=True).",
    command="Copy or save a directory of your own again; fetch any other model again: tfimm-resolver resolve --refresh HANDLE",
)
"""For a damaged model whose handle is not known; ``suggest_refresh`` names the handle."""


def suggest_refresh(handle: str, sha256: str | None = None) -> Advice:
    """Return the advice to download a model again, with the pin that it has to match."""
    name = show(handle)
    if not sha256:
        return Advice(
            python=f"Download it again: tfimm_resolver.resolve({name!r}, refresh=True)",
            command=f"Download it again: tfimm-resolver resolve --refresh {shlex.quote(name)}",
        )
    return Advice(
        python=f"Download it again: tfimm_resolver.resolve({name!r}, refresh=True, sha256={sha256!r})",
        command=f"Download it again: tfimm-resolver resolve --refresh --sha256 {sha256} {shlex.quote(name)}",
    )


def suggest_add(purpose: str) -> Advice:
    """Return the advice to add a name to the models file, for a purpose such as ``Create one``."""
    return Advice(python=f"{purpose}: project.add(name, handle)", command=f"{purpose}: tfimm-resolver add NAME HANDLE")


def suggest_local_copy(otherwise: str) -> Advice:
    """Return the advice to do something else, such as ``Unset it``, or to use a local copy of the model."""
    return Advice(
        python=f"{otherwise}, or register a local copy: set_model_cache(handle, path).",
        command=f"{otherwise}, or give the path of a local copy instead of the handle.",
    )
