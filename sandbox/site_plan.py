"""Draws how a company's site behaves: its host, pages, robots.txt, markup and layout."""

from sandbox.draw import Draw
from sandbox.truth import (
    MISSING_SITE_SHARE,
    PARKED_SHARE,
    ROBOTS_FORBID_SHARE,
    Markup,
    RobotsRule,
    Site,
    SiteState,
)
from sandbox.wording import PAGES, Wording

LAYOUTS = 4
_ALWAYS_DISALLOWED = ("/admin/", "/cart", "/search")
_CRAWL_DELAY_SHARE = 0.02
_TEAM_DISALLOWED_SHARE = 0.03


def draw_site(draw: Draw, domain: str, words: Wording, posts: tuple[str, ...]) -> Site:
    """Draw the site of a domain; `posts` are the slugs of its news."""
    state, robots = _state(draw)
    paths = {page: draw.pick(f"path.{page}", words.paths[page]) for page in PAGES}
    labels = {page: draw.pick(f"label.{page}", words.labels[page]) for page in ("home", *PAGES)}
    pages = {"home": "/", **paths}
    pages |= {f"news.{index}": f"{paths['news']}/{slug}" for index, slug in enumerate(posts)}
    has_www = draw.chance("www", 0.5)
    markup_share = draw.share("markup")
    month, day = draw.number("modified.m", 1, 12), draw.number("modified.d", 1, 28)
    return Site(
        state=state,
        robots=robots,
        crawl_delay_s=1
        if robots is RobotsRule.SOME and draw.chance("delay", _CRAWL_DELAY_SHARE / 0.3)
        else None,
        disallowed=_disallowed(draw, robots, paths["team"]),
        host=f"www.{domain}" if has_www else domain,
        redirects_other_host=draw.chance("redirect", 0.7),
        has_sitemap=draw.chance("sitemap", 0.9),
        has_sitemap_index=draw.chance("sitemap_index", 0.1),
        markup=Markup.JSON_LD
        if markup_share < 0.6
        else Markup.MICRODATA
        if markup_share < 0.7
        else Markup.NONE,
        has_open_graph=draw.chance("og", 0.8),
        says_charset=draw.chance("charset", 0.85),
        layout=draw.number("layout", 0, LAYOUTS - 1),
        last_modified=f"2025-{month:02d}-{day:02d}T06:30:00Z",
        paths=pages,
        labels=labels,
    )


def _state(draw: Draw) -> tuple[SiteState, RobotsRule]:
    share = draw.share("site_state")
    if share < MISSING_SITE_SHARE:
        return SiteState.MISSING, RobotsRule.NONE
    share -= MISSING_SITE_SHARE
    if share < ROBOTS_FORBID_SHARE:
        return SiteState.WORKS, RobotsRule.FORBID_ALL
    if share - ROBOTS_FORBID_SHARE < PARKED_SHARE:
        return SiteState.PARKED, RobotsRule.NONE
    rule = draw.share("robots")
    if rule < 0.1:
        return SiteState.WORKS, RobotsRule.NONE
    return SiteState.WORKS, RobotsRule.OPEN if rule < 0.7 else RobotsRule.SOME


def _disallowed(draw: Draw, robots: RobotsRule, team_path: str) -> tuple[str, ...]:
    if robots is RobotsRule.FORBID_ALL:
        return ("/",)
    if robots is not RobotsRule.SOME:
        return ()
    hides_team = draw.chance("team_disallowed", _TEAM_DISALLOWED_SHARE / 0.3)
    return (*_ALWAYS_DISALLOWED, team_path) if hides_team else _ALWAYS_DISALLOWED
