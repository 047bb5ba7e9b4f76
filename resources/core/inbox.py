"""What is done about a file in the inbox: what is known and what is seen of it in, decision out.

Also what a file's name means: whether it is a list, which list, and what it is called once it is
put away. Pure: who lists folders, reads and moves is in the adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath

from resources.core.errors import PipelineError

# A file is whole when it looks the same at two looks that are so far apart.
SETTLE_S = 10.0
# The same where nobody can tell whether a process still has the file open for writing.
UNKNOWN_SETTLE_S = 60.0
# With a file that is empty so far, or that another process keeps open for writing.
PATIENCE_S = 3600.0
# Between two tries to read a file that could not be fetched, and to move one that could not be.
FETCH_AGAIN_S = 300.0
MOVE_AGAIN_S = 3600.0
# So often a reading may begin and not end: the file itself ends the process that reads it.
MOST_TRIES = 5
MOST_FILE_BYTES = 2_000_000_000
MOST_NAME_BYTES = 180

TAKEN_FOLDER = "taken"
SET_ASIDE_FOLDER = "set-aside"

_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload")
_OF_THE_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})
_PACKED = (".gz", ".gzip", ".bz2", ".xz", ".zst")


class InboxAway(PipelineError):
    """The inbox, or a file in it, cannot be reached now: the message says what, why, what to do."""


class FileChanged(PipelineError):
    """A file is not what was seen any more: gone, or written to. The next look decides."""


class FileState(StrEnum):
    """How far a file is."""

    SEEN = "seen"
    TAKING = "taking"
    """Reading it has begun, by whoever has the claim."""
    TAKEN = "taken"
    """Its domains are in the ledger."""
    SET_ASIDE = "set_aside"
    """It cannot be used; the sentence says why."""


class FileAction(StrEnum):
    """What is done about a file."""

    LEAVE = "leave"
    NOTE = "note"
    """Write down what it looks like, to be compared at a later look."""
    TAKE = "take"
    SET_ASIDE = "set_aside"
    MOVE = "move"
    """It is taken or set aside, and is moved out of the way."""
    COMPLETE = "complete"
    """Reading it has begun, whoever did has died, and it is gone: what it brought is kept."""
    CLOSE = "close"
    """It is gone, and nothing remains to be done."""
    FORGET = "forget"
    """It is gone before it was read."""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as it looks now.

    Args:
        name: Within the inbox.
        address: Folder and name, fit to be shown; tells it apart from every other file.
        size_bytes: Its size.
        stamp: Changes whenever the file is written to.
        is_open: Whether a process has it open for writing; None where that cannot be told.
    """

    name: str
    address: str
    size_bytes: int
    stamp: str
    is_open: bool | None = False


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the ledger holds about a file that is not put away.

    Args:
        first_seen_at: When it looked like this for the first time, epoch seconds.
        at: When it came to its state, or was tried last, epoch seconds.
        tries: Readings that have begun; not those that our own side kept from their end.
        list_name: The list that it is taken in as; None before that.
        scope: Names the limit of credits that holds for its batches.
        sentence: What became of it, or why it could not be fetched or moved; empty for nothing.
        place: Where it is to be moved, relative to the inbox; None before a move was planned.
        has_move_failed: Whether the newest move did not succeed.
        claim: Of whoever works on it, or worked and died.
        is_in_hand: Whether somebody living has the claim.
    """

    id: int
    address: str
    stamp: str
    state: FileState
    first_seen_at: float
    at: float
    tries: int = 0
    list_name: str | None = None
    scope: str = ""
    sentence: str = ""
    place: str | None = None
    has_move_failed: bool = False
    claim: str | None = None
    is_in_hand: bool = False


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What is done about a file, and why in words where that is worth saying."""

    action: FileAction
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that cannot be used.

    Args:
        file: Its address in the inbox.
        sentence: What is wrong, where, and what to do.
    """

    file: str
    sentence: str


def decide_file(  # noqa: PLR0911  # a table of rules
    known: KnownFile | None, seen: SeenFile | None, now: float
) -> FileVerdict:
    """Decide about one file; the first rule that fits counts.

    Args:
        known: None for a file that is new.
        seen: None for a file that is gone.
        now: Epoch seconds.
    """
    if known is None:
        return FileVerdict(FileAction.NOTE, "it is new and may still be written")
    if known.is_in_hand:
        return FileVerdict(FileAction.LEAVE, "it is being worked on")
    if seen is None or (seen.stamp != known.stamp and known.state is not FileState.SEEN):
        return FileVerdict(_OF_A_FILE_GONE[known.state])
    match known.state:
        case FileState.SEEN:
            return _decide_unread(known, seen, now)
        case FileState.TAKING:
            return _decide_broken_off(known, seen, now)
        case FileState.TAKEN | FileState.SET_ASIDE:
            if known.has_move_failed and abs(now - known.at) < MOVE_AGAIN_S:
                return FileVerdict(FileAction.LEAVE, known.sentence)
            return FileVerdict(FileAction.MOVE)


_OF_A_FILE_GONE = {
    FileState.SEEN: FileAction.FORGET,
    FileState.TAKING: FileAction.COMPLETE,
    FileState.TAKEN: FileAction.CLOSE,
    FileState.SET_ASIDE: FileAction.CLOSE,
}


def _decide_unread(  # noqa: PLR0911  # a table of rules
    known: KnownFile, seen: SeenFile, now: float
) -> FileVerdict:
    waited_s = now - known.first_seen_at
    # The clock may have been put back: then the time that has passed is not known.
    if seen.stamp != known.stamp or waited_s < 0:
        return FileVerdict(FileAction.NOTE, "it is still being written")
    if waited_s < (UNKNOWN_SETTLE_S if seen.is_open is None else SETTLE_S):
        return FileVerdict(FileAction.LEAVE, "it may still be written")
    if waited_s < PATIENCE_S and seen.size_bytes == 0:
        return FileVerdict(FileAction.LEAVE, "it is empty so far")
    if waited_s < PATIENCE_S and seen.is_open:
        return FileVerdict(FileAction.LEAVE, "a process has it open for writing")
    if seen.size_bytes > MOST_FILE_BYTES:
        return FileVerdict(
            FileAction.SET_ASIDE,
            f"{seen.address} has {seen.size_bytes / 1e9:.1f} GB, and lists of at most "
            f"{MOST_FILE_BYTES / 1e9:.0f} GB are taken in; cut it into several files.",
        )
    if known.sentence and abs(now - known.at) < FETCH_AGAIN_S:
        return FileVerdict(FileAction.LEAVE, known.sentence)
    return FileVerdict(FileAction.TAKE)


def _decide_broken_off(known: KnownFile, seen: SeenFile, now: float) -> FileVerdict:
    if known.tries < MOST_TRIES:
        if known.sentence and abs(now - known.at) < FETCH_AGAIN_S:
            return FileVerdict(FileAction.LEAVE, known.sentence)
        return FileVerdict(FileAction.TAKE)
    return FileVerdict(
        FileAction.SET_ASIDE,
        f"{seen.address} was begun {known.tries} times and never read to its end: the process "
        "that read it died or failed each time. Look into the log of the code server, and cut "
        "the file into smaller ones or save it as CSV in UTF-8.",
    )


# -- names ----------------------------------------------------------------------------------------


def is_list_file(name: str) -> bool:
    """Whether a file of this name may be a list: hidden and unfinished ones are none."""
    lower = name.lower()
    if not name or lower.startswith((".", "~$")) or lower in _OF_THE_SYSTEM:
        return False
    return not lower.endswith(_UNFINISHED)


def list_stem(name: str) -> str:
    """What a list is called after: the file's name without its form and without how it is packed.

    >>> list_stem("customers.csv.gz"), list_stem("Kunden 2024.xlsx"), list_stem("plain")
    ('customers', 'Kunden 2024', 'plain')
    """
    for packed in _PACKED:
        if name.lower().endswith(packed) and len(name) > len(packed):
            name = name[: -len(packed)]
            break
    return PurePosixPath(name).stem


def shown_name(name: str) -> str:
    r"""A file's name on one line, whatever it holds; two names never become the same.

    >>> shown_name("a b.csv"), shown_name("a\nb.csv")
    ('a b.csv', 'a\\nb.csv')
    """
    return "".join(char if char.isprintable() and char != "\\" else _escaped(char) for char in name)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def plain_name(name: str) -> str:
    """A name that every file system takes: one line, no folder, not too long, its end kept."""
    clean = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in name)
    return clean.encode()[-MOST_NAME_BYTES:].decode("utf-8", "ignore")


def put_away_name(name: str, now: float, number: int = 1) -> str:
    """What a file is called once it was taken or set aside: the time (UTC) before its name.

    Args:
        now: Epoch seconds.
        number: Above 1 where the name is taken already.

    >>> put_away_name("a.csv", 1_800_000_000.0), put_away_name("a.csv", 1_800_000_000.0, 2)
    ('20270115T080000Z-a.csv', '20270115T080000Z-2-a.csv')
    """
    time = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    middle = f"{number}-" if number > 1 else ""
    return f"{time}-{middle}{plain_name(name)}"


def report_of(set_aside: SetAside, now: float) -> str:
    """The text that lies beside a file that was set aside."""
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"{set_aside.sentence}\n\n"
        f"Set aside at {time}: nothing of {set_aside.file} was taken in.\n"
        "When it is mended, put it into the inbox again.\n"
    )
