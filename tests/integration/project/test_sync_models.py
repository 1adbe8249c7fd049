"""Tests of ``project.sync_models``: fetches the models of the models file."""

from __future__ import annotations

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.pins import WriteModels, make_pinned
from tests.fakes.pins import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.pins import write_models as write_models  # noqa: PLC0414  # a fixture
from tfimm_resolver.errors import UnknownHandleError
from tfimm_resolver.project.sync_models import sync


def test_missing_models_are_fetched_once_and_a_check_fetches_nothing(write_models: WriteModels, origin: Origin) -> None:
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz())), gone=make_pinned(f"{origin.url}/gone.tgz"))
    assert {result.state for result in sync(check=True)} == {"missing"} and origin.requests == []
    found = {result.model.name: result for result in sync()}
    assert {name: result.state for name, result in found.items()} == {"m": "fetched", "gone": "failed"}
    assert found["gone"].error is not None and files_in(found["m"].path or "") == MODEL
    assert [result.state for result in sync(["m"])] == ["cached"] and origin.requests.count("/m.tgz") == 1
    with pytest.raises(UnknownHandleError):
        sync(["no_such_model"])
