"""Decide whether a company that a provider offers is the one that was asked for.

Evidence before a match counts: the provider says that our domain is the company's own, or its name
agrees with a name we know otherwise (from the list, or from the site itself). Nothing is ever
derived from the host name; the system before this one did, and called finance.yahoo.com
"Richardson Studio". How names are compared is in `names`; what happens after a match in `profile`.

How the score comes about (accepted from `THRESHOLD` on):

    our domain is among the candidate's own           0.90
      and the names agree                            +0.10
      and the names are known and differ             -0.10
    only the names agree                              0.85 x similarity
      and the candidate has other domains            -0.14
    the countries are the same                       +0.05
    the countries differ: -0.10 with the domain, -0.30 with the name alone

so a domain is enough unless nothing else fits, and a name is enough unless something speaks
against it; beside another domain it must be the same name but for spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from resources.core.models import Candidate, CompanyQuery
from resources.core.names import core_tokens, similarity

THRESHOLD: Final = 0.7
NAMES_AGREE: Final = 0.85


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names under which anybody can have a page: that a provider names one says nothing about whose it
# is. The company behind one of them is known by having the platform's name besides.
SHARED_HOSTS: Final = _words(
    """
    about.me amazonaws.com angelfire.com appspot.com azurewebsites.net behance.net bigcartel.com
    bit.ly bitbucket.io blogger.com blogspot.com business.site canva.site carrd.co
    cloudfront.net crunchbase.com dribbble.com ebay.com etsy.com eventbrite.com facebook.com
    fb.com firebaseapp.com framer.website freshdesk.com g.page geocities.com ghost.io github.com
    github.io gitlab.com gitlab.io godaddysites.com goo.gl google.com googlepages.com
    gumroad.com herokuapp.com hubspotpagebuilder.com instagram.com issuu.com jimdo.com
    jimdofree.com jimdosite.com kickstarter.com linkedin.com linktr.ee livejournal.com
    medium.com myshopify.com mystrikingly.com netlify.app notion.site notion.so ok.ru
    onrender.com pages.dev patreon.com pinterest.com quora.com readthedocs.io reddit.com
    sharepoint.com snapchat.com soundcloud.com squarespace.com strikingly.com substack.com
    surge.sh t.co t.me telegram.me threads.net tiktok.com tripod.com trustpilot.com tumblr.com
    twitter.com typepad.com vercel.app vimeo.com vk.com web.app webflow.io weebly.com
    weebly.site wikidata.org wikipedia.org wix.com wixsite.com wordpress.com workers.dev x.com
    xing.com yelp.com youtube.com zendesk.com
    """
)
# What sites call themselves when they have nothing to say.
_EMPTY_NAMES: Final = _words(
    """
    403 404 about blog bienvenue contact default domain error forbidden found home homepage index
    kontakt login main maintenance moved not null page parked shop site startseite store test
    undefined untitled website welcome willkommen
    """
)


@dataclass(frozen=True, slots=True)
class Match:
    """The judgement on one candidate.

    Args:
        candidate: Who was judged.
        accepted: Whether it counts as the company asked for.
        score: 0 to 1; accepted from `THRESHOLD` on.
        reasons: What spoke for and against it, for people; never empty.
    """

    candidate: Candidate
    accepted: bool
    score: float
    reasons: tuple[str, ...]


def judge(query: CompanyQuery, candidate: Candidate, *, site_names: Sequence[str] = ()) -> Match:
    """Judge whether a candidate is the company asked for.

    Args:
        query: The domain, and the list's hints.
        candidate: What a provider offers.
        site_names: Names that the site gives itself; empty when it was not scraped.

    Returns:
        The judgement with its reasons. Without evidence the score is 0.
    """
    known = (query.name, *query.other_names, *site_names)
    agreement, name_reason = _name_evidence([name for name in known if name], candidate.names)
    has_domain, domain_reason = _domain_evidence(query.domain, candidate)
    has_name = agreement is not None and agreement >= NAMES_AGREE
    reasons = [reason for reason in (domain_reason, name_reason) if reason]
    if has_domain:
        score = 0.9
        if agreement is not None:
            score += 0.1 if has_name else -0.1
    elif has_name and agreement is not None:
        score = 0.85 * agreement - (0.14 if _own(candidate.domains) else 0.0)
    else:
        return Match(candidate, False, 0.0, (*reasons, "no evidence that it is this company"))
    if query.country and candidate.country:
        if query.country == candidate.country:
            score += 0.05
            reasons.append(f"the country agrees: {candidate.country}")
        else:
            score -= 0.1 if has_domain else 0.3
            reasons.append(f"the country differs: {candidate.country}, not {query.country}")
    score = round(min(score, 1.0), 4)
    return Match(candidate, score >= THRESHOLD, score, tuple(reasons))


def choose(
    query: CompanyQuery, candidates: Sequence[Candidate], *, site_names: Sequence[str] = ()
) -> tuple[Match | None, tuple[Match, ...]]:
    """Judge all candidates and pick the best accepted one.

    Among equal scores the provider's own score decides, then who says more, then the record's
    number, so that the order of candidates never matters; the tie is told in the reasons.

    Returns:
        The best match or None, and all judgements, best first.
    """
    judged = sorted(
        (judge(query, candidate, site_names=site_names) for candidate in candidates),
        key=lambda match: (
            -match.score,
            -(match.candidate.score or 0.0),
            -len(match.candidate.facts),
            match.candidate.record_id,
        ),
    )
    if not judged or not judged[0].accepted:
        return None, tuple(judged)
    best = judged[0]
    rivals = [
        match.candidate.record_id
        for match in judged[1:]
        if match.score == best.score and match.candidate.record_id != best.candidate.record_id
    ]
    if rivals:
        note = f"ambiguous: {', '.join(rivals[:5])} fits as well as {best.candidate.record_id}"
        best = replace(best, reasons=(*best.reasons, note))
    return best, (best, *judged[1:])


def _domain_evidence(domain: str, candidate: Candidate) -> tuple[bool, str | None]:
    wanted = domain.lower().rstrip(".")
    if wanted in _lowered(candidate.domains):
        if wanted in SHARED_HOSTS and not _is_platform(wanted, candidate):
            return False, f"{wanted} is a platform that many share, which proves nothing"
        return True, f"the provider gives {wanted} as its domain"
    if own := _own(candidate.domains):
        return False, f"the provider gives other domains: {', '.join(own[:3])}"
    return False, None


def _is_platform(domain: str, candidate: Candidate) -> bool:
    """Tell whether a candidate is the company behind a shared host: LinkedIn, of linkedin.com."""
    label = domain.partition(".")[0]
    return any("".join(core_tokens(name)) == label for name in candidate.names)


def _own(domains: Sequence[str]) -> list[str]:
    return [domain for domain in _lowered(domains) if domain not in SHARED_HOSTS]


def _lowered(domains: Sequence[str]) -> list[str]:
    return [domain.lower().rstrip(".") for domain in domains]


def _name_evidence(known: Sequence[str], theirs: Sequence[str]) -> tuple[float | None, str | None]:
    """Return the best agreement of any two names, or None when one side has none worth a word."""
    ours = [name for name in known if _tells_apart(name)]
    offered = [name for name in theirs if _tells_apart(name)]
    if not ours or not offered:
        return None, None
    best, one, other = max(
        (similarity(one, other), one, other) for one in sorted(ours) for other in sorted(offered)
    )
    verb = "agree" if best >= NAMES_AGREE else "differ"
    return best, f"the names {verb}: {other!r} and {one!r} ({best:.2f})"


def _tells_apart(name: str) -> bool:
    """Tell whether a name can tell companies apart: not empty, not one letter, not "Home"."""
    words = [word for word in core_tokens(name) if word not in _EMPTY_NAMES]
    text = "".join(words)
    return len(text) >= (1 if not text.isascii() else 2)
