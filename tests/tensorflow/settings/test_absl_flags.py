"""The two absl flags are shared with tensorflow_hub, whichever package is imported first, and they take effect."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import run

OURS_FIRST = "import tfimm_resolver, tensorflow_hub"
HUB_FIRST = "import tensorflow_hub, tfimm_resolver"
BOTH_ORDERS = pytest.mark.parametrize("imports", [OURS_FIRST, HUB_FIRST], ids=["ours first", "hub first"])

_AGREED = """
from absl.flags import FLAGS
from tensorflow_hub import resolver
from tfimm_resolver import settings

def agreed():
    assert resolver.tfhub_cache_dir() == settings.urls_root().value, (resolver.tfhub_cache_dir(), settings.urls_root())
    assert resolver.model_load_format() == settings.load_format(), (resolver.model_load_format(), settings.load_format())
    return settings.urls_root().value, settings.urls_root().source, settings.load_format()
"""


def _join(*parts: str) -> str:
    """Return snippets, each with its own indentation, as one program."""
    return "\n".join(map(textwrap.dedent, parts))


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty the variables that override the flags; an empty variable counts as unset."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", "")
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "")


def test_importing_the_package_does_not_import_absl() -> None:
    assert run("import sys, tfimm_resolver as t; t.get_dir(); print('absl' in sys.modules)") == "False"


@pytest.mark.parametrize("imports", ["import tfimm_resolver, absl.flags", "import absl.flags, tfimm_resolver"])
def test_defines_both_flags_as_soon_as_absl_is_there(imports: str) -> None:
    printed = run(f"""
        {imports}
        from absl.flags import FLAGS
        for name in ("tfhub_cache_dir", "tfhub_model_load_format"):
            flag = FLAGS[name]
            print(flag.flag_type(), flag.default, flag.value, flag.allow_override, *getattr(flag.parser, "enum_values", ()))
        """)
    assert printed.splitlines() == [
        "string None None True",
        "string enum AUTO AUTO True COMPRESSED UNCOMPRESSED AUTO",
    ]


def test_has_no_effect_if_absl_is_not_in_use(tmp_path: Path) -> None:
    printed = run(
        """
        import sys
        sys.argv = ["program", "--tfhub_cache_dir=/from/the/flag"]
        from tfimm_resolver.settings import absl_flags
        from tfimm_resolver import settings
        print([absl_flags.value(absl_flags.CACHE_DIR), settings.urls_root().source, settings.load_format()])
        """,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert printed == "['', '$XDG_CACHE_HOME', 'AUTO']"


@BOTH_ORDERS
def test_is_what_tensorflow_hub_reads_too(imports: str, server: ForkServer) -> None:
    run_program = run if imports == OURS_FIRST else server.run  # the server has imported TensorFlow, and with it absl
    program = _join(
        imports,
        _AGREED,
        """
        import absl.flags
        from absl.testing import flagsaver

        # Unparsed, as in a notebook.
        place, load_format = FLAGS["tfhub_cache_dir"], FLAGS["tfhub_model_load_format"]
        assert place.flag_type() == "string" and place.default is None
        assert load_format.flag_type() == "string enum" and load_format.default == "AUTO"
        assert sorted(load_format.parser.enum_values) == ["AUTO", "COMPRESSED", "UNCOMPRESSED"]
        assert resolver.tfhub_cache_dir() is None and settings.load_format() == resolver.model_load_format() == "AUTO"
        FLAGS["tfhub_cache_dir"].value = "/assigned"
        assert agreed() == ("/assigned", "--tfhub_cache_dir", "AUTO")

        # Parsed after both imports.
        FLAGS(["program", "--tfhub_cache_dir=/parsed", "--tfhub_model_load_format=UNCOMPRESSED"])
        assert agreed() == ("/parsed", "--tfhub_cache_dir", "UNCOMPRESSED")
        with flagsaver.flagsaver(tfhub_cache_dir="/saved", tfhub_model_load_format="COMPRESSED"):
            assert agreed() == ("/saved", "--tfhub_cache_dir", "COMPRESSED")
        assert agreed() == ("/parsed", "--tfhub_cache_dir", "UNCOMPRESSED")
        try:
            FLAGS(["program", "--tfhub_model_load_format=ZIPPED"])
        except absl.flags.IllegalFlagValueError:
            pass
        else:
            raise AssertionError("an unknown format was accepted")

        # The environment overrides the flags.
        import os
        os.environ["TFHUB_CACHE_DIR"], os.environ["TFHUB_MODEL_LOAD_FORMAT"] = "/environment", "COMPRESSED"
        assert agreed() == ("/environment", "$TFHUB_CACHE_DIR", "COMPRESSED")
        os.environ["TFHUB_CACHE_DIR"], os.environ["TFHUB_MODEL_LOAD_FORMAT"] = "", ""
        assert agreed() == ("/parsed", "--tfhub_cache_dir", "UNCOMPRESSED")
        """,
    )
    run_program(program)


_SETTINGS = {
    "value and default": """
        FLAGS["tfhub_cache_dir"].value = "/kept"
        FLAGS.set_default("tfhub_model_load_format", "UNCOMPRESSED")
        """,
    "default and attribute": """
        FLAGS.set_default("tfhub_cache_dir", "/kept")
        FLAGS.tfhub_model_load_format = "UNCOMPRESSED"
        """,
}


@BOTH_ORDERS
@pytest.mark.parametrize("how", _SETTINGS)
def test_keeps_what_was_set_before_the_other_package_was_imported(imports: str, how: str, server: ForkServer) -> None:
    first, second = imports.removeprefix("import ").split(", ")
    program = _join(
        f"import {first}",
        "from absl.flags import FLAGS",
        _SETTINGS[how],
        f"import {second}",
        _AGREED,
        """
        assert agreed() == ("/kept", "--tfhub_cache_dir", "UNCOMPRESSED"), agreed()
        FLAGS(["program"])
        assert agreed() == ("/kept", "--tfhub_cache_dir", "UNCOMPRESSED"), "parsing an empty command line reset it"
        assert FLAGS.tfhub_cache_dir == "/kept"
        FLAGS(["program", "--tfhub_cache_dir=/given", "--tfhub_model_load_format=COMPRESSED"])
        assert agreed() == ("/given", "--tfhub_cache_dir", "COMPRESSED")
        """,
    )
    server.run(program)


def test_a_default_and_a_value_survive_the_import_of_tensorflow_hub(server: ForkServer) -> None:
    program = _join(
        """
        import tfimm_resolver
        from absl.flags import FLAGS
        from absl.testing import flagsaver

        FLAGS.set_default("tfhub_cache_dir", "/default")
        FLAGS["tfhub_cache_dir"].value = "/assigned"
        saved = flagsaver.save_flag_values()
        FLAGS["tfhub_model_load_format"].value = "COMPRESSED"
        import tensorflow_hub
        """,
        _AGREED,
        """
        assert agreed() == ("/assigned", "--tfhub_cache_dir", "COMPRESSED"), agreed()
        assert FLAGS["tfhub_cache_dir"].default == "/default"
        flagsaver.restore_flag_values(saved)
        assert agreed() == ("/assigned", "--tfhub_cache_dir", "AUTO"), "flagsaver did not restore the flag"
        FLAGS["tfhub_cache_dir"].unparse()
        assert agreed()[0] == "/default"
        """,
    )
    server.run(program)


def test_survives_a_flagsaver_that_removes_the_flags() -> None:
    printed = run("""
        from absl.testing import flagsaver
        from absl.flags import FLAGS
        with flagsaver.flagsaver():
            import tfimm_resolver
            assert "tfhub_cache_dir" in FLAGS
        from tfimm_resolver import settings
        assert "tfhub_cache_dir" not in FLAGS
        print(settings.urls_root().source, settings.load_format(), sep=" | ")
        """)
    assert printed == "default, temporary | AUTO"


_APP = """
import sys
{before}
from absl import app
from absl.flags import FLAGS

