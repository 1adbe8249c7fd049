"""The command line: one small function a command."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tfimm_resolver import listing, record, settings
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.flags import LOAD_FORMATS
from tfimm_resolver.listing import Model
from tfimm_resolver.progress import in_words
from tfimm_resolver.resolver import resolve
from tfimm_resolver.screen import Screen, ago, bar, cut, described, state, table

EXIT_DAMAGED = 6
EXIT_UNVERIFIABLE = 7
EXIT_INTERRUPTED = 130
Command = TypeVar("Command", bound=Callable[..., Any])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    screen = Screen()
    try:
        code: int | None = cli.main(args=argv, prog_name="tfimm-resolver", standalone_mode=False, obj=screen)
        return code or 0
    except ResolverError as error:
        screen.error(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        screen.say("interrupted; nothing half-made was kept")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _on_screen(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.find_root().obj, name, value)

    return remember


def _quieten(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().obj.is_quiet = True
        os.environ["TFIMM_RESOLVER_QUIET"] = "1"


def _choose_dir(_: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        settings.choose_dir(value, parameter.opts[0])


def _choose_format(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["TFHUB_MODEL_LOAD_FORMAT"] = value


_COMMON = (
    click.option("--json", is_flag=True, expose_value=False, callback=_on_screen("as_json"), help="Print one JSON object."),
    click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quieten, help="No progress; of tables the first column."
    ),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        callback=_on_screen("colour"),
        help="Default: auto, which heeds NO_COLOR.",
    ),
    click.option(
        "--cache-dir",
        "--tfhub_cache_dir",
        metavar="DIR",
        expose_value=False,
        callback=_choose_dir,
        help="Where models are kept, before every variable.",
    ),
    click.option(
        "--load-format",
        "--tfhub_model_load_format",
        type=click.Choice(LOAD_FORMATS),
        expose_value=False,
        callback=_choose_format,
        help="UNCOMPRESSED asks for a gs:// path instead of downloading.",
    ),
)


def common(command: Command) -> Command:
    """The options that stand before and after every command's name."""
    for option in reversed(_COMMON):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@common
@click.version_option(package_name="tfimm_resolver")
def cli() -> None:
    """Turns handles of TensorFlow SavedModels into paths, and looks after the cache."""
    lines = logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("tfimm_resolver")
    logger.handlers, logger.propagate = [lines], False
    logger.setLevel(logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's chatter about this machine's processor


@cli.command("resolve")
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...")
@click.option("--refresh", is_flag=True, help="Fetch anew; the old copy stays if that fails.")
@click.option("--sha256", metavar="HEX", help="What the archive must hash to; for one HANDLE.")
@common
@click.pass_obj
def resolve_(screen: Screen, handles: Sequence[str], refresh: bool, sha256: str | None) -> int:
    """Print the path of each model; what is not there is fetched."""
    if sha256 and len(handles) > 1:
        raise click.UsageError("--sha256 goes with one HANDLE")
    rows: list[dict[str, Any]] = []
    errors: list[ResolverError] = []
    for handle in handles:
        try:
            path = resolve(listing.handle_of(handle), refresh=refresh, sha256=sha256)
        except ResolverError as error:
            errors.append(error)
            rows.append({"handle": handle, "path": None, "error": described(error)})
            if not screen.as_json:
                screen.error(error)
        else:
            rows.append({"handle": handle, "path": path})
            if not screen.as_json:
                screen.data(path)
    if screen.as_json:
        screen.facts({"models": rows, **({"error": described(errors[0])} if errors else {})})
    return errors[0].exit_code if errors else 0


@cli.command()
@click.argument("handle")
@common
@click.pass_obj
def load(screen: Screen, handle: str) -> int:
    """Load a model; print its signatures, and where its variables live."""
    from tfimm_resolver import loading

    facts = loading.describe(loading.load(listing.handle_of(handle)))
    if screen.as_json:
        screen.facts({"handle": handle, **facts})
        return 0
    for name, signature in facts["signatures"].items():
        screen.data(click.style(name, bold=True))
        rows = [
            [f"  {side}", tensor["name"], tensor["dtype"], tensor["shape"]] for side in signature for tensor in signature[side]
        ]
        for line in table(rows) if rows else ():
            screen.data(line)
    if not facts["signatures"]:
        screen.say("it has no signatures")
    for place in facts["variables"]:
        screen.data(f"{place['count']} variables, {in_words(place['size_bytes'])}, on {place['device']}")
    return 0


@cli.command()
@common
@click.pass_obj
def ls(screen: Screen) -> int:
    """List what is cached, and whether its files are there."""
    models = listing.models()
    if screen.as_json:
        screen.facts({"models": [model.facts() for model in models]})
    elif screen.is_quiet:
        for model in models:
            screen.data(model.name)
    else:
        for line in table(_rows(models, screen.columns())):
            screen.data(line)
        _sum_up(screen, models)
    return 0


def _rows(models: Sequence[Model], columns: int | None) -> list[list[str]]:
    """Under 60 columns the bar goes first, then the time of use; names are cut on a terminal only."""
    has_bar = columns is not None and columns >= 60
    has_use = columns is None or columns >= 45
    width = None if columns is None else max(12, columns - 22 - 14 * has_bar - 12 * has_use)
    largest = max((model.size_bytes for model in models), default=0)
    head = ["MODEL", "   SIZE", *[""] * has_bar, *["USED"] * has_use, "STATE"]
    rows = [[click.style(cell, bold=True) for cell in head]]
    for model in models:
        rows.append(
            [
                cut(model.name, width),
                f"{in_words(model.size_bytes):>7}",
                *[bar(model.size_bytes, largest)] * has_bar,
                *[click.style(ago(model.used_s), dim=True)] * has_use,
                state(model.state),
            ]
        )
    return rows


def _sum_up(screen: Screen, models: Sequence[Model]) -> None:
    damaged = sum(model.state == "damaged" for model in models)
    size_bytes = sum(model.size_bytes for model in models)
    mend = f"; {damaged} damaged: tfimm-resolver verify --repair" if damaged else ""
    screen.sum(f"{_count(len(models), 'model')}, {in_words(size_bytes)} in {settings.urls_root().value}{mend}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@cli.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@common
@click.pass_obj
def rm(screen: Screen, models: Sequence[str]) -> int:
    """Remove models from the cache; MODEL is what ls shows, a handle, or the beginning of its sha1."""
    chosen = listing.select(models)
    for model in chosen:
        if model.entry is None:
            raise CacheError(f"{model.path} was not fetched by this command, but put there by hand", fix="Remove it by hand.")
    for model in chosen:
        assert model.entry is not None
        listing.cache().remove(model.entry.name)
        if not screen.as_json:
            screen.say(f"removed {model.name}, {in_words(model.size_bytes)}")
    if screen.as_json:
        screen.facts({"removed": [model.facts() for model in chosen]})
    return 0


@cli.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--repair", is_flag=True, help="Fetch again what is damaged.")
@common
@click.pass_obj
def verify(screen: Screen, models: Sequence[str], repair: bool) -> int:
    """Read every file and compare it with what was fetched; exits 6 if one is damaged, 7 if nothing is known of one."""
    rows = []
    for model in listing.select(models):
        row = _verified(model)
        if row["state"] == "damaged" and repair:
            resolve(_handle_to_repair(model), refresh=True)
            row |= {"state": "whole", "repaired": True}
        rows.append(row)
        if not screen.as_json:
            _print_verified(screen, model, row)
    states = [row["state"] for row in rows]
    if screen.as_json:
        screen.facts({"models": rows})
    else:
        screen.sum(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)) or "nothing is cached")
    return EXIT_DAMAGED if "damaged" in states else EXIT_UNVERIFIABLE if "unverifiable" in states else 0


