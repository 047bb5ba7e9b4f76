"""What one look at the inbox saw and did, in words for a person. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from resources.core.alerting import Topic, Trouble
from resources.core.inbox import KnownFile, SetAside

MOST_SAID = 5


@dataclass(slots=True)
class IntakeReport:
    """What one look saw and did.

    Args:
        inbox: Its address.
        seen: Files in it that may be lists.
        taken: One sentence for each file that was taken in.
        set_aside: Files that cannot be used.
        left: One sentence for each file that waits.
        troubles: What a person has to see to, one sentence each; said again at every look.
        unlimited: Those of them that are lists which wait for a limit of credits.
    """

    inbox: str = ""
    seen: int = 0
    taken: list[str] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    unlimited: list[str] = field(default_factory=list)

    def wait_for_limit(self, sentence: str) -> None:
        """Say that lists wait until somebody sets a limit of credits."""
        self.troubles.append(sentence)
        self.unlimited.append(sentence)

    @property
    def lasting(self) -> list[Trouble]:
        """What is wrong now, for alerts; all that is wrong with the inbox is one of them."""
        found = []
        own = [one for one in self.troubles if one not in self.unlimited]
        if own:
            more = f" {counted(len(own) - 1, 'more trouble')}." if len(own) > 1 else ""
            found.append(Trouble(Topic.INBOX, self.inbox or "inbox", own[0] + more, len(own)))
        if self.unlimited:
            words = " ".join(dict.fromkeys(self.unlimited))
            found.append(Trouble(Topic.LIMIT_MISSING, "limit of credits", words))
        return found

    @property
    def note(self) -> str:
        """All of it in words, the most important first."""
        aside = [f"Set aside: {one.sentence}" for one in self.set_aside]
        said = [*self.troubles, *aside, *self.taken, *self.left]
        if not said:
            return f"{self.inbox} has no new file."
        more = [f"And {len(said) - MOST_SAID} more."] if len(said) > MOST_SAID else []
        return " ".join([*said[:MOST_SAID], *more])

    def leave(self, address: str, known: KnownFile | None, reason: str) -> None:
        """Say that a file waits; one that waits for a person is a trouble, in its own words."""
        if known is not None and known.sentence and reason == known.sentence:
            self.troubles.append(reason)
        else:
            self.left.append(f"{address} is left: {reason}.")


def taken_in(
    address: str,
    list_name: str,
    *,
    rows: int,
    accepted: int,
    duplicates: int,
    rejected: int,
    batches: int,
) -> str:
    """What became of a file that was taken in.

    Args:
        batches: Those that are asked for because of it.
    """
    counts = [
        counted(rows, "row"),
        counted(accepted, "domain"),
        counted(duplicates, "duplicate"),
        f"{rejected} rejected",
    ]
    new = f"{counted(batches, 'batch', 'batches')} new" if batches else "nothing is new"
    where = " `pipeline failures` lists the rejected rows." if rejected else ""
    return f"{address} is taken in as list {list_name}: {', '.join(counts)}; {new}.{where}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things in words.

    >>> counted(1, "file"), counted(2, "file"), counted(0, "batch", "batches")
    ('1 file', '2 files', '0 batches')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
