"""No text of an answer shows what was secret in its request."""

from __future__ import annotations

import base64

import pytest
import urllib3

from tfimm_resolver._util.outgoing import clean_text, mask_secrets, mask_value
from tfimm_resolver.http.redaction import redact_answer, register_credentials
from tfimm_resolver.http.response import Response, SentRequest

BASIC = "Basic " + base64.b64encode(b"ada:hunter22&co").decode()


def redact(text: str, url: str = "https://h/m", headers: dict[str, str] | None = None, *, before: str = "") -> str:
    """Redact the answer to a request, which a redirect from ``before`` may have led to."""
    history = (SentRequest(before, {}),) if before else ()
    return redact_answer(text, Response(SentRequest(url, headers or {}), history, urllib3.HTTPResponse(b"", status=403)))


@pytest.mark.parametrize("echo", ["p4ss word+", "p4ss%20word%2B", "p4ss+word%2B", "P4SS%20WORD%2B"])
def test_the_value_of_a_query_is_removed_in_every_encoding(echo: str) -> None:
    assert redact(f"bad key {echo}!", "https://h/m?key=p4ss%20word%2B&page=2") == "bad key …!"


@pytest.mark.parametrize("echo", ["hunter22&co", "hunter22&amp;co", "hunter22%26co", BASIC.split()[1]])
def test_a_basic_login_is_removed_encoded_and_decoded(echo: str) -> None:
    assert redact(f"wrong: {echo}.", headers={"Authorization": BASIC}) == "wrong: …."


@pytest.mark.parametrize(
    ("name", "value"),
    [("Cookie", "lang=en; session=hunter22secret; page=2"), ("Authorization", 'Token name=ada, key="hunter22secret"')],
)
def test_a_secret_that_is_one_field_of_a_header_is_removed_without_its_name(name: str, value: str) -> None:
    assert redact("no session hunter22secret here", headers={name: value}) == "no session … here"


def test_headers_that_hold_no_secrets_stay() -> None:
    assert (
        redact("tfimm_resolver/1.0 is too old", headers={"User-Agent": "tfimm_resolver/1.0"})
        == "tfimm_resolver/1.0 is too old"
    )
    assert redact("key-of-ada is wrong", headers={"X-Key": "key-of-ada"}) == "… is wrong"


def test_a_login_in_the_url_and_the_request_before_a_redirect_count() -> None:
    assert redact("hunter22", "https://ada:hunter22@h/m") == "…"
    assert redact("hunter22", before="https://h/m?sig=hunter22") == "…"


def test_a_user_is_secret_only_if_it_may_be_a_token() -> None:
    assert redact("no user ada.lovelace", "https://ada.lovelace@h/m") == "no user …"
    assert redact("no user lovelace", "https://lovelace:hunter22@h/m") == "no user lovelace"


def test_a_secret_that_the_end_of_the_text_cuts_is_removed_too() -> None:
    assert redact("the key is hunter2", "https://h/m?key=hunter22secret") == "the key is …"


def test_short_values_are_words_that_stay() -> None:
    assert redact("page 12 is missing", "https://h/m?page=12&on=is") == "page 12 is missing"


def test_registered_credentials_are_masked_in_every_text() -> None:
    register_credentials({"Authorization": "Bearer unit-test-token-1", "Proxy-Authorization": BASIC, "Range": "bytes=0-1"})
    assert clean_text("it echoed unit-test-token-1, hunter22&co") == "it echoed …, …"
    assert clean_text("bytes=0-1") == "bytes=0-1"


@pytest.mark.parametrize("user", ["ada:hunter22", " :hunter22", "ada b:hunter22", "ada%3Ahunter22", "ada:hunter@22"])
def test_a_login_in_a_handle_of_hugging_face_is_removed(user: str) -> None:
    assert mask_value(f"hf://{user}@o/m") == mask_secrets(f"hf://{user}@o/m") == "hf://o/m"


def test_a_login_with_quotation_marks_is_removed_from_a_value() -> None:
    assert mask_value('hf://ada:"hunter22@o/m') == "hf://o/m"


@pytest.mark.parametrize("handle", ["hf://o@main", "hf://o/m@main", "hf://o/a b@refs%2Fpr%2F1"])
def test_a_revision_in_a_handle_of_hugging_face_stays(handle: str) -> None:
    assert mask_value(handle) == mask_secrets(handle) == handle


@pytest.mark.parametrize("start", ["///%2F", "a%2F%2F/%2F", "a%2F%2Fb%2F/", "%252f%2F%2F/%2F", ":%2F/%2F%2F"])
def test_user_info_behind_any_pair_of_slashes_is_removed_from_a_value(start: str) -> None:
    assert "er" not in mask_value(f'{start}us"er%40host')
