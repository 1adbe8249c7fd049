"""Archives as real programs write them, with the files that each one holds; made on the spot."""

from __future__ import annotations

import ctypes.util
import importlib.util
import shutil

from tests.fakes.corpus import commands, handmade, python_tools

GROUPS = {**commands.GROUPS, **python_tools.GROUPS, **handmade.GROUPS}
if shutil.which("bsdtar") is None and importlib.util.find_spec("libarchive") and ctypes.util.find_library("archive"):
    GROUPS["bsdtar"] = python_tools.LIBARCHIVE