def _verified(model: Model) -> dict[str, Any]:
    started_s = time.monotonic()
    files = model.entry.record.files if model.entry else None
    faults = list(record.hash_faults(model.path, files)) if files is not None else []
    if files is None and model.entry and model.entry.fault:
        faults = [model.entry.fault]
    word = "damaged" if faults else "unverifiable" if files is None else "whole"
    seconds = round(time.monotonic() - started_s, 3)
    return {**model.facts(), "state": word, "faults": faults, "files": len(files or ()), "seconds": seconds}


def _handle_to_repair(model: Model) -> str:
    handle = model.entry.record.handle if model.entry else ""
    if not handle or handle.endswith("?…"):
        raise CacheError(
            f"the whole handle of {model.name} was not kept, as its query may hold a secret",
            fix="Fetch it again yourself: tfimm-resolver resolve --refresh HANDLE.",
        )
    return handle


def _print_verified(screen: Screen, model: Model, row: dict[str, Any]) -> None:
    size = in_words(model.size_bytes)
    note = ", fetched again" if row.get("repaired") else ""
    screen.data(f"{state(row['state'])}  {model.name}  {_count(row['files'], 'file')}  {size}  {row['seconds']:.1f} s{note}")
    for fault in row["faults"]:
        screen.data(f"  {fault}")
    if row["state"] == "damaged":
        screen.data(f"  mend: tfimm-resolver verify --repair {model.name}")


@cli.command()
@common
@click.pass_obj
def path(screen: Screen) -> int:
    """Print where models are kept, and which setting says so."""
    roots = {"urls": settings.urls_root(), "names": settings.names_root()}
    if screen.as_json:
        facts = {
            kind: {"path": root.value, "source": root.source, "free_bytes": _free_bytes(root.value)}
            for kind, root in roots.items()
        }
        screen.facts(facts)
    elif screen.is_quiet:
        screen.data(roots["urls"].value)
    else:
        for line in table([[f"{kind:<5}", root.value, root.source] for kind, root in roots.items()]):
            screen.data(line)
    return 0


def _free_bytes(place: str) -> int | None:
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return shutil.disk_usage(place).free if os.path.isdir(place) else None


@cli.command()
@common
@click.pass_obj
def demo(screen: Screen) -> int:
    """Serve a small SavedModel on loopback, resolve, load and run it; nothing of it stays."""
    from tfimm_resolver import demo as story

    steps = story.run()
    if screen.as_json:
        screen.facts({"steps": [step.facts() for step in steps]})
        return 0
    head = [click.style(cell, bold=True) for cell in ("STEP", "RESULT", "BYTES", "        TIME")]
    for line in table([head, *([step.name, step.result, step.bytes_in_words(), f"{step.seconds * 1000:9.2f} ms"] for step in steps)]):
        screen.data(line)
    return 0
