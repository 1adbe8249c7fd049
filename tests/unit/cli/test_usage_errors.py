"""What click does not accept, in the form of our errors."""

from __future__ import annotations

import click
import pytest

from tfimm_resolver.cli.app import cli
from tfimm_resolver.cli.output import Output
from tfimm_resolver.cli.usage_errors import UsageError, make_usage_error

HELP = "Usage: tfimm-resolver resolve [OPTIONS] HANDLE..., explained by tfimm-resolver resolve --help"


def fail(*arguments: str) -> UsageError:
    """Return the error for wrong arguments."""
    with pytest.raises(click.UsageError) as caught:
        cli.main(args=arguments, prog_name="tfimm-resolver", standalone_mode=False, obj=Output())
    return make_usage_error(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text", "fix"),
    [
        (["resolv"], "no such command 'resolv'", "Did you mean resolve?"),
        (["hub", "lst"], "no such command 'lst'", "Did you mean list?"),
        (["xyzzy"], "no such command 'xyzzy'", "Usage: tfimm-resolver [OPTIONS] COMMAND [ARGS]..., "),
        (["resolve", "--refesh", "x"], "no such option '--refesh'", "Did you mean --refresh?"),
        (["resolve", "--nope"], "no such option '--nope'", HELP),
        (["--cach-dir", "x", "ls"], "no such option '--cach-dir'", "Did you mean --cache-dir or --tfhub_cache_dir?"),
        (["resolve", "x", "--sha256"], "option '--sha256' requires an argument", HELP),
        (["hub", "load", "--arg"], "option '--arg' requires an argument", "Usage: tfimm-resolver hub load [OPTIONS] "),
        (["resolve"], "missing argument 'HANDLE...'", HELP),
        (["sync", "-j", "0"], "invalid value for '-j' / '--jobs': 0 is not a whole number from 1 to 64", "Usage: "),
        (["lock", "--jobs", "a"], "invalid value for '-j' / '--jobs': 'a' is not a whole number from 1 to 64", "Usage: "),
        (["lock", "--jobs", "1.5"], "invalid value for '-j' / '--jobs': '1.5' is not a whole number from 1 to 64", "Usage: "),
        (["completion"], "missing argument: bash, zsh or fish", "Usage: "),
        (["sync", "--layout"], "--layout needs a directory: --layout tf-serving DIR", "Usage: "),
        (["sync", "--layout", "tf-serving"], "--layout needs a directory: --layout tf-serving DIR", "Usage: "),
        (["sync", "--keep", "3"], "--keep can only be used with --layout tf-serving", "Usage: "),
        (["sync", "--check", "--base-path", "/m"], "--base-path can only be used with --layout tf-serving", "Usage: "),
        (["fetch", "m", "dir", "--keep", "2"], "--keep can only be used with --layout tf-serving", "Usage: "),
        (["fetch", "m", "dir", "--version", "2"], "--version can only be used with --layout tf-serving", "Usage: "),
        (["list"], "no such command 'list'", "Did you mean ls?"),
        (["Download"], "no such command 'Download'", "Did you mean resolve?"),
        (["help"], "no such command 'help'", "Did you mean --help?"),
        (["hub", "help2"], "no such command 'help2'", "Did you mean help?"),
        (["hub", "remove"], "no such command 'remove'", "Usage: tfimm-resolver hub "),
        (
            ["ls", "--sort", "nme"],
            "invalid value for '--sort': 'nme' is not one of 'name', 'size', 'used'",
            "Did you mean name?",
        ),
        (
            ["--progress", "JSN", "ls"],
            "invalid value for '--progress': 'JSN' is not one of 'auto', 'json'",
            "Did you mean json?",
        ),
        (["ls", "--sort", "zzzz"], "invalid value for '--sort': 'zzzz' is not one of 'name', 'size', 'used'", "Usage: "),
        (
            ["fetch", "m", "dir", "--layout", "tfserving"],
            "invalid value for '--layout': 'tfserving' is not one of 'flat', 'tf-serving'",
            "Did you mean tf-serving?",
        ),
        (
            ["sync", "--layout", "tfserving", "dir"],
            "invalid value for '--layout': 'tfserving' is not 'tf-serving'",
            "Did you mean tf-serving?",
        ),
        (["--color"], "option '--color' requires an argument", "Usage: tfimm-resolver [OPTIONS] COMMAND [ARGS]..., "),
        (
            ["--cache-dir", "ftp://host/cache", "ls"],
            "--cache-dir: ftp://host/cache cannot hold a cache: its scheme is not supported; "
            "it is a local directory, or a gs:// or s3:// URL",
            "Usage: ",
        ),
        (["bad\nname"], r"no such command 'bad\nname'", "Usage: "),
    ],
)
def test_the_error_says_what_is_wrong_and_what_was_meant_or_is_possible(arguments: list[str], text: str, fix: str) -> None:
    error = fail(*arguments)
    assert error.text.replace("option: --", "option '--").rstrip("'") == text.rstrip("'"), "quoted since click 8.2"
    assert error.fix.startswith(fix)
    assert (error.code, error.exit_code) == ("usage", 2)


def test_an_error_without_a_command_has_no_usage() -> None:
    assert make_usage_error(click.ClickException("Broken.")).fix == ""
