"""What becomes a domain, what does not, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.adapters.suffix_list import bundled_rules
from resources.core.domains import (
    NormalizedDomain,
    RejectedValue,
    RejectionReason,
    SuffixRules,
    SuffixSection,
    normalize,
)

PSL_CASES = Path(__file__).parents[3] / "shared/data/public_suffix/test_psl.json"

# ADR 0003: a private suffix is a company's own name and is taken as it stands.
DELIBERATE_DEVIATIONS = {"uk.com": "uk.com"}


def _read(text: str) -> str:
    """Return the domain, or the reason in square brackets."""
    result = normalize(text, bundled_rules())
    return result.domain if isinstance(result, NormalizedDomain) else f"[{result.reason}]"


@pytest.mark.parametrize(
    "text",
    [
        "acme.co.uk",
        "ACME.co.uk",
        "www.acme.co.uk",
        "acme.co.uk.",
        "  acme.co.uk\t",
        '"acme.co.uk"',
        "\u201cacme.co.uk\u201d",
        "<acme.co.uk>",
        "(acme.co.uk),",
        "\ufeffacme.co.uk",
        "https://acme.co.uk",
        "HTTPS://WWW.Acme.Co.UK/About?x=1#top",
        "https://jane:secret@shop.acme.co.uk:8443/a@b/c?d=https://other.com",
        "//acme.co.uk/x",
        "http:acme.co.uk",
        "http:\\\\acme.co.uk\\x",
        "http://https://acme.co.uk",
        "ftp://ftp.acme.co.uk/pub",
        "acme.co.uk:80",
        "acme.co.uk/path",
        "acme.co.uk?x=y.com",
        "acme.co.uk#y.com",
        "jane@acme.co.uk",
        "mailto:jane@mail.acme.co.uk?subject=hi@there.com",
        "mailto:jane@acme.co.uk,john@other.com",
        "MAILTO:jane%40acme.co.uk",
        "Jane Doe <jane@acme.co.uk>",
        "@acme.co.uk",
        "http://%61cme.co%2Euk/",
        "\uff41\uff43\uff4d\uff45\uff0e\uff43\uff4f\uff0e\uff55\uff4b",
        "acme\u3002co\u3002uk",
        "_dmarc.acme.co.uk",
    ],
)
def test_every_spelling_of_a_company_gives_one_domain(text: str) -> None:
    assert _read(text) == "acme.co.uk"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("m\u00fcller.de", "xn--mller-kva.de"),
        ("https://www.M\u00dcLLER.de/", "xn--mller-kva.de"),
        ("XN--MLLER-KVA.DE", "xn--mller-kva.de"),
        ("fa\u00df.de", "xn--fa-hia.de"),
        ("info@\u98df\u72ee.\u516c\u53f8.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("acme.example", "acme.example"),
        ("acme.unheard-of-tld", "acme.unheard-of-tld"),
        ("acme.github.io", "acme.github.io"),
        ("docs.acme.github.io", "acme.github.io"),
        ("r3---sn.acme.com", "acme.com"),
        ("https://evil.com\\@acme.com/", "evil.com"),
        ("https://acme.com@evil.com/", "evil.com"),
        ("www.com", "www.com"),
        ("www.ck", "www.ck"),
    ],
)
def test_names_are_reduced_to_what_a_browser_would_visit(text: str, domain: str) -> None:
    assert _read(text) == domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("akamai.net", "akamai.net"),
        ("github.io", "github.io"),
        ("https://www.github.io/", "github.io"),
        ("http://www.ruhr-uni-bochum.de/", "ruhr-uni-bochum.de"),
        ("eu-west.run.app", "eu-west.run.app"),
    ],
)
def test_a_private_suffix_is_the_domain_of_the_company_that_runs_it(text: str, domain: str) -> None:
    assert _read(text) == domain


@pytest.mark.parametrize(
    ("reason", "texts"),
    [
        (RejectionReason.EMPTY, ["", "  ", '""', "<>", "\u3000", ", ;"]),
        (RejectionReason.NOT_A_DOMAIN, ["Acme Inc", "http://", "javascript:alert(1)", "tel:+4930"]),
        (
            RejectionReason.NOT_A_DOMAIN,
            ["\u2100.com", "acme.com foo.com", "1.2.3.4.5", "256.1.1.1"],
        ),
        (RejectionReason.NOT_A_DOMAIN, ["08.1", "1_0.1", "-1.5", "acme.123", "4294967296"]),
        (RejectionReason.IP_ADDRESS, ["127.0.0.1", "http://10.0.0.1:80/x", "127.1", "2130706433"]),
        (RejectionReason.IP_ADDRESS, ["0x7f.0.0.1", "0177.0.0.01", "0x7F000001", "jane@1.2.3.4"]),
        (RejectionReason.IP_ADDRESS, ["[::1]", "http://[2001:db8::1]:80/", "::1", "fe80::1%eth0"]),
        (RejectionReason.IP_ADDRESS, ["\uff11\uff12\uff17.0.0.1", "127.0.0.1.", "%31.1.1.1"]),
        (RejectionReason.PUBLIC_SUFFIX, ["com", "co.uk", "https://co.uk/", "ck", "x.ck", "gov.uk"]),
        (RejectionReason.RESERVED, ["a.test", "a.invalid", "localhost:3000", "a.localhost"]),
        (RejectionReason.RESERVED, ["printer.local", "a.internal", "a.onion", "a.alt"]),
        (RejectionReason.RESERVED, ["1.0.0.127.in-addr.arpa", "nas.home.arpa", "home.arpa"]),
        (RejectionReason.BAD_LABEL, ["a..com", ".com", "-a.com", "a-.com", "-a.acme.com", "."]),
        (RejectionReason.BAD_LABEL, ["a" * 64 + ".com", "\u00fc" * 64 + ".de", "a_b.com"]),
        (RejectionReason.BAD_LABEL, [".".join(["a" * 50] * 6), "http://" + "a." * 1000 + "com"]),
        (RejectionReason.BAD_IDN, ["xn--.com", "xn--a.com", "xn--acme.com", "a\u200db.com"]),
        (RejectionReason.BAD_IDN, ["i\u2764.ws", "\ud800.com", "\u202eacme.com"]),
        (RejectionReason.SINGLE_LABEL, ["acme", "example", "n/a", "http://intranet/x", "@acme"]),
        (RejectionReason.TOO_LONG, ["acme.com/" + "a" * 2048]),
        (RejectionReason.CONTROL_CHARACTERS, ["a\x00b.com", "\x1cacme.com", "a\nb.com", "a%00.de"]),
    ],
)
def test_what_is_no_domain_is_rejected_with_its_reason(
    reason: RejectionReason, texts: list[str]
) -> None:
    assert {text: _read(text) for text in texts} == dict.fromkeys(texts, f"[{reason}]")


def test_a_label_of_63_and_a_value_of_2048_characters_are_still_taken() -> None:
    assert _read("a" * 63 + ".com") == "a" * 63 + ".com"
    assert _read("acme.com/".ljust(2048, "a")) == "acme.com"


def test_a_rejection_says_in_words_what_was_found() -> None:
    assert normalize("a\x00b.com", bundled_rules()) == RejectedValue(
        RejectionReason.CONTROL_CHARACTERS, "has the character U+0000 in it"
    )


def test_an_exception_rule_prevails_over_a_longer_rule() -> None:
    """The format's own algorithm says so, though the list of today has no such case."""
    icann = SuffixSection.ICANN
    rules = SuffixRules(
        exact={"ck": icann, "a.www.ck": icann}, wildcard={"ck": icann}, exception={"www.ck": icann}
    )
    assert rules.suffix_of("b.a.www.ck") == ("ck", icann)


