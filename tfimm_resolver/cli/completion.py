"""Completes arguments in a shell: names of the models file, names of cached models, and paths; never by a request."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import CompletionItem, get_completion_class

from tfimm_resolver.errors import ResolverError

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "tfimm-resolver", "_TFIMM_RESOLVER_COMPLETE"
_ITEMS_MAX = 1000
_PLAIN = re.compile(r"[A-Za-z0-9._:/@%+=,#-]+")
"""What a shell takes as it is: a completion is inserted without quotes, and a models file may be another's."""

_BASH = f"""\
_tfimm_resolver_completion() {{
    # bash also splits words at the colons and equal signs of handles, so COMP_WORDS cannot be used.
    local line=${{COMP_LINE:0:COMP_POINT}} breaks=${{COMP_WORDBREAKS//[^:=]/}} prefix= current type value
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${{words[${{#words[@]}}-1]}}
    [[ $breaks ]] && prefix=${{current%"${{current##*[$breaks]}}"}}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${{value#"$prefix"}}") ;;
        esac
    done < <(env COMP_WORDS="${{words[*]}}" COMP_CWORD=$((${{#words[@]}} - 1)) {VARIABLE}=bash_complete "$1")
}}
complete -o nosort -F _tfimm_resolver_completion {PROGRAM} 2> /dev/null || complete -F _tfimm_resolver_completion {PROGRAM}
"""


def make_code(shell: str, program: click.Command) -> str:
    """Return the code that makes a shell ask the program for completions."""
    if shell == "bash":
        return _BASH
    make = get_completion_class(shell)
    assert make is not None  # the choice is one of click's
    return make(program, {}, PROGRAM, VARIABLE).source()


def complete_handle(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names and cached models that begin like an incomplete handle; without one, the shell looks for paths."""
    names = _select([*_list_names(), *_list_cached("kind=model"), *_list_handles()], incomplete)
    return names or [CompletionItem(incomplete, type="file")]  # bash takes either


def complete_pair(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return completions of a handle, and of the directory after it."""
    is_directory = len(context.params.get(parameter.name or "") or ()) % 2
    return [CompletionItem(incomplete, type="dir")] if is_directory else complete_handle(context, parameter, incomplete)


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the path of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_directory(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the path of a directory."""
    return [CompletionItem(incomplete, type="dir")]


def complete_cached_or_file(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the cached models that begin like an incomplete name; without one, let the shell complete a path."""
    return complete_cached(context, parameter, incomplete) or complete_file(context, parameter, incomplete)


def complete_cached(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the cached models whose names begin like an incomplete one."""
    return _select(_list_cached(), incomplete)


def complete_name(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the models file that begin like an incomplete one."""
    return _select(_list_names(), incomplete)


def complete_error(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names, codes and exit codes of errors that begin like an incomplete one."""
    from tfimm_resolver.cli import explanations

    return _select(explanations.list_names(), incomplete)


def _select(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    found = dict.fromkeys(name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name))
    return [CompletionItem(name) for name in list(found)[:_ITEMS_MAX]]


def _list_names() -> Iterator[str]:
    from tfimm_resolver.models_file import discovery

    with contextlib.suppress(ResolverError):  # the command itself explains what is wrong with the file
        yield from (entry.name for entry in discovery.list_entries())


def _list_handles() -> Iterator[str]:
    """Yield the URLs of the models file; a path in it is relative to the file, not to the working directory."""
    from tfimm_resolver.models_file import discovery

    with contextlib.suppress(ResolverError):
        yield from (entry.handle for entry in discovery.list_entries() if "://" in entry.handle and "@" not in entry.handle)


def _list_cached(*filters: str) -> Iterator[str]:
    from tfimm_resolver.maintenance import inventory

    with contextlib.suppress(ResolverError):
        yield from (model.name for model in inventory.list_models(filters=filters))
