"""Options and output that the commands which publish models share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.cli.output import Output, error_to_json, format_error, style
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.integrations.serving.publishing import KEEP, TF_SERVING, publish
from tfimm_resolver.integrations.serving.serving_config import check_models_config, write_models_config
from tfimm_resolver.project import pins
from tfimm_resolver.project.sync_models import SyncResult

_SENTENCE_CHARACTERS_MAX = 1500
"""Kubernetes shows at most 2,048 bytes of a container's log as the reason of its failure."""

keep_option = click.option(
    "--keep",
    type=click.IntRange(1),
    default=KEEP,
    show_default=True,
    help="With tf-serving: the number of versions that stay. Only versions that were published are removed.",
)


def check_unused_options(*, layout: bool) -> None:
    """Check that no option was given which has no effect without the layout ``tf-serving``; raises UsageError."""
    context = click.get_current_context()
    for name in ("base_path", "keep", "version"):
        is_set = context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        if is_set and not layout:
            raise click.UsageError(f"--{name.replace('_', '-')} can only be used with --layout {TF_SERVING}")


class ServingTree:
    """The directory of TensorFlow Serving that ``sync --layout`` fills: one directory with versions for each model.

    Attributes:
        config: the path of models.config, once it is written.
        errors: why models could not be published, by name.
    """

    def __init__(self, directory: str, base_path: str | None, keep: int) -> None:
        """Check that models.config may be replaced, before anything is fetched; raises CacheError if it may not."""
        self._directory, self._base_path, self._keep = settings.expand_path(directory), base_path, keep
        self._published: dict[str, Published] = {}
        self.config: str | None = None
        self.errors: dict[str, ResolverError] = {}
        check_models_config(self._directory)

    def publish(self, output: Output, results: Sequence[SyncResult]) -> list[ResolverError]:
        """Publish the models that were fetched, list all of the models file in models.config, and return the errors."""
        for name in [result.model.name for result in results if result.path]:
            try:
                base = join_safely(self._directory, name)
                self._published[name] = publish(name, base, layout=TF_SERVING, keep=self._keep)
            except ResolverError as error:
                self.errors[name] = error
            else:
                print_published(output, self._published[name])
        names = [model.name for model in pins.select_models(())]
        self.config = write_models_config(self._directory, names, base_path=self._base_path)
        return list(self.errors.values())

    def get_facts(self, name: str) -> dict[str, Any]:
        """Return the fields of a model that ``--json`` prints."""
        if name in self.errors:
            return {"error": error_to_json(self.errors[name])}
        return {"published": describe_published(self._published[name])} if name in self._published else {}


def describe_published(published: Published) -> dict[str, Any]:
    """Return the fields of a published model that ``--json`` prints."""
    facts = {"path": published.path, "version": published.version, "state": published.state}
    facts |= {"size_bytes": published.size_bytes, "files": published.files, "linked_files": published.linked}
    return {**facts, "removed_versions": list(published.removed)}


def print_published(output: Output, published: Published) -> None:
    """Report a published model on stderr, in one sentence."""
    what = f"{format_count(published.files, 'file')}, {format_size(published.size_bytes)}"
    if published.state == "unchanged":
        output.print_message(f"{published.path} is {published.handle} already: {what}.")
        return
    linked = f", {published.linked} of them linked to the cache" if published.linked else ""
    numbers = ", ".join(map(str, published.removed))
    removed = f" Removed {'versions' if published.removed[1:] else 'version'} {numbers}." if published.removed else ""
    output.print_message(f"{published.path} is {published.handle} now: {what}{linked}.{removed}")


def print_failures(output: Output, errors: Sequence[ResolverError], total: int) -> None:
    """Print on stderr why models could not be published: on a terminal as every command does, with its lines.

    Elsewhere a line for each, since the last line is what Kubernetes shows.
    """
    if is_terminal(sys.stderr):
        for error in errors:
            output.print_failure(f"{style('error:', fg='red')} {format_error(error)}")
        if total > 1:
            output.print_failure(f"{len(errors)} of {format_count(total, 'model')} could not be published.")
        return
    for error in errors if len(errors) > 1 else ():
        output.print_failure(f"error: {_format_sentence(error)}")
    failed = f"{len(errors)} of {format_count(total, 'model')} could not be published: " if total > 1 else ""
    output.print_failure(f"error: {failed}{_format_sentence(errors[0])}")


def _format_sentence(error: ResolverError) -> str:
    """Return an error as one line: lines of its text are parts of a sentence, those of its advice are sentences."""
    texts = ["; ".join(_list_lines(error.text)), *_list_lines(error.advice.command)]
    sentences = [text if text.endswith(("?", "!")) else f"{text.rstrip('.')}." for text in texts if text]
    line = " ".join(sentences)
    return line if len(line) <= _SENTENCE_CHARACTERS_MAX else f"{line[:_SENTENCE_CHARACTERS_MAX]}."


def _list_lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
