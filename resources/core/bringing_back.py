"""What a person may bring back with `pipeline retry`, and what that means for one domain.

Pure: where a domain stands in, what becomes of it out. A settled domain stays settled with what it
has, and is asked for again like one that is refreshed, so that no materialised partition suddenly
holds unsettled domains; an unsettled one starts with fresh rounds, and is due. Which rows a
selection means, and how they are changed, is in `adapters/ledger/bringing_back`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.core.errors import RULES, FailureKind
from resources.core.models import Phase, State


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be brought back; all that is set must hold.

    Args:
        domains: These, whatever their state; empty for no such limit.
        batch_key: Those of this batch.
        list_name: Those of this list.
        phase: In this phase alone; None for both fetching phases.
        kind: Those that wait for this reason, or were settled by it.
        provider: Those whose newest failure was at this provider.
        is_quarantined: Those that were given up.
    """

    domains: Sequence[str] = ()
    batch_key: str | None = None
    list_name: str | None = None
    phase: Phase | None = None
    kind: FailureKind | None = None
    provider: str | None = None
    is_quarantined: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it would mean everything."""
        return self == Selection()

    @property
    def is_of_any_state(self) -> bool:
        """Whether settled domains are meant too that nobody gave up.

        Whoever names a domain or a reason wants it tried again; a batch or a provider alone names
        what is missing there, and must not fetch again what is there.
        """
        return bool(self.domains) or self.kind is not None

    @property
    def is_of_whole_batches(self) -> bool:
        """Whether all that is missing in some batches is meant, and not only what failed in a
        certain way: then the batches themselves are wanted again, tried before or not."""
        is_narrowed = self.is_of_any_state or self.provider is not None or self.is_quarantined
        return not is_narrowed and not self.is_empty


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a domain stands in a phase before it is brought back.

    Args:
        kind: What it waits for, or was settled by.
        is_refreshing: Whether it is settled and to be worked on again already.
        refresh_kind: What the newest attempt of that waits for.
        asked_to_wait_until: Epoch seconds that the other side asked for; 0 for none.
        deaths: Workers that died with it in hand.
    """

    state: State
    kind: FailureKind | None = None
    is_refreshing: bool = False
    refresh_kind: FailureKind | None = None
    asked_to_wait_until: float = 0.0
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class BringBack:
    """Try it again, with fresh rounds.

    Args:
        not_before: Epoch seconds; 0 for at once.
        is_refresh: Whether it stays settled, with what it has, until an attempt settles it anew.
        is_mended: Whether what it waited for needed a person, who has acted now: it waits for that
            no more.
    """

    not_before: float
    is_refresh: bool
    is_mended: bool = False


def bring_back(standing: Standing) -> BringBack | None:
    """Decide what becomes of a domain that nobody has in hand.

    Returns: None when there is nothing to bring back: it was never tried, and begins by itself.
    """
    if standing.state is State.PENDING and not standing.deaths:
        return None
    is_settled = standing.state.is_settled
    if is_settled and not standing.is_refreshing:
        return BringBack(0.0, is_refresh=True)
    kind = standing.refresh_kind if is_settled else standing.kind
    # What the other side asked for holds; but where a person had to act, it has been done now.
    is_mended = kind is not None and RULES[kind].needs_person
    return BringBack(
        0.0 if is_mended else standing.asked_to_wait_until,
        is_refresh=is_settled,
        is_mended=is_mended,
    )
