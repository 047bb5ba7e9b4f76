"""No secret survives."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resources.core.redaction import MASK, redact, remember

# The filter is one for the process: these secrets are long enough never to occur by chance.
SECRETS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=12, max_size=60
).map(lambda text: f"s3cr3t-{text}")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(SECRETS, ANY_TEXT, ANY_TEXT)
def test_a_remembered_secret_never_survives(secret: str, before: str, after: str) -> None:
    remember([secret])
    assert secret not in redact(before + secret + after)
    assert secret not in redact(secret * 3)


@given(SECRETS)
def test_a_remembered_secret_does_not_survive_in_a_url_a_form_or_json(secret: str) -> None:
    remember([secret])
    for text in (quote(secret, safe=""), quote(secret), urlencode({"q": secret}).partition("=")[2]):
        assert text not in redact(f"GET https://api.example/v1?q={text} failed")
    inside = json.dumps(secret)[1:-1]
    assert inside not in redact(json.dumps({"said": secret}))


@given(SECRETS, st.text("abc", min_size=1, max_size=5))
def test_of_two_secrets_of_which_one_holds_the_other_neither_leaves_a_rest(
    secret: str, rest: str
) -> None:
    assume(not secret.endswith(rest))
    remember([secret, secret + rest])
    assert redact(f"<{secret}{rest}>") == f"<{MASK}>"


@given(ANY_TEXT)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_short_values_are_left_out_because_they_would_hide_everything() -> None:
    remember(["a", "12345", ""])
    assert redact("a 12345 b") == "a 12345 b"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql+psycopg2://pipe:hunter2@db.example/ledger", "hunter2"),
        ("https://user:p%40ss@host.example/x", "p%40ss"),
        ("https://host.example/x?api_key=abcdef&y=1", "abcdef"),
        ("https://host.example/x?a=1&access_token=abcdef", "abcdef"),
        ("https://host.example/x;token=abcdef", "abcdef"),
        ("Authorization: Bearer abc.def.ghi", "abc.def.ghi"),
        ("{'X-Api-Key': 'abcdef'}", "abcdef"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', "dXNlcjpwYXNz"),
        ("sent bearer abcdefghijklmnop0123", "abcdefghijklmnop0123"),
        ("Cookie: session=abcdef", "abcdef"),
    ],
)
def test_shapes_of_secrets_are_hidden_though_nobody_remembered_them(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.example/team?page=2",
        "the token was refused",
        "12:30 at 10.0.0.1:8080",
        "https://acme.example:8443/a@b",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
