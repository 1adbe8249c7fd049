"""What the help of each command adds to its description: examples, variables that matter, special exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from tfimm_resolver.cli.exit_codes import (
    EXIT_CANNOT_RUN,
    EXIT_DAMAGED,
    EXIT_DECLINED,
    EXIT_NOT_FOUND,
    EXIT_OUTDATED,
    EXIT_PROBLEMS,
    EXIT_UNVERIFIED,
)
from tfimm_resolver.errors import SignatureError

PROGRAM = "tfimm-resolver"
URL = "https://models.example/half_plus_two/1.tar.gz"
"""The handle of the examples; the tests serve it on loopback."""

_CACHE = "TFHUB_CACHE_DIR"
_OFFLINE = "TFIMM_RESOLVER_OFFLINE"
_MODELS_FILE = "TFIMM_MODELS_FILE"
_LIMITS = ("TFIMM_RESOLVER_MAX_SIZE", "TFIMM_RESOLVER_MIN_FREE", "TFIMM_RESOLVER_MAX_AGE")
_HUB = ("TFIMM_HUB_DIR", "GITHUB_TOKEN")


@dataclass(frozen=True, slots=True)
class HelpPage:
    """What is special about a command.

    Attributes:
        examples: what follows the name of the command in each example.
        variables: the environment variables that matter most for it.
        exit_codes: the exit codes that have a meaning only here.
    """

    examples: tuple[str, ...]
    variables: tuple[str, ...] = ()
    exit_codes: tuple[tuple[int, str], ...] = ()


PAGES: dict[str, HelpPage] = {
    "resolve": HelpPage((URL, f"{URL} -o ./half", "./model --json"), (_CACHE, _OFFLINE, "TFIMM_RESOLVER_MIRRORS")),
    "fetch": HelpPage((f"{URL} ./half", f"{URL} ./served --layout tf-serving"), (_CACHE, _OFFLINE)),
    "inspect": HelpPage((URL, f"{URL} --ops", f"{URL} --weights --json"), (_CACHE,)),
    "load": HelpPage((URL, f"{URL} --tags serve"), (_CACHE, "TF_CPP_MIN_LOG_LEVEL")),
    "ls": HelpPage(("", "--sort size", "--filter 'used>30d' --filter '!kept' -q"), (_CACHE, "TFIMM_RESOLVER_EXTRA_ROOTS")),
    "du": HelpPage(("", "-v"), (_CACHE, "TFIMM_RESOLVER_MAX_SIZE")),
    "rm": HelpPage((URL, "--all --dry-run"), (_CACHE,), ((EXIT_DECLINED, "the question was answered with no"),)),
    "prune": HelpPage(
        ("--dry-run", "--max-size 50GB --max-age 90d -y"), _LIMITS, ((EXIT_DECLINED, "the question was answered with no"),)
    ),
    "keep": HelpPage((URL,), (_CACHE,)),
    "unkeep": HelpPage((URL,), (_CACHE,)),
    "verify": HelpPage(
        ("", URL, "--repair"),
        (_CACHE,),
        (
            (EXIT_DAMAGED, "a model is damaged"),
            (EXIT_UNVERIFIED, "nothing to compare a model with"),
            (SignatureError.exit_code, "a signature is missing or not valid"),
        ),
    ),
    "adopt": HelpPage(("--dry-run", "--from kagglehub"), (_CACHE, "KAGGLEHUB_CACHE", "HF_HUB_CACHE")),
    "add": HelpPage((f"half {URL}", f"half {URL} --alias h --replace"), (_MODELS_FILE,)),
    "lock": HelpPage(
        ("--check", "", "--update half"), (_MODELS_FILE,), ((EXIT_OUTDATED, "a model changed upstream or is not pinned"),)
    ),
    "sync": HelpPage(
        ("", "--check half", "--jobs 8"),
        (_MODELS_FILE, _CACHE),
        ((EXIT_OUTDATED, "with --check, a model is missing or does not match its pin"),),
    ),
    "why": HelpPage((URL, "half"), (_MODELS_FILE, _CACHE, "TFIMM_HOME")),
    "export": HelpPage((f"{URL} -o models.tar", f"{URL} half -o models.tar"), (_CACHE,)),
    "import": HelpPage(("models.tar", "models.tar --refresh"), (_CACHE,)),
    "sign": HelpPage(("./model --key private.pem",), ("TFIMM_RESOLVER_KEY_PASSWORD",)),
    "sbom": HelpPage((f"{URL} -o sbom.json", "half"), (_CACHE,)),
    "path": HelpPage(("", "-q"), (_CACHE, "TFIMM_HOME", "XDG_CACHE_HOME")),
    "doctor": HelpPage(("", "--online"), (_CACHE,), ((EXIT_PROBLEMS, "there is at least one problem"),)),
    "explain": HelpPage(("", "not-found", "3")),
    "env": HelpPage(("", "--json")),
    "hub list": HelpPage(("ada/models:main", "./repository --local"), _HUB),
    "hub help": HelpPage(("ada/models half", "./repository half --local"), _HUB),
    "hub load": HelpPage(("ada/models half --arg pretrained=true", "./repository half --local --trust"), _HUB),
    "hub trust list": HelpPage(("",), ("TFIMM_HUB_DIR",)),
    "hub trust revoke": HelpPage(("ada/models", "--all --dry-run"), ("TFIMM_HUB_DIR",)),
    "run": HelpPage(
        ("python train.py", "-- gunicorn app:app"),
        (_CACHE,),
        ((EXIT_CANNOT_RUN, "the program cannot be run"), (EXIT_NOT_FOUND, "the program was not found")),
    ),
    "completion": HelpPage(("bash",)),
    "demo": HelpPage(("", "--json")),
}


def list_examples(name: str) -> list[str]:
    """Return the examples of a command, as a shell takes them."""
    return [f"{PROGRAM} {name} {rest}".rstrip() for rest in PAGES[name].examples]


def complete_help(command: click.Command, name: str) -> None:
    """Add what this module knows of a command to its help; for a group, to that of each of its commands."""
    if isinstance(command, click.Group):
        for each, below in command.commands.items():
            complete_help(below, f"{name} {each}")
    if not command.epilog:
        command.epilog = "\n\n".join(_make_blocks(name))


def _make_blocks(name: str) -> Iterator[str]:
    page = PAGES.get(name)
    if page is not None:
        yield "\n".join(["\b", "Examples:", *(f"  {line}" for line in list_examples(name))])
        if page.variables:
            yield f"Environment variables: {', '.join(page.variables)}."
        if page.exit_codes:
            yield f"Exit codes: {'; '.join(f'{code} ({meaning})' for code, meaning in page.exit_codes)}."
    yield f"Options of every command, such as --json, -q and -v, are explained by `{PROGRAM} --help`."
