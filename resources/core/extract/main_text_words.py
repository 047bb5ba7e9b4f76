"""Data: words by which pages name their parts, and lines that belong to no text.

Judged are whole words of a mark (class, id, role and item property of an element), as many sites
use them; none is of a single site. A hyphen in them stands for any joint or none.
"""

import re
from typing import Final


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.replace("-", "").split())


_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NOT_LETTERS: Final = re.compile(r"[^a-z]+")


IS_ABOUT_INSIDE: Final = re.compile(
    r"(?:has|with|without|no|is|not|format|layout|category|type|status|tag(?![-_](?:list|links|cloud)))"
    r"[-_]|.*[-_](?:open|closed|enabled|disabled|wrap|wrapper)\Z"
)
"""Names that say what an element holds or allows, such as `has-sidebar`, not what it is."""


def words_of(name: str) -> set[str]:
    """Return the words of one name in lower case, and two or three that stand together as one.

    >>> sorted(words_of("relatedLinks"))
    ['links', 'related', 'relatedlinks']
    """
    parts = [part for part in _NOT_LETTERS.split(_CAMEL.sub("-", name).lower()) if part]
    return {
        "".join(parts[start : start + count]) for start in range(len(parts)) for count in (1, 2, 3)
    }


BODY: Final = _set_of(
    """
    article-body article-content article-text article-copy article-main story-body story-content
    story-text post-body post-content post-text post-entry entry-body entry-content entry-text
    news-body news-content news-text blog-body blog-content body-content body-text body-copy
    page-body page-content page-text entry hentry h-entry e-content story main-content
    """
)
"""Marks of elements that hold the text of an article."""

BESIDE: Final = _set_of(
    """
    nav navigation navbar navbox menu breadcrumb breadcrumbs side-bar foot footer masthead
    share sharing sharethis social socials social-media addthis addtoany
    related related-post related-posts related-article related-articles related-link related-links
    related-content related-stories recommend recommended recommendation recommendations outbrain
    taboola trending popular most-read most-popular read-next up-next see-also more-from more-on
    more-stories more-news more-articles more-links
    newsletter newsletters subscribe subscription sign-up paywall login register optin
    cookie cookies consent gdpr pagination pager paging post-nav post-navigation skip-link
    jp-relatedposts yarpp crp-related complementary contentinfo
    ad ads advert adverts advertisement advertising adsbygoogle sponsor sponsors sponsored affiliate
    """
)
"""Marks of what stands beside the text."""

REPLIES: Final = _set_of("comment comments comment-list respond replies disqus")
"""Marks of what readers wrote, which can be longer than the text."""

MAYBE_BESIDE: Final = _set_of(
    """
    follow discussion read-more tag tags tag-list keywords categories topics filed-under
    byline author authors author-info author-bio author-box author-name author-card author-meta
    about-author bio contributor dateline timestamp pub-date meta
    caption photo photos image images picture pictures figcaption credit credits copyright
    wp-caption-text promo promos promotion promotional banner pop-up modal overlay lightbox toast
    tooltip prev-next toolbar tools utility teaser teasers carousel slider slideshow gallery
    thumbnail thumbnails playlist video-player player print printonly no-print hidden
    visually-hidden sr-only screen-reader-text disclaimer search search-form search-box rating
    vote votes poll quiz widget-area
    """
)
"""Marks that often mean the same, and sometimes the text itself."""

BESIDE_TAGS: Final = frozenset("nav aside footer menu dialog search button option legend".split())
MAYBE_BESIDE_TAGS: Final = frozenset("header form figure figcaption noscript".split())
BODY_TAGS: Final = frozenset(("article", "main"))
PARAGRAPHS: Final = frozenset(("p", "blockquote"))
HEADINGS: Final = frozenset("h1 h2 h3 h4 h5 h6".split())

_REMARKS: Final = (
    r"advertisements?|anzeige|werbung|publicité|publicidad|sponsored|story continues below",
    r"(?:share|tweet|email|print|pin it|facebook|twitter|whatsapp|linkedin|reddit|comments?|reply|"
    r"like|follow)(?:\s+(?:this|on|us|via|it|article|story|with|me).{0,40})?",
    r"(?:read|see|more|also|related|watch|photos?|video|click|recommended|trending|mehr|lesen sie|"
    r"further reading|lire aussi|leer más|leggi anche)(?:\s+(?:more|also|on|from|next|here|now|"
    r"articles?|stories|posts?|topics?|news|auch|zum thema|reading)){1,3}\b.{0,120}",
    r"(?:image|photo|picture|foto|source|credit|file photo|getty images?)\s?[:(©].{0,120}",
    r"(?:follow|like|join|subscribe|sign up|get|download)\s.{0,40}(?:newsletter|facebook|twitter|"
    r"instagram|youtube|telegram|channel|inbox|app|podcast).{0,60}",
    r"(?:tags?|filed under|categories|topics|posted (?:in|by|on)|last (?:updated|modified)|"
    r"published|updated|copyright|©|all rights reserved).{0,100}",
    r"(?:your|this) browser (?:does not|doesn't) .{0,100}",
    r"loading.{0,20}|skip to .{0,30}|back to top|load more|show more|view (?:more|all)|see all",
    r"\d{1,9} (?:comments?|shares?|likes?|views?|min(?:ute)?s? read).{0,20}",
)
REMARK: Final = re.compile("|".join(_REMARKS), re.I)
"""Short lines of their own that belong to no text."""
