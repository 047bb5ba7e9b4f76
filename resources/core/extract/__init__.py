"""What a page says about a company: pure extraction, no I/O.

`extract_page` reads one page, `choose_pages` picks the next ones of a site.
"""

from .charset import decode
from .models import Link, Phone, PostalAddress, ScrapedPage
from .page import extract_page
from .page_choice import PageChoice, choose_pages, fill_up, guesses, page_kind
from .serialise import from_json, to_json

__all__ = [
    "Link",
    "PageChoice",
    "Phone",
    "PostalAddress",
    "ScrapedPage",
    "choose_pages",
    "decode",
    "extract_page",
    "fill_up",
    "from_json",
    "guesses",
    "page_kind",
    "to_json",
]
