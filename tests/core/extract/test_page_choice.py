"""Which pages of a site are chosen, in what order, and which never."""

import pytest

from resources.core.extract import (
    Link,
    PageChoice,
    ScrapedPage,
    choose_pages,
    fill_up,
    guesses,
    page_kind,
)

SITE = "acme.example"


def home(*links: tuple[str, str]) -> ScrapedPage:
    return ScrapedPage(url=f"https://www.{SITE}/", links=tuple(Link(*each) for each in links))


@pytest.mark.parametrize(
    ("url", "text", "kind"),
    [
        ("/about-us", "", "about"),
        ("/ueber-uns.html", "", "about"),
        ("/x", "Über uns", "about"),
        ("/x", "Qui sommes-nous", "about"),
        ("/x", "Chi siamo", "about"),
        ("/x", "Quiénes somos", "about"),
        ("/x", "O nas", "about"),
        ("/x", "会社概要", "about"),
        ("/x", "关于我们", "about"),
        ("/kontakt/", "", "contact"),
        ("/x", "Skontaktuj się", "contact"),
        ("/x", "Neem contact op", "contact"),
        ("/x", "お問い合わせ", "contact"),
        ("/ContactUs.aspx", "", "contact"),
        ("/x", "Unser Team", "team"),
        ("/x", "Vårt team", "team"),
        ("/de/impressum", "", "legal"),
        ("/mentions-legales", "", "legal"),
        ("/x", "Note legali", "legal"),
        ("/pricing", "", "pricing"),
        ("/x", "Preços", "pricing"),
        ("/x", "Dienstleistungen", "products"),
        ("/x", "Lavora con noi", "careers"),
        ("/jobs", "", "careers"),
        ("/x", "Sala de prensa", "press"),
        ("/x", "Blue shoes", None),
        ("/about/index.html", "", "about"),
        ("/x", "All you ever wanted to know about pipes", None),
        ("/", "", None),
    ],
)
def test_kinds_in_many_languages(url, text, kind):
    assert page_kind(f"https://{SITE}{url}", text) == kind


def test_the_best_page_of_each_kind_comes_first():
    chosen = choose_pages(
        home(
            (f"https://{SITE}/shop/a/about", ""),
            (f"https://{SITE}/about", "About us"),
            (f"https://{SITE}/contact", "Contact"),
            (f"https://{SITE}/contact/berlin", "Contact Berlin"),
        ),
        SITE,
        limit=10,
    )
    assert [each.url.removeprefix(f"https://{SITE}") for each in chosen[:2]] == [
        "/about",
        "/contact",
    ]
    assert len(chosen) == 4
    assert all(each.reason for each in chosen)


def test_never_more_than_the_limit():
    links = [(f"https://{SITE}/about-{each}", "About us") for each in range(30)]
    assert len(choose_pages(home(*links), SITE, limit=5)) == 5
    assert choose_pages(home(*links), SITE, limit=0) == ()


def test_spellings_of_one_page_count_once():
    chosen = choose_pages(
        home(
            (f"http://{SITE}/about", "About"),
            (f"https://www.{SITE}/about/", "About us"),
            (f"https://{SITE}/About", "about"),
        ),
        SITE,
        limit=10,
    )
    assert [each.url for each in chosen] == [f"http://{SITE}/about"]


def test_other_hosts_are_left_out_and_subdomains_are_not():
    chosen = choose_pages(
        home(
            ("https://other.example/about", "About us"),
            (f"https://evil{SITE}/about", "About us"),
            (f"https://{SITE}.evil.com/about", "About us"),
            (f"https://jobs.{SITE}/careers", "Careers"),
        ),
        SITE,
        limit=10,
    )
    assert [each.url for each in chosen] == [f"https://jobs.{SITE}/careers"]


@pytest.mark.parametrize(
    "path",
    [
        "/about.pdf",
        "/login/about",
        "/cart/contact",
        "/calendar/2024/05/about",
        "/contact?PHPSESSID=1",
        "/about;jsessionid=1",
        "/2024/05/about",
        "/blog/about-pipes",
        "/a/b/c/d/e/f/about",
        "/about/x/about/x/about/x",
        "/contact?a=1&b=2&c=3&d=4&e=5",
    ],
)
def test_traps_are_skipped(path):
    assert choose_pages(home((f"https://{SITE}{path}", "About us")), SITE, limit=5) == ()


def test_the_home_page_itself_is_not_chosen():
    assert choose_pages(home((f"http://{SITE}", "About us")), SITE, limit=5) == ()


def test_sitemap_addresses_are_used_too():
    chosen = choose_pages(home(), SITE, limit=5, sitemap_urls=[f"https://{SITE}/impressum", "x:"])
    assert [(each.kind, each.url) for each in chosen] == [("legal", f"https://{SITE}/impressum")]


def test_the_order_does_not_depend_on_the_order_of_links():
    links = [(f"https://{SITE}/{each}", "") for each in "about contact team jobs press agb".split()]
    first = choose_pages(home(*links), SITE, limit=4)
    assert first == choose_pages(home(*reversed(links)), SITE, limit=4)


def test_bad_addresses_are_ignored():
    links = [("http://[", "About us"), ("mailto:a@acme.example", "Contact"), ("", "Contact")]
    assert choose_pages(home(*links), SITE, limit=4) == ()


def test_links_that_differ_in_how_a_visit_is_tracked_are_one_page():
    found = choose_pages(
        home(*((f"https://{SITE}/about{end}", "") for end in ("?utm_source=a", "", "?gclid=1"))),
        SITE,
        limit=5,
    )
    assert len(found) == 1


ABOUT = PageChoice(f"https://{SITE}/about", "about", 60, "link")
HOME_URLS = (f"https://www.{SITE}/",)


def test_a_sitemap_fills_up_with_missing_kinds_first():
    urls = [f"https://{SITE}/{path}" for path in ("about-us", "", "about/", "team", "contact", "x")]
    found = fill_up((ABOUT,), urls, SITE, HOME_URLS, limit=4)
    assert [each.url.rpartition("/")[2] for each in found] == [
        "about",
        "contact",
        "team",
        "about-us",
    ]
    assert found[:3] == fill_up((ABOUT,), urls, SITE, HOME_URLS, limit=3)
    assert fill_up((ABOUT,), urls, SITE, HOME_URLS, limit=0) == (ABOUT,)
    assert fill_up((ABOUT,), [], SITE, HOME_URLS, limit=4) == (ABOUT,)


def test_a_sitemap_of_other_hosts_and_traps_adds_nothing():
    urls = [
        "https://evil.example/contact",
        f"https://{SITE}/2024/01/contact",
        "contact",
        "http://[",
    ]
    assert fill_up((ABOUT,), urls, SITE, HOME_URLS, limit=4) == (ABOUT,)


def test_usual_paths_are_guessed_by_language_and_only_where_nothing_else_is():
    origin = f"https://{SITE}"
    assert [each.url for each in guesses((), origin, "de-AT", limit=5)] == [
        f"{origin}/impressum",
        f"{origin}/kontakt",
    ]
    assert [each.kind for each in guesses((), origin, None, limit=5)] == ["contact", "about"]
    assert len(guesses((), origin, "xx", limit=1)) == 1
    assert guesses((), origin, "en", limit=0) == ()
    assert guesses((ABOUT,), origin, "en", limit=5) == ()
