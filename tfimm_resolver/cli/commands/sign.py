"""``tfimm-resolver sign``: signs the files of a model."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import format_count
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached_or_file, complete_file
from tfimm_resolver.cli.output import Output
from tfimm_resolver.maintenance import signing


@click.command(short_help="Sign the files of a model.")
@click.argument("model", shell_complete=complete_cached_or_file)
@click.option(
    "--key",
    required=True,
    metavar="PATH",
    shell_complete=complete_file,
    help="Private key, PEM, on the curve P-256, P-384 or P-521.",
)
@click.option("--password", metavar="TEXT", envvar="TFIMM_RESOLVER_KEY_PASSWORD", help="Password of the private key.")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    metavar="PATH",
    help="Certificate of the key, then those of authorities, PEM.",
)
@click.option(
    "-o",
    "--output",
    "path",
    metavar="PATH",
    shell_complete=complete_file,
    help="Signature to write; by default model.sig in the directory.",
)
@common
@click.pass_obj
def command(
    output: Output, model: str, key: str, password: str | None, certificates: tuple[str, ...], path: str | None
) -> int:
    """Sign all files of MODEL: a directory, one file such as a bundle of `export`, or a cached model.

    The signature is a bundle of OpenSSF Model Signing, which the command `model_signing verify key` accepts, too.

    To require it of one model, name the public key in tfimm-models.toml, from whose directory its path counts:

    \b
      [models.half]
      handle = "https://models.example.org/half.tar.gz"
      signer = { key = "team.pub" }

    To require it of all handles with a prefix, in each of your projects, write this into the settings file
    ~/.config/tfimm_resolver/config.toml (below $XDG_CONFIG_HOME if that is set):

    \b
      [[trust]]
      prefix = "https://models.example.org/"
      signer = { key = "team.pub" }
    """
    result = signing.sign(model, key, path, password=password, certificates=certificates)
    if output.as_json:
        facts = {"signature": result.path, "model": result.model, "files": result.files, "key_sha256": result.key_sha256}
        output.print_json(facts)
        return 0
    output.print_path(result.path)
    output.print_summary(f"{format_count(result.files, 'file')} signed with the key sha256:{result.key_sha256[:16]}")
    return 0