def test_the_public_suffix_cases_differ_only_where_we_mean_it() -> None:
    if not PSL_CASES.exists():
        pytest.skip("the shared public suffix cases are not beside this repository")
    cases = json.loads(PSL_CASES.read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 78
    deviations = {}
    for case in cases:
        text, expected = case["input"] or "", case["registrable"]
        found = normalize(text, bundled_rules())
        domain = found.domain if isinstance(found, NormalizedDomain) else None
        wanted = expected and expected.encode("idna").decode("ascii")
        if domain != wanted:
            deviations[text] = domain
    assert deviations == DELIBERATE_DEVIATIONS


_LABEL = st.text("abz019-_", min_size=1, max_size=8) | st.text(min_size=1, max_size=6)
_HOSTLIKE = st.builds(
    lambda front, labels, suffix, back: front + ".".join(labels) + suffix + back,
    st.sampled_from(
        ["", "www.", "http://", "//", "mailto:a@", "x@", "[", "<", "xn--", "https:/\\"]
    ),
    st.lists(_LABEL, min_size=1, max_size=4),
    st.sampled_from(
        ["", ".com", ".co.uk", ".github.io", ".ck", ".kobe.jp", ".run.app", ".\u4e2d\u56fd"]
    ),
    st.sampled_from(["", ".", ":80", "/x", "\u3002", ">", "%2e", "?q@y.com", "]"]),
)


@given(st.text() | _HOSTLIKE | st.text("0123456789abcdefx.:[]%-@/\\", max_size=40))
@example("a_b.run.app")
@example("www.www.github.io")
@example("\u00df" * 300)
@example("[::1%]")
@example("0x.0x")
@example("%")
@example("xn--\u00fc.com")
def test_no_text_raises_and_a_domain_stays_as_it_is(text: str) -> None:
    result = normalize(text, bundled_rules())
    if isinstance(result, NormalizedDomain):
        assert normalize(result.domain, bundled_rules()) == result
        assert result.domain.isascii()
        assert result.domain == result.domain.lower()
        assert len(result.domain) <= 253
    else:
        assert result.detail
        assert len(result.detail) <= 500
