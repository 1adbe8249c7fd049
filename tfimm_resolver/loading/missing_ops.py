"""Explains that a model needs operations of packages that are not imported: which packages, of the whole model at once."""

from __future__ import annotations

import re
import sys

from tfimm_resolver.errors import MissingOpError
from tfimm_resolver.errors.advice import Advice, Fix
from tfimm_resolver.loading import devices
from tfimm_resolver.saved_model.graph import list_ops
from tfimm_resolver.saved_model.messages import open_source
from tfimm_resolver.saved_model.needs import Need, find_need, find_needs

_MISSING_OP = re.compile(r"Op type not registered '([^']+)'")


def explain(path: str, text: str) -> MissingOpError | None:
    """Return the error for an operation that TensorFlow does not know; None if it failed for another reason."""
    if (found := _MISSING_OP.search(text)) is None:
        return None
    op = found[1]
    needs = [need for need in _list_needs(path, op) if need.module not in sys.modules]
    packages = f"\n  the model needs {', '.join(need.package for need in needs)}" if needs else ""
    return MissingOpError(
        f"the model needs the op {op!r}, which is not part of TensorFlow{packages}", fix=_suggest_packages(needs)
    )


def _list_needs(path: str, op: str) -> tuple[Need, ...]:
    """Return the packages that the model needs; TensorFlow stops at the first operation, and the next may be of another."""
    ops = {op}
    if devices.is_local_path(path) and find_need(op) is not None:
        try:
            with open_source(f"{path}/saved_model.pb") as source:
                ops |= list_ops(source)
        except (OSError, ValueError):  # in another format
            pass
    return find_needs(ops)


def _suggest_packages(needs: list[Need]) -> Fix:
    if not needs:
        known = "the model's documentation should name it."
        return Advice(
            python=f"Import the package that provides this op before loading; {known}",
            command=f"Load the model in Python, after importing the package that provides this op; {known}",
        )
    install = f"pip install {' '.join(need.package for need in needs)}, then"
    modules = ", ".join(need.module for need in needs)
    return Advice(
        python=f"{install} import {modules} before loading.",
        command=f"{install} import {modules} and load the model in Python.",
    )
