"""What needs TensorFlow, which takes seconds to start: few scenarios, each with one process."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import REAL, tar_gz
from tests.golden.stage import Stage


@scenario
def load_prints_signatures(stage: Stage) -> None:
    """The command line loads a real module."""
    stage.cli("load", stage.origin.put("/half.tar.gz", REAL.read_bytes()))


@scenario
def load_errors_in_python(stage: Stage) -> None:
    """load() of a module, of what is not a SavedModel, of a broken graph, and of nothing."""
    handles = [
        stage.origin.put("/half.tar.gz", REAL.read_bytes()),
        stage.origin.put("/notes.tar.gz", tar_gz({"notes.txt": b"no model"})),
        stage.origin.put("/broken.tar.gz", tar_gz()),
        stage.origin.url + "/missing.tar.gz",
    ]
    stage.python(
        """
        import sys
        import tfimm_resolver
        model = tfimm_resolver.load(sys.argv[1])
        print(sorted(model.signatures), model.signatures["default"](__import__("tensorflow").constant([4.0])))
        print(tfimm_resolver.load_options(sys.argv[1]).experimental_io_device)
        for handle in sys.argv[2:]:
            attempt(tfimm_resolver.load, handle)
        """,
        *handles,
    )


@scenario
def tensorflow_hub_resolves_and_loads(stage: Stage) -> None:
    """tensorflow_hub asks this package: hub.resolve, hub.load, and errors."""
    handles = [
        stage.origin.put_model("/google/half/1", REAL.read_bytes()),
        stage.origin.put("/cut.tar.gz", REAL.read_bytes()[:-20]),
        stage.origin.url + "/missing/1",
        "no_such_model",
    ]
    stage.python(
        """
        import sys
        import tfimm_resolver
        import tensorflow_hub as hub
        attempt(hub.resolve, sys.argv[1])
        print(sorted(hub.load(sys.argv[1]).signatures))
        for handle in sys.argv[2:]:
            attempt(hub.resolve, handle)
        """,
        *handles,
    )
