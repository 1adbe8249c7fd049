"""Archives as real programs write them, with the files that each one holds; made on the spot."""

from __future__ import annotations

import shutil

from tests.fakes.corpus import commands, handmade, python_tools

GROUPS = {**commands.GROUPS, **python_tools.GROUPS, **handmade.GROUPS}
if shutil.which("bsdtar") is None:
    GROUPS["bsdtar"] = python_tools.LIBARCHIVE
