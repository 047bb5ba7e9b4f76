"""What is done about a file in the inbox, and what its name means."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.batches import list_name_from
from resources.core.inbox import (
    FETCH_AGAIN_S,
    MOST_FILE_BYTES,
    MOST_TRIES,
    MOVE_AGAIN_S,
    PATIENCE_S,
    SETTLE_S,
    UNKNOWN_SETTLE_S,
    FileAction,
    FileState,
    KnownFile,
    SeenFile,
    SetAside,
    decide_file,
    is_list_file,
    list_stem,
    plain_name,
    put_away_name,
    report_of,
    shown_name,
)
from tests.support.time import NOW

SEEN = SeenFile("a.csv", "/in/a.csv", 100, "size=100 mtime=1.0")
KNOWN = KnownFile(1, "/in/a.csv", SEEN.stamp, FileState.SEEN, NOW, NOW)
LATER = NOW + SETTLE_S
TAKING = replace(KNOWN, state=FileState.TAKING, tries=1, claim="dead")
TAKEN = replace(KNOWN, state=FileState.TAKEN, sentence="It is in.")
SET_ASIDE = replace(KNOWN, state=FileState.SET_ASIDE, sentence="It is empty.")
UNREADABLE = replace(KNOWN, sentence="It cannot be read.", at=LATER)
UNMOVED = replace(TAKEN, has_move_failed=True, at=LATER)
CHANGED = replace(SEEN, stamp="size=120 mtime=2.0", size_bytes=120)
EMPTY = replace(SEEN, size_bytes=0)
OPEN = replace(SEEN, is_open=True)
UNKNOWN = replace(SEEN, is_open=None)
HUGE = replace(SEEN, size_bytes=MOST_FILE_BYTES + 1)


@pytest.mark.parametrize(
    ("known", "seen", "now", "action"),
    [
        # -- not read yet
        (None, SEEN, NOW, FileAction.NOTE),
        (KNOWN, SEEN, NOW, FileAction.LEAVE),
        (KNOWN, SEEN, LATER - 0.01, FileAction.LEAVE),
        (KNOWN, SEEN, LATER, FileAction.TAKE),
        (KNOWN, CHANGED, LATER, FileAction.NOTE),
        (KNOWN, SEEN, NOW - 5, FileAction.NOTE),  # the clock was put back
        (KNOWN, EMPTY, LATER, FileAction.LEAVE),
        (KNOWN, EMPTY, NOW + PATIENCE_S, FileAction.TAKE),  # which will say that it is empty
        (KNOWN, OPEN, LATER, FileAction.LEAVE),
        (KNOWN, OPEN, NOW + PATIENCE_S, FileAction.TAKE),
        (KNOWN, UNKNOWN, NOW + UNKNOWN_SETTLE_S - 1, FileAction.LEAVE),
        (KNOWN, UNKNOWN, NOW + UNKNOWN_SETTLE_S, FileAction.TAKE),
        (KNOWN, HUGE, LATER, FileAction.SET_ASIDE),
        (KNOWN, HUGE, NOW + 1, FileAction.LEAVE),
        (UNREADABLE, SEEN, LATER + 1, FileAction.LEAVE),
        (UNREADABLE, SEEN, LATER + FETCH_AGAIN_S, FileAction.TAKE),
        (UNREADABLE, CHANGED, LATER + 1, FileAction.NOTE),
        (KNOWN, None, LATER, FileAction.FORGET),
        # -- begun, and not ended
        (replace(TAKING, is_in_hand=True), SEEN, LATER, FileAction.LEAVE),
        (replace(TAKING, is_in_hand=True), CHANGED, LATER, FileAction.LEAVE),
        (replace(TAKING, is_in_hand=True), None, LATER, FileAction.LEAVE),
        (TAKING, SEEN, LATER, FileAction.TAKE),
        (TAKING, CHANGED, LATER, FileAction.COMPLETE),
        (TAKING, None, LATER, FileAction.COMPLETE),
        (replace(TAKING, tries=MOST_TRIES - 1), SEEN, LATER, FileAction.TAKE),
        (replace(TAKING, sentence="A bug.", at=LATER), SEEN, LATER + 1, FileAction.LEAVE),
        (replace(TAKING, sentence="A bug."), SEEN, NOW + FETCH_AGAIN_S, FileAction.TAKE),
        (replace(TAKING, tries=MOST_TRIES), SEEN, LATER, FileAction.SET_ASIDE),
        # -- dealt with, and still there
        (TAKEN, SEEN, LATER, FileAction.MOVE),
        (SET_ASIDE, SEEN, LATER, FileAction.MOVE),
        (replace(TAKEN, is_in_hand=True), SEEN, LATER, FileAction.LEAVE),
        (UNMOVED, SEEN, LATER + 1, FileAction.LEAVE),
        (UNMOVED, SEEN, LATER + MOVE_AGAIN_S, FileAction.MOVE),
        (UNMOVED, CHANGED, LATER + 1, FileAction.CLOSE),  # the changed file is a new one then
        (TAKEN, None, LATER, FileAction.CLOSE),
        (SET_ASIDE, None, LATER, FileAction.CLOSE),
    ],
)
def test_what_is_done_follows_from_what_is_known_and_what_is_seen(
    known: KnownFile | None, seen: SeenFile | None, now: float, action: FileAction
) -> None:
    assert decide_file(known, seen, now).action is action


def test_a_file_that_is_left_says_why() -> None:
    for known, seen, now in [
        (None, SEEN, NOW),
        (KNOWN, SEEN, NOW),
        (KNOWN, EMPTY, LATER),
        (KNOWN, OPEN, LATER),
        (KNOWN, CHANGED, LATER),
        (UNREADABLE, SEEN, LATER + 1),
        (UNMOVED, SEEN, LATER + 1),
        (replace(TAKING, is_in_hand=True), SEEN, LATER),
    ]:
        assert decide_file(known, seen, now).reason


def test_what_is_set_aside_unread_says_what_and_what_to_do() -> None:
    huge = decide_file(KNOWN, HUGE, LATER).reason
    assert "/in/a.csv" in huge
    assert "2 GB" in huge
    assert "cut it" in huge
    deadly = decide_file(replace(TAKING, tries=MOST_TRIES), SEEN, LATER).reason
    assert "/in/a.csv" in deadly
    assert f"{MOST_TRIES} times" in deadly


def test_a_file_that_grows_is_never_taken_and_then_once_it_stands_still() -> None:
    known: KnownFile | None = None
    actions = []
    for look in range(40):
        now = NOW + 30.0 * look
        size = min(look, 20) + 1
        seen = replace(SEEN, size_bytes=size, stamp=f"size={size}")
        action = decide_file(known, seen, now).action
        actions.append(action)
        if action is FileAction.NOTE:
            known = replace(KNOWN, stamp=seen.stamp, first_seen_at=now)
        elif action is FileAction.TAKE:
            known = replace(known or KNOWN, state=FileState.TAKEN)
    assert actions == [FileAction.NOTE] * 21 + [FileAction.TAKE] + [FileAction.MOVE] * 18


@pytest.mark.parametrize(
    "name",
    "a.csv a.CSV.gz list Kunden.xlsx [1].csv a*?.csv a.parquet partly.csv ~a.csv a.temp".split(),
)
def test_a_file_of_any_form_may_be_a_list(name: str) -> None:
    assert is_list_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".a.csv",
        ".",
        "..",
        ".DS_Store",
        "a.csv.part",
        "a.PART",
        "a.tmp",
        "a.csv.crdownload",
        "~$a.xlsx",
        "a.csv.filepart",
        "Thumbs.db",
        "desktop.ini",
    ],
)
def test_hidden_and_unfinished_files_are_no_lists(name: str) -> None:
    assert not is_list_file(name)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("customers.csv", "customers"),
        ("customers.csv.gz", "customers"),
        ("customers.CSV.GZ", "customers"),
        ("customers.txt.zst", "customers"),
        ("customers.gz", "customers"),
        (".gz", ".gz"),
        ("customers", "customers"),
        ("a.b.c.csv", "a.b.c"),
        ("Kunden 2024.xlsx", "Kunden 2024"),
    ],
)
def test_a_list_is_called_after_its_file(name: str, stem: str) -> None:
    assert list_stem(name) == stem


def test_a_set_aside_file_gets_a_report_of_what_where_and_what_to_do() -> None:
    text = report_of(SetAside("/in/a.csv", "/in/a.csv is empty; give a file with domains"), NOW)
    assert text.startswith("/in/a.csv is empty")
    assert "2027-01-15 08:00:00 UTC" in text
    assert "put it into the inbox again" in text


def _check_names(name: str) -> None:
    shown = shown_name(name)
    assert shown.isprintable()
    shown.encode()  # a broken character would not
    put_away = put_away_name(name, NOW, 12)
    assert put_away.isprintable()
    assert "/" not in put_away
    assert len(f"{put_away}.report.txt".encode()) < 255
    assert is_list_file(put_away) or not is_list_file(name)
    with suppress(ValueError):  # it is set aside with that sentence
        assert 0 < len(list_name_from(list_stem(name))) <= 60


names = st.text(st.characters(exclude_categories=()), max_size=300)


@given(names)
def test_any_name_can_be_shown_and_put_away(name: str) -> None:
    _check_names(name)


@given(names, names)
def test_two_names_are_never_shown_as_the_same(one: str, other: str) -> None:
    assert (shown_name(one) == shown_name(other)) == (one == other)


PIECES = [
    *"aZ09 ._-,;:*?[]{}()!#%&'\"\\|<>$~`^+=@\t\n\r\x00\x1b\x7f",
    "é",
    "株",
    "שלום",
    "\u202e",
    "\u200b",
    "\ufeff",
    "\udcff",
    "\udc80",
    "\ud800",
    "🏢",
    "e\u0301",
    "..",
    "~$",
    ".csv",
    ".csv.gz",
    ".part",
    ".tmp",
    "a" * 250,
    "株" * 90,
    "%2F",
    "file://",
    "s3://",
    "::",
    "sep=;",
]


def test_many_weird_names_do_no_harm() -> None:
    """A hundred thousand here; a million of them were tried once, from other seeds."""
    random_ = random.Random(20_270_115)
    for _ in range(100_000):
        _check_names("".join(random_.choices(PIECES, k=random_.randint(1, 8))))


def test_a_long_name_keeps_its_end() -> None:
    name = plain_name("x" * 400 + ".csv.gz")
    assert name.endswith("x.csv.gz")
    assert len(name) == 180
    assert plain_name("株" * 100 + ".csv").encode().endswith(b".csv")
