"""The absl flags that this package shares with tensorflow_hub, whichever of the two is imported first."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tfimm_resolver._util.import_hooks import hook_import, is_imported

CACHE_DIR = "tfhub_cache_dir"
LOAD_FORMAT = "tfhub_model_load_format"
LOAD_FORMATS = ("COMPRESSED", "UNCOMPRESSED", "AUTO")


def value(name: str) -> str:
    """Return the flag's value, whether flags were parsed or not; empty if absl is not in use."""
    # FLAGS.name raises for unparsed flags, and a notebook never parses them.
    flags = getattr(sys.modules.get("absl.flags"), "FLAGS", {})
    return (flags[name].value or "") if name in flags else ""


def install_absl_hooks() -> None:
    """Define the flags once absl.flags is imported; this package never imports absl itself (it takes 45 ms)."""
    hook_import("absl.flags", _define_after)
    hook_import("tensorflow_hub.resolver", _preserve_values)


@contextlib.contextmanager
def _define_after() -> Iterator[None]:
    yield
    from absl import flags

    # allow_override: tensorflow_hub later defines the same names without checking whether they exist.
    if CACHE_DIR not in flags.FLAGS:
        flags.DEFINE_string(CACHE_DIR, None, "Directory for downloaded models.", allow_override=True)
    if LOAD_FORMAT not in flags.FLAGS:
        flags.DEFINE_enum(
            LOAD_FORMAT,
            "AUTO",
            LOAD_FORMATS,
            "COMPRESSED and AUTO download and unpack a model; UNCOMPRESSED reads it from its remote location.",
            allow_override=True,
        )


@contextlib.contextmanager
def _preserve_values() -> Iterator[None]:
    """Carry values that were set on our flags over to tensorflow_hub's definitions, which replace them.

    absl itself carries over only parsed values, not those set by ``set_default`` or by assignment to ``.value``.
    """
    before = _snapshot()
    yield
    if not is_imported("absl.flags"):
        return
    from absl.flags import FLAGS

    for name, old in before.items():
        new = FLAGS[name]
        if new is old["flag"]:
            continue
        if old["default"] != new.default:
            FLAGS.set_default(name, old["default"])
        new.value = old["value"]


def _snapshot() -> dict[str, dict[str, Any]]:
    flags = getattr(sys.modules.get("absl.flags"), "FLAGS", {})
    return {
        name: {"flag": flags[name], "default": flags[name].default, "value": flags[name].value}
        for name in (CACHE_DIR, LOAD_FORMAT)
        if name in flags
    }