def main(argv):
    {inside}
    from tfimm_resolver import settings
    assert argv[1:] == ["rest"], argv
    print(settings.urls_root().value, settings.load_format(), FLAGS.tfhub_cache_dir, sep=" | ")

sys.argv = ["program", "--tfhub_cache_dir=/run", "--tfhub_model_load_format=UNCOMPRESSED", "rest"]
app.run(main)
"""


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        ("import tfimm_resolver", "pass"),
        ("import tfimm_resolver", "import tensorflow_hub"),
        ("import tensorflow_hub", "import tfimm_resolver"),
    ],
    ids=["ours alone", "hub in main", "ours in main"],
)
def test_is_parsed_by_app_run(before: str, inside: str, server: ForkServer) -> None:
    run_program = server.run if "tensorflow_hub" in before + inside else run
    assert run_program(_APP.format(before=before, inside=inside)) == "/run | UNCOMPRESSED | /run"


def test_the_flag_sets_the_cache_directory(origin: Origin, tmp_path: Path) -> None:
    url = origin.put_model("/model/1", tar_gz())
    code = """
        import sys
        import tfimm_resolver
        from absl.flags import FLAGS
        FLAGS(sys.argv)
        print(tfimm_resolver.resolve(FLAGS.tfhub_cache_dir and sys.argv[-1]))
        """
    path = Path(run(code, f"--tfhub_cache_dir={tmp_path / 'by flag'}", url))
    assert path.parent == tmp_path / "by flag"
    assert (path / "saved_model.pb").is_file()
    path = Path(run(code, f"--tfhub_cache_dir={tmp_path / 'by flag'}", url, TFHUB_CACHE_DIR=str(tmp_path / "stronger")))
    assert path.parent == tmp_path / "stronger"
    assert (path / "saved_model.pb").is_file()


def test_the_flag_makes_resolve_return_the_remote_location(origin: Origin, tmp_path: Path) -> None:
    url = origin.put_model("/model/1", tar_gz())
    origin.put("/model/1?tf-hub-format=uncompressed", b"gs://bucket/model/1", status=303)
    code = """
        import sys
        import tfimm_resolver
        from absl.flags import FLAGS
        FLAGS(sys.argv)
        print(tfimm_resolver.resolve(sys.argv[-1]))
        """
    cache = f"--tfhub_cache_dir={tmp_path / 'by flag'}"
    assert run(code, cache, "--tfhub_model_load_format=UNCOMPRESSED", url) == "gs://bucket/model/1"
    assert origin.requests == ["/model/1?tf-hub-format=uncompressed"]
    assert not (tmp_path / "by flag").exists()
    for load_format in ("COMPRESSED", "AUTO"):
        assert run(code, cache, f"--tfhub_model_load_format={load_format}", url).startswith(str(tmp_path / "by flag"))
    assert origin.requests[1:] == ["/model/1?tf-hub-format=compressed"]
