"""A model that is removed while it is exported."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import resolve
from tfimm_resolver.bundles import writer
from tfimm_resolver.bundles.model_files import hold
from tfimm_resolver.errors import CacheError
from tfimm_resolver.maintenance import inventory

REMOVE = """
    import sys
    from tfimm_resolver import maintenance
    (result,) = maintenance.remove(sys.argv[1])
    print(result.error)
"""


class Stream(io.BytesIO):
    """A stream that does something once when so many bytes were written."""

    def __init__(self, after_bytes: int, action: Any) -> None:
        super().__init__()
        self._after_bytes, self._action = after_bytes, action

    def write(self, data: Any) -> int:
        written = super().write(data)
        if self._action and self.tell() > self._after_bytes:
            action, self._action = self._action, None
            action()
        return written


@pytest.fixture
def handles(origin: Origin) -> list[str]:
    files = {**MODEL, "variables/large": bytes(300_000), "variables/second": bytes(300_000)}
    found = [origin.put(f"/m{number}.tar.gz", tar_gz(files)) for number in range(2)]
    for handle in found:
        resolve(handle)
    give_up_all()
    return found


def test_another_process_cannot_remove_a_model_that_is_exported(handles: list[str]) -> None:
    messages: list[str] = []
    (model,) = inventory.select(handles[0])
    writer.write([model], Stream(10_000, lambda: messages.append(run(REMOVE, handles[0]))))
    assert "is in use by process" in messages[0] and Path(model.path).is_dir()


@pytest.mark.parametrize("after_bytes", [0, 10_000, 320_000, 700_000], ids=["start", "first", "second", "next model"])
def test_a_model_that_another_program_removes_is_an_error_that_says_so(handles: list[str], after_bytes: int) -> None:
    models = inventory.select(handles)
    last = max(models, key=lambda model: model.entry.name if model.entry else "")
    victim = last if after_bytes > 600_000 else min(models, key=lambda model: model.entry.name if model.entry else "")
    with pytest.raises(CacheError, match="was removed from the cache while it was exported") as caught:
        writer.write(models, Stream(after_bytes, lambda: shutil.rmtree(victim.path)))
    assert "Export again" in str(caught.value) and victim.path in str(caught.value)


def test_a_model_that_is_gone_cannot_be_held(handles: list[str]) -> None:
    (model,) = inventory.select(handles[0])
    hold(model)
    give_up_all()
    shutil.rmtree(model.path)
    with pytest.raises(CacheError, match="was removed"):
        hold(model)
