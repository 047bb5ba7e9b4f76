"""Decisions about a site as a whole. Pure.

In which forms its home page is asked for, whether it has moved to another domain, and which of its
pages are copies of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from resources.core.domains import NormalizedDomain, SuffixRules, normalize
from resources.core.errors import CallError, FailureKind

_ANOTHER_FORM_HELPS = {
    FailureKind.CONNECT,
    FailureKind.TLS,
    FailureKind.TLS_CERTIFICATE,
    FailureKind.NO_SUCH_HOST,
    FailureKind.DNS,
}
_NAME_FAILED = {FailureKind.NO_SUCH_HOST, FailureKind.DNS}
_NOT_TRIED = {FailureKind.BREAKER_OPEN, FailureKind.LIMITER}
_SHORTEST_TEXT_CHARS = 200
"""Shorter texts may be alike on pages that are not: "Loading..."."""


class HomeForms:
    """The forms of a home page's address, from the best one on, as long as one is worth a try.

    Iterate, and tell it what each form failed with; `failure` is what all of them together mean.

    Args:
        answered: The form that has answered before; it is the best one.
    """

    def __init__(self, domain: str, answered: str | None = None) -> None:
        forms = [
            (host, f"{scheme}://{host}/")
            for host in (domain, f"www.{domain}")
            for scheme in ("https", "http")
        ]
        self._forms = sorted(forms, key=lambda form: form[1] != answered)
        self._errors: list[CallError] = []
        self._is_over = False

    def __iter__(self) -> HomeForms:
        return self

    def __next__(self) -> str:
        if not self._forms:
            raise StopIteration
        self._host, url = self._forms.pop(0)
        return url

    def failed(self, error: CallError, *, is_unreached: bool = False) -> None:
        """Note what the form just given failed with.

        Args:
            is_unreached: No connection came about in time. A site that is reached and silent is
                as silent under its other names.
        """
        kind = error.failure.kind
        if self._errors and kind in _NOT_TRIED:
            return  # the host was paused after an earlier form, whose failure counts
        self._errors.append(error)
        self._is_over = kind not in _ANOTHER_FORM_HELPS and not is_unreached
        if self._is_over:
            self._forms.clear()
        elif is_unreached and len(self._errors) > 1:
            # A form takes as long as its time-out: of what is left only the best one.
            self._forms = [form for form in self._forms if form[1].startswith("https:")]
        elif kind in _NAME_FAILED:
            self._forms = [form for form in self._forms if form[0] != self._host]

    @property
    def failure(self) -> CallError:
        """The first failure that says more than that one of the names is not there.

        A failure that ended the search is said as it is: what comes after the connection counts.
        """
        if self._is_over:
            return self._errors[-1]
        telling = (one for one in self._errors if one.failure.kind not in _NAME_FAILED)
        return next(telling, self._errors[0])


def moved_to(domain: str, final_url: str, suffixes: SuffixRules) -> str | None:
    """The registrable domain that a home page was found on, if it is not the one asked for.

    Args:
        final_url: Where redirects led to.
    """
    host = (urlsplit(final_url).hostname or domain).rstrip(".")
    if host == domain or host.endswith(f".{domain}"):
        return None
    found = normalize(host, suffixes)
    there = found.domain if isinstance(found, NormalizedDomain) else host
    return None if there == domain else there


def is_guest(moved: str | None, final_url: str) -> bool:
    """Whether a site has become a page inside somebody else's: its other pages are not its own."""
    segments = [each for each in urlsplit(final_url).path.split("/") if each]
    return moved is not None and bool(segments) and any(len(each) > 5 for each in segments)


@dataclass(frozen=True, slots=True)
class PageMarks:
    """By what a page is known again.

    Args:
        final_url: Where it was found.
        body_hash: Of its body.
        canonical: The address that it gives itself.
        text_key: Of its main text; see `text_key`.
    """

    final_url: str
    body_hash: str | None
    canonical: str | None
    text_key: str | None = None


def text_key(text: str) -> str | None:
    """What is the same for the same main text; None for one that is too short to tell."""
    if len(text) < _SHORTEST_TEXT_CHARS:
        return None
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def are_new(home: PageMarks, pages: Sequence[PageMarks]) -> list[bool]:
    """Which pages are no copies of the home page or of a page before them.

    A canonical address that is the home page's says little: many sites give it to all their pages.
    """
    seen = set(_keys(home, None))
    home_canonicals = {_plain(home.final_url), _plain(home.canonical or "")}
    result = []
    for page in pages:
        keys = set(_keys(page, home_canonicals))
        result.append(seen.isdisjoint(keys))
        seen |= keys
    return result


def _keys(page: PageMarks, not_canonical: Iterable[str] | None) -> Iterable[tuple[str, str]]:
    yield "url", _plain(page.final_url)
    if page.body_hash:
        yield "body", page.body_hash
    if page.canonical and _plain(page.canonical) not in (not_canonical or ()):
        yield "url", _plain(page.canonical)
    if page.text_key:
        yield "text", page.text_key


def _plain(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.lower().removeprefix("www.")
    return f"{host}{parts.path.rstrip('/')}?{parts.query}"
