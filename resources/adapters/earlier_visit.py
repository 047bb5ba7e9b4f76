"""What is known of a site from before: the pages that were fetched, and what was made of them.

Pages that this attempt has fetched, or that are fresh enough, are not asked for again: they are
extracted anew where the code is newer. Of the others the site is asked whether they have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from resources.adapters.extraction_pool import Extracted
from resources.adapters.ledger.pages import PageRow
from resources.core.errors import RULES
from resources.core.extract import PageChoice
from resources.core.extract.page_words import KINDS
from resources.core.models import DomainTask
from resources.core.site_forms import text_key

HOME = "home"
AS_BEFORE = "visited before"
_MAY_BE_OVER = {kind for kind, rule in RULES.items() if not rule.state.is_settled}


@dataclass(frozen=True)
class EarlierVisit:
    """What an earlier visit has left.

    Args:
        rows: All pages of the site that were ever fetched, by the URL asked for.
        fresh_after: What an earlier visit has fetched since then is not asked for again, epoch
            seconds.
        settled_at: When the site was settled last; 0 when never.
        pages: The pages of the newest result, by the URL asked for, home first.
        lost: Those that it could not have: `url, role, kind`.
        is_same_code: Whether today's code has made them.
    """

    rows: Mapping[str, PageRow]
    fresh_after: float
    settled_at: float
    pages: Mapping[str, Mapping[str, Any]]
    lost: Sequence[Mapping[str, Any]]
    is_same_code: bool

    def fetched(self, url: str) -> PageRow | None:
        """A page that need not be asked for."""
        row = self.rows.get(url)
        if row is None or not self.is_of_before(row):
            return row
        # What an earlier visit was refused may be had today.
        return row if row.fetched_at >= self.fresh_after and row.status < 400 else None

    def asked_before(self, url: str) -> PageRow | None:
        """A page whose site can be asked whether it has changed."""
        row = self.rows.get(url)
        if row is None or row.status != 200 or not (row.etag or row.last_modified):
            return None
        return row if row.body_file is not None else None

    def is_of_before(self, row: PageRow) -> bool:
        """Whether a page is as an earlier visit, which came to its end, has found it."""
        return row.fetched_at <= self.settled_at

    def page_of(self, row: PageRow) -> Extracted | None:
        """What was made of a page with the same content, if today's code has made it."""
        entry = self.pages.get(row.url)
        if not self.is_same_code or entry is None or entry["body_hash"] != row.body_hash:
            return None
        page = entry["page"]
        return Extracted(
            is_html=page["is_html"],
            choices=[],
            body_hash=entry["body_hash"],
            size_bytes=entry["size_bytes"],
            robots=page["robots"],
            language=page["language"],
            canonical=page["canonical"],
            text_key=text_key(page["text"]),
            page_json=orjson.dumps(page),
        )

    def home_url(self) -> str | None:
        """The form of the home page's address that has answered."""
        return next((url for url, entry in self.pages.items() if entry["role"] == HOME), None)

    def choices(self, *, with_lost: bool) -> list[PageChoice]:
        """The pages beside the home page that the earlier visit has brought.

        Args:
            with_lost: Also those that it could not have for a reason that may be over.
        """
        others = [(url, entry["role"]) for url, entry in self.pages.items()]
        if with_lost:
            others += [
                (one["url"], one["role"]) for one in self.lost if one["kind"] in _MAY_BE_OVER
            ]
        return [PageChoice(url, role, 0, AS_BEFORE) for url, role in others if role in KINDS]


def earlier_visit(
    task: DomainTask,
    rows: Mapping[str, PageRow],
    payload: bytes | None,
    fresh_after: float,
    *,
    is_same_code: bool,
) -> EarlierVisit:
    """Read what is left of an earlier visit.

    Args:
        payload: The domain's newest result, as JSON; None when there is none.
        fresh_after: As for `EarlierVisit`.
    """
    result = orjson.loads(payload) if payload is not None else {"pages": (), "failed": ()}
    return EarlierVisit(
        rows,
        fresh_after,
        task.last_settled_at,
        {entry["asked_url"]: entry for entry in result["pages"]},
        result["failed"],
        is_same_code,
    )
