"""Model names: directories, overrides in a process, and what may be a name."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage


@scenario
def names_in_directories(stage: Stage) -> None:
    """Below get_dir(), below ~/.cache, in the working directory, and half a model."""
    stage.put_files(stage.home / ".cache/tfimm/one", MODEL)
    stage.put_files(stage.home / ".cache/two", MODEL)
    stage.put_files(stage.project / "three", MODEL)
    stage.put_files(stage.home / ".cache/tfimm/half", {"variables/variables.index": b"an index"})
    for name in ("one", "two", "three", "half", "ones"):
        stage.cli("resolve", name)
        stage.cli("why", name)


@scenario
def why_for_handles(stage: Stage) -> None:
    """Where a handle leads, cached or not, and as JSON."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("why", handle)
    stage.cli("resolve", handle)
    stage.cli("why", handle)
    stage.cli("why", "--json", handle)
    stage.cli("why", "ftp://h/m")
    stage.cli("why", f"{handle}#sha256={'0' * 64}")


@scenario
def overrides_in_a_process(stage: Stage) -> None:
    """set_model_cache, list_cached_models, cached_model_path, clear_model_cache, using."""
    stage.put_files(stage.project / "model", MODEL)
    stage.python(
        """
        import tfimm_resolver as t
        t.set_model_cache("m", "~/nowhere")
        t.set_model_cache("n", "model")
        t.set_model_cache("https://tfhub.dev/google/nnlm/2", "model")
        print(t.list_cached_models())
        for name in ("m", "n", "https://tfhub.dev/google/nnlm/2", "o"):
            attempt(t.cached_model_path, name)
            attempt(t.resolve, name)
        t.clear_model_cache("m")
        t.clear_model_cache("never set")
        print(t.list_cached_models())
        with t.using(models={"p": "model"}):
            print(t.list_cached_models())
            attempt(t.resolve, "p")
        attempt(t.resolve, "p")
        """
    )


@scenario
def invalid_names(stage: Stage) -> None:
    """Empty, with separators, and of another type."""
    stage.python(
        """
        import tfimm_resolver as t
        for name in ("", " ", ".", "..", "a/b", "a" + chr(92) + "b", "a" + chr(0), None, 3):
            attempt(t.set_model_cache, name, "/nowhere")
            attempt(t.cached_model_path, name)
        """
    )


@scenario
def directories_in_a_process(stage: Stage) -> None:
    """get_dir and set_dir, and what set_dir does to URL handles."""
    stage.put_files(stage.root / "other/m", MODEL)
    stage.python(
        """
        import sys
        import tfimm_resolver as t
        print(t.get_dir())
        t.set_dir(sys.argv[1])
        print(t.get_dir())
        attempt(t.resolve, "m")
        attempt(t.resolve, sys.argv[2])
        t.set_dir(None)
        print(t.get_dir())
        attempt(t.resolve, "m")
        """,
        f"{stage.root}/other",
        stage.origin.put("/m.tar.gz", tar_gz()),
    )
