"""The texts, codes and kinds of errors."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from tfimm_resolver import errors
from tfimm_resolver.errors import advice, base, cache, loading

ADVICE = advice.Advice(python="Call f().", command="Run f.")


def test_the_text_is_followed_by_the_fix_for_python() -> None:
    error = base.ResolverError("it failed", fix=ADVICE)
    assert (str(error), error.text, error.fix, error.advice) == ("it failed\n  Call f().", "it failed", "Call f().", ADVICE)


def test_without_a_fix_the_text_stands_alone() -> None:
    assert str(base.ResolverError("it failed")) == "it failed"


def test_texts_and_fixes_show_neither_secrets_nor_control_characters() -> None:
    error = base.ResolverError(
        "https://ada:hunter22@h/m?sig=hunter22 failed\x1b[2J", fix=advice.Advice("see https://ada:hunter22@h", "a\x07")
    )
    for text in (str(error), error.text, error.advice.python, error.advice.command):
        assert "hunter22" not in text and text.replace("\n  ", "").isprintable()
    assert "https://h/m" in error.text and "\\x1b" in error.text


def test_the_exception_that_led_to_an_error_shows_no_secret_either() -> None:
    cause = OSError("https://ada:hunter22@h/m: refused")
    with pytest.raises(base.FetchError) as caught:
        try:
            raise cause
        except OSError as error:
            raise base.FetchError("it failed") from error
    assert caught.value.__cause__ is cause and str(cause) == "https://h/m: refused"


@pytest.mark.parametrize(
    ("kind", "code", "exit_code", "builtin"),
    [
        (base.HandleError, "handle", 2, ValueError),
        (base.UnknownHandleError, "unknown-handle", 2, FileNotFoundError),
        (base.MissingOverrideError, "unknown-handle", 2, FileNotFoundError),
        (base.ModelsFileError, "models-file", 2, ValueError),
        (base.FetchError, "fetch", 3, OSError),
        (base.NotFoundError, "not-found", 3, FileNotFoundError),
        (base.UnknownRefError, "unknown-ref", 3, ValueError),
        (base.AccessError, "access", 3, PermissionError),
        (base.OfflineError, "offline", 3, OSError),
        (base.TransferTimeoutError, "transfer-timeout", 3, TimeoutError),
        (base.IntegrityError, "integrity", 3, OSError),
        (base.HashError, "hash", 3, RuntimeError),
        (base.ArchiveError, "archive", 3, OSError),
        (base.SourceError, "source", 3, OSError),
        (cache.CacheError, "cache", 4, OSError),
        (cache.LockTimeoutError, "lock-timeout", 4, TimeoutError),
    ],
)
def test_each_error_has_a_code_an_exit_code_and_a_builtin_base(
    kind: type[base.ResolverError], code: str, exit_code: int, builtin: type[Exception]
) -> None:
    error = kind("it failed")
    assert (error.code, error.exit_code) == (code, exit_code)
    assert isinstance(error, builtin) and error.text == "it failed"
    assert str(error) == "\n  ".join(filter(None, ("it failed", error.fix)))


@pytest.mark.parametrize("kind", [base.IntegrityError, base.ArchiveError, base.UnsupportedMemberError, loading.WeightsError])
def test_damage_has_an_advice_of_its_own_unless_the_place_knows_better(kind: type[base.ResolverError]) -> None:
    assert "its publisher" in kind("it failed").fix or "where it comes from" in kind("it failed").fix
    assert kind("it failed", fix="Wait.").fix == "Wait."
    assert kind("it failed").has_usual_fix and not kind("it failed", fix="Wait.").has_usual_fix


def test_another_message_keeps_the_kind_of_error_and_its_facts() -> None:
    error = base.NotFoundError("gone", fix=ADVICE, is_passing=True, status=404, retry_after_s=2.5).with_message("not here")
    assert type(error) is base.NotFoundError and error.text == "not here" and error.advice == ADVICE
    assert (error.is_passing, error.status, error.retry_after_s) == (True, 404, 2.5)


@pytest.mark.parametrize(("fix", "shown"), [("", ""), ("Try again.", "Try again."), (None, "Call f().")])
def test_another_message_may_have_another_fix_or_none(fix: str | None, shown: str) -> None:
    assert base.FetchError("gone", fix=ADVICE).with_message("not here", fix).fix == shown


KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_fix_also_as_a_copy(kind: type[base.ResolverError]) -> None:
    error = kind("m: it failed", fix="Do this.")
    for one in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(one), str(one), one.args) == (kind, "m: it failed\n  Do this.", ("m: it failed\n  Do this.",))
        assert (one.text, one.fix, one.__dict__) == (error.text, error.fix, error.__dict__)
        assert traceback.format_exception_only(one)[-1].splitlines()[-1] == "  Do this."
    assert str(pickle.loads(pickle.dumps(kind("m: it failed")))) == str(kind("m: it failed"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_traceback_names_the_module_that_users_import_it_from(kind: type[base.ResolverError]) -> None:
    assert kind.__module__ == "tfimm_resolver.errors" and kind.__qualname__ == kind.__name__
    assert traceback.format_exception_only(kind("m"))[0].startswith(f"tfimm_resolver.errors.{kind.__name__}: m")
    assert kind.__name__ in repr(kind("m"))


def test_a_pickle_of_an_earlier_version_is_loaded() -> None:
    start = b"ctfimm_resolver.errors.base\nArchiveError\n(Vit failed\\u000a  Do this.\ntR"
    error = pickle.loads(start + b"(dVtext\nVit failed\nsVfix\nVDo this.\nsb.")
    assert type(error) is errors.ArchiveError and str(error) == "it failed\n  Do this."
