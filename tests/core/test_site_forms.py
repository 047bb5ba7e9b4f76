"""In which forms a home page is asked for, whether a site has moved, and which pages are copies."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resources.adapters.suffix_list import bundled_rules
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.site_forms import HomeForms, PageMarks, are_new, is_guest, moved_to, text_key

BARE, PLAIN = "https://acme.example/", "http://acme.example/"
WWW, PLAIN_WWW = "https://www.acme.example/", "http://www.acme.example/"


def _tried(*kinds: FailureKind) -> tuple[list[str], FailureKind]:
    """The forms that are asked for when they fail one after the other, and what it comes to."""
    forms = HomeForms("acme.example")
    left = list(kinds)
    tried = []
    for url in forms:
        tried.append(url)
        kind = left.pop(0)
        error = CallError(Failure(kind, "x", url))
        forms.failed(error, is_unreached=kind is FailureKind.TIMEOUT)
    assert not left
    return tried, forms.failure.failure.kind


@pytest.mark.parametrize(
    ("kinds", "tried", "kind"),
    [
        (["connect"] * 4, [BARE, PLAIN, WWW, PLAIN_WWW], "connect"),
        (["timeout"] * 3, [BARE, PLAIN, WWW], "timeout"),
        (["no_such_host", "no_such_host"], [BARE, WWW], "no_such_host"),
        (["no_such_host", "timeout"], [BARE, WWW], "timeout"),
        (["dns", "no_such_host"], [BARE, WWW], "dns"),
        (["tls_certificate", "connect", "no_such_host"], [BARE, PLAIN, WWW], "tls_certificate"),
        (["tls", "http_5xx"], [BARE, PLAIN], "http_5xx"),
        (["robots"], [BARE], "robots"),
        (["blocked_address"], [BARE], "blocked_address"),
        (
            ["timeout", "breaker_open", "connect", "connect"],
            [BARE, PLAIN, WWW, PLAIN_WWW],
            "timeout",
        ),
        (["breaker_open"], [BARE], "breaker_open"),
    ],
)
def test_another_form_is_tried_where_it_may_help(
    kinds: Sequence[str], tried: list[str], kind: str
) -> None:
    assert _tried(*map(FailureKind, kinds)) == (tried, kind)


@pytest.mark.parametrize(
    ("final_url", "moved", "guest"),
    [
        ("https://acme.example/", None, False),
        ("https://www.acme.example/en/", None, False),
        ("https://shop.acme.example/", None, False),
        ("https://notacme.example/", "notacme.example", False),
        ("https://www.acme-group.co.uk/", "acme-group.co.uk", False),
        ("https://www.acme-group.co.uk/de/", "acme-group.co.uk", False),
        ("https://www.facebook.com/acme.tools", "facebook.com", True),
        ("https://acme.wixsite.com/", "acme.wixsite.com", False),
        ("https://93.184.215.14/", "93.184.215.14", False),
    ],
)
def test_a_site_that_moved_is_known_by_its_registrable_domain(
    final_url: str, moved: str | None, guest: bool
) -> None:
    found = moved_to("acme.example", final_url, bundled_rules())
    assert found == moved
    assert is_guest(found, final_url) is guest


def test_a_site_that_is_reached_and_silent_is_not_asked_by_other_names() -> None:
    forms = HomeForms("acme.example")
    forms.failed(CallError(Failure(FailureKind.TIMEOUT, "x", next(forms))))
    assert list(forms) == []
    assert forms.failure.failure.kind is FailureKind.TIMEOUT


TEXT = "Acme makes tools. " * 20
HOME = PageMarks("https://acme.example/", "h", "https://acme.example/", text_key(TEXT + "home"))


def _page(path: str, body: str, canonical: str | None = None, text: str = "") -> PageMarks:
    return PageMarks(f"https://acme.example{path}", body, canonical, text_key(text))


@pytest.mark.parametrize(
    ("pages", "new"),
    [
        ([_page("/a", "1"), _page("/b", "2")], [True, True]),
        ([_page("/a", "1"), _page("/b", "1")], [True, False]),
        ([_page("/a", "h")], [False]),
        ([_page("/a", "1"), _page("/a/", "2")], [True, False]),
        ([_page("/", "1")], [False]),
        ([_page("/a", "1"), _page("/b", "2", "https://www.acme.example/a")], [True, False]),
        ([_page("/b", "2", "https://acme.example/a"), _page("/a", "1")], [True, False]),
        # All pages of many sites say that they are the home page.
        ([_page("/a", "1", "https://acme.example/"), _page("/b", "2", HOME.final_url)], [True] * 2),
        ([_page("/a", "1", text=TEXT), _page("/b", "2", text=TEXT)], [True, False]),
        ([_page("/a", "1", text=TEXT + "home")], [False]),
        ([_page("/a", "1", text="Loading"), _page("/b", "2", text="Loading")], [True, True]),
    ],
)
def test_a_page_under_several_addresses_is_kept_once(
    pages: list[PageMarks], new: list[bool]
) -> None:
    assert are_new(HOME, pages) == new
