"""``tfimm-resolver completion``: prints what a shell needs to complete commands, options and names of models."""

from __future__ import annotations

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import SHELLS, make_code


@click.command(short_help="Print the code that completes commands and names in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@common
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the code that completes commands, options and names of models in a shell.

    In bash, add this line to ~/.bashrc:

    \b
      eval "$(tfimm-resolver completion bash)"

    In zsh, add this line to ~/.zshrc:

    \b
      eval "$(tfimm-resolver completion zsh)"

    In fish, run this command once:

    \b
      tfimm-resolver completion fish > ~/.config/fish/completions/tfimm-resolver.fish
    """
    click.echo(make_code(shell, context.find_root().command))
    return 0
