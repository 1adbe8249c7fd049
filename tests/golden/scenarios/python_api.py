"""The package as a program uses it: what is public, what calls return, and what they raise."""

from __future__ import annotations

import hashlib

from tests.golden.registry import scenario
from tests.golden.servers import tar_gz
from tests.golden.stage import Stage

HEAVY = (
    "tensorflow",
    "numpy",
    "absl",
    "requests",
    "urllib3",
    "ssl",
    "rich",
    "click",
    "filelock",
    "isal",
    "zipfile",
    "tomlkit",
)


@scenario
def public_names(stage: Stage) -> None:
    """Names, signatures and first lines of docstrings."""
    stage.python(
        """
        import inspect
        import tfimm_resolver
        from tfimm_resolver import errors, hub
        for module in (tfimm_resolver, hub):
            for name in sorted(module.__all__):
                found = getattr(module, name)
                signature = inspect.signature(found) if inspect.isfunction(found) else ""
                print(module.__name__, name, signature, (found.__doc__ or "").splitlines()[0])
        for name, kind in sorted(vars(errors).items()):
            if inspect.isclass(kind) and issubclass(kind, BaseException):
                print(name, [base.__name__ for base in kind.__mro__[1:]], getattr(kind, "exit_code", None))
        attempt(getattr, tfimm_resolver, "nonsense")
        """
    )


@scenario
def resolve_in_python(stage: Stage) -> None:
    """Cold, warm, with pins, refreshed, and every kind of error."""
    pin = hashlib.sha256(tar_gz()).hexdigest()
    stage.python(
        """
        import sys
        import tfimm_resolver as t
        handle, pin = sys.argv[1:3]
        attempt(t.resolve, handle)
        attempt(t.resolve, handle, sha256=pin)
        attempt(t.resolve, handle, sha256="0" * 64)
        attempt(t.resolve, handle, sha256="abc")
        attempt(t.resolve, handle, refresh=True)
        attempt(t.cached_model_path, handle)
        for other in ("no_such_model", "ftp://h/m", "", "http://127.0.0.1:9/m.tar.gz", handle + "x"):
            attempt(t.resolve, other)
        for wrong in (None, 3, b"m"):
            attempt(t.resolve, wrong)
        """,
        stage.origin.put("/m.tar.gz", tar_gz()),
        pin,
    )


@scenario
def errors_are_described(stage: Stage) -> None:
    """repr, pickles and parts of an error."""
    stage.python(
        """
        import pickle, sys
        import tfimm_resolver as t
        try:
            t.resolve(sys.argv[1])
        except t.errors.ResolverError as error:
            print(repr(error))
            print(error.exit_code, error.code, sorted(vars(error)))
            print(repr(pickle.loads(pickle.dumps(error))))
        """,
        f"{stage.origin.url}/missing.tar.gz",
    )


@scenario
def progress_lines_in_python(stage: Stage) -> None:
    """Silent without a terminal, lines on demand."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    code = "import sys, tfimm_resolver\nattempt(tfimm_resolver.resolve, sys.argv[1], refresh=True)"
    stage.python(code, handle)
    stage.python(code, handle, TFHUB_DOWNLOAD_PROGRESS="1")


@scenario
def imports_stay_light(stage: Stage) -> None:
    """Which large packages an import, and a warm resolve, bring along."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", handle)
    stage.python(
        """
        import sys
        heavy = set(sys.argv[2:]) & set(sys.modules)
        import tfimm_resolver
        print(sorted(set(sys.argv[2:]) & set(sys.modules) - heavy))
        attempt(tfimm_resolver.resolve, sys.argv[1])
        print(sorted(set(sys.argv[2:]) & set(sys.modules) - heavy))
        """,
        handle,
        *HEAVY,
    )
