"""From a file in the inbox to batches that somebody wants: once, whole, whatever is killed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.inbox import InboxFolder
from resources.adapters.ledger.inbox import CLAIM_S, InboxFiles
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import inbox_files
from resources.adapters.ledger.workers import current_process
from resources.adapters.scratch import FOLDER
from resources.core.config import Settings, load_settings
from resources.core.inbox import (
    FETCH_AGAIN_S,
    MOST_FILE_BYTES,
    MOST_TRIES,
    MOVE_AGAIN_S,
    PATIENCE_S,
    FileState,
    SeenFile,
)
from resources.core.models import FETCHING, Phase
from resources.inbox_intake import LONGEST_LOOK_S, InboxIntake, IntakeReport
from resources.inbox_requests import missing_partitions, unwritten_manifests
from tests.support.inboxes import READ_ONLY, Inbox, Killed
from tests.support.ledgers import add_list
from tests.support.requirements import ROOT
from tests.support.time import NOW, ManualClock

LOOKER = "tests.support.looking_process"
THREE = "domain\nacme.example\nbeta.example\ngamma.example\n"


class Desk:
    """One process that looks into an inbox every 30 seconds."""

    def __init__(self, ledger: Ledger, inbox: Inbox, home: Path, **settings: Any) -> None:
        self.ledger = ledger
        self.inbox = inbox
        self.files = InboxFiles(ledger.database)
        self.clock = ManualClock()
        self.settings: Settings = load_settings(home=home, batch_size=2, **settings)

    def look(self, after_s: float = 30.0) -> IntakeReport:
        self.clock.advance(after_s)
        return self.intake().look()

    def intake(self, ledger: Ledger | None = None) -> InboxIntake:
        return InboxIntake(self.settings, ledger or self.ledger, self.clock, self.inbox.folder)

    def look_often(self) -> None:
        for _ in range(4):
            self.look()

    def look_until_idle(self) -> list[IntakeReport]:
        """Look until nothing is done any more."""
        reports = [self.look()]
        while reports[-1].taken or reports[-1].set_aside or reports[-1].left:
            reports.append(self.look())
            assert len(reports) < 50
        return reports

    def domains(self, name: str) -> list[str]:
        batches = self.ledger.lists.batches_of(name)
        return [
            str(member["domain"])
            for batch in batches
            for member in self.ledger.lists.manifest(batch.key)
        ]

    def asked_for(self) -> dict[Phase, list[str]]:
        found: dict[Phase, list[str]] = {phase: [] for phase in FETCHING}
        for phase, key in sorted(self.ledger.requests.all()):
            found[phase].append(key)
        return found

    def scopes(self) -> set[str]:
        return {request.scope for request in self.ledger.requests.all().values()}


@pytest.fixture(params=["disk", "memory"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "in" if request.param == "disk" else None)


@pytest.fixture
def desk(ledger: Ledger, inbox: Inbox, tmp_path: Path) -> Desk:
    return Desk(ledger, inbox, tmp_path / "home")


@pytest.fixture
def on_disk(ledger: Ledger, tmp_path: Path) -> Desk:
    return Desk(ledger, Inbox(tmp_path / "in"), tmp_path / "home")


def _keys(name: str, count: int) -> list[str]:
    return [f"{name}-{number:05d}" for number in range(1, count + 1)]


def _whole_once(desk: Desk, *, is_put_away: bool = True) -> None:
    """The list is in the ledger once, all of it is wanted, and the file is out of the way."""
    assert desk.domains("three") == ["acme.example", "beta.example", "gamma.example"]
    assert desk.asked_for() == {phase: _keys("three", 2) for phase in FETCHING}
    assert len(desk.scopes()) == 1
    assert desk.inbox.names() == []
    assert len(desk.inbox.names("taken")) == is_put_away
    assert desk.files.open_files(desk.clock.now()) == {}


# -- good files -----------------------------------------------------------------------------------


def test_a_file_becomes_batches_that_are_wanted_and_is_put_away(desk: Desk) -> None:
    desk.inbox.drop("three.csv", THREE)
    first = desk.look()
    assert (first.seen, first.taken) == (1, [])
    assert "may still be written" in first.note
    second = desk.look()
    (said,) = second.taken
    assert "list three: 3 rows, 3 domains, 0 duplicates, 0 rejected; 2 batches new" in said
    assert desk.look().note.endswith("has no new file.")
    _whole_once(desk)
    assert not list((desk.settings.home / "inbox-reading").iterdir())


def test_a_file_that_is_written_slowly_is_taken_once_and_whole(desk: Desk) -> None:
    domains = [f"company-{number}.example" for number in range(300)]
    desk.inbox.drop("slow.csv", "domain\n")
    taken = []
    for start in range(0, 300, 20):
        for domain in domains[start : start + 20]:
            desk.inbox.append("slow.csv", f"{domain}\n")
            taken += desk.look(after_s=11).taken
            taken += desk.look(after_s=2).taken
    for _ in range(5):
        taken += desk.look().taken
    assert len(taken) == 1
    assert desk.domains("slow") == domains
    assert desk.inbox.names() == []


def test_a_file_written_to_while_it_is_read_is_left_and_then_taken_whole(on_disk: Desk) -> None:
    class Growing(type(on_disk.inbox.fs)):  # type: ignore[misc]
        is_written = False

        def get_file(self, source: str, target: str, **options: Any) -> None:
            super().get_file(source, target, **options)
            if not self.is_written:
                self.is_written = True
                on_disk.inbox.append("three.csv", "beta.example\ngamma.example\n")

    on_disk.inbox.folder._fs = Growing()
    on_disk.inbox.drop("three.csv", "domain\nacme.example\n")
    on_disk.look()
    assert "still being written" in on_disk.look().note
    assert on_disk.ledger.lists.names() == []
    on_disk.look_until_idle()
    _whole_once(on_disk)


def test_the_same_file_again_adds_nothing(desk: Desk) -> None:
    for _ in range(2):
        desk.inbox.drop("three.csv", THREE)
        reports = desk.look_until_idle()
    assert "nothing is new" in " ".join(one.note for one in reports)
    assert desk.asked_for() == {phase: _keys("three", 2) for phase in FETCHING}
    assert len(desk.inbox.names("taken")) == 2


def test_a_grown_list_adds_batches_for_what_is_new_alone(desk: Desk) -> None:
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    desk.inbox.drop("three.csv", THREE + "delta.example\n")
    desk.look_until_idle()
    assert desk.asked_for() == {phase: _keys("three", 3) for phase in FETCHING}
    assert desk.domains("three")[3:] == ["delta.example"]
    assert len(desk.scopes()) == 2  # each file has a limit of its own


def test_what_was_asked_for_before_stays_as_it_is(desk: Desk) -> None:
    add_list(desk.ledger, "three", ["acme.example", "beta.example"], batch_size=2)
    desk.ledger.requests.ask(["three-00001"], FETCHING, scope="older", now=NOW)
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    scopes = {key: one.scope for (_, key), one in desk.ledger.requests.all().items()}
    assert scopes["three-00001"] == "older"
    assert scopes["three-00002"] not in {"older", ""}


def test_several_files_are_taken_oldest_first_and_what_is_left_comes_next(desk: Desk) -> None:
    class Slow(ManualClock):
        def now(self) -> float:
            self.advance(LONGEST_LOOK_S / 8)
            return self.time

    for number in range(6):
        desk.inbox.drop(f"list{number}.csv", f"domain\nacme{number}.example\n")
        desk.look(after_s=1)
    desk.clock = Slow(desk.clock.time)
    report = desk.look()
    assert 0 < len(report.taken) < 6
    assert f"{6 - len(report.taken)} files left for the next look." in report.left
    desk.look_until_idle()
    assert desk.ledger.lists.names() == [f"list{number}" for number in range(6)]


def test_a_packed_list_is_called_as_it_would_be_unpacked(desk: Desk) -> None:
    desk.inbox.drop("three.csv.gz", gzip.compress(THREE.encode()))
    desk.look_until_idle()
    _whole_once(desk)


def test_a_file_dropped_while_healing_is_switched_off_is_taken_in(
    ledger: Ledger, inbox: Inbox, tmp_path: Path
) -> None:
    desk = Desk(ledger, inbox, tmp_path / "home", enable_auto_recovery=False)
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    _whole_once(desk)


# -- bad files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("cut.csv.gz", gzip.compress(THREE.encode() * 999)[:60], "cut.csv.gz"),
        ("image.csv", b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "is an image"),
        ("nothing.csv", "domain\nnot a domain\nnor this\n", "no usable domain"),
        ("prose.csv", "name,city\nAcme,Berlin\nBeta,Paris\n", "of `pipeline run`"),
        ("株式会社.csv", THREE, "no list name can be made"),
    ],
    ids=["cut", "image", "nothing", "prose", "nameless"],
)
def test_a_bad_file_is_set_aside_with_what_is_wrong(
    desk: Desk, name: str, text: str | bytes, says: str
) -> None:
    desk.inbox.drop(name, text)
    desk.look()
    report = desk.look()
    (aside,) = report.set_aside
    assert says in aside.sentence
    assert desk.inbox.address(name) in aside.sentence
    assert str(desk.settings.home) not in aside.sentence
    assert report.note.startswith("Set aside: ")
    file, beside = sorted(desk.inbox.names("set-aside"))
    assert file.endswith(f"Z-{name}")
    assert beside == f"{file}.report.txt"
    assert aside.sentence in desk.inbox.text("set-aside", beside)
    assert desk.inbox.names() == []
    assert desk.ledger.lists.names() == []
    assert list(desk.files.untold().values()) == [aside]
    assert desk.look().set_aside == []


def test_an_empty_file_waits_and_is_set_aside_after_an_hour(desk: Desk) -> None:
    desk.inbox.drop("empty.csv", "")
    desk.look()
    assert "is empty so far" in desk.look().note
    assert desk.inbox.names() == ["empty.csv"]
    (aside,) = desk.look(after_s=PATIENCE_S).set_aside
    assert "is empty" in aside.sentence


def test_a_file_that_is_too_large_is_set_aside_unread(on_disk: Desk) -> None:
    on_disk.inbox.drop("huge.csv", THREE)
    with Path(on_disk.inbox.address("huge.csv")).open("r+b") as file:
        file.truncate(MOST_FILE_BYTES + 1)
    on_disk.inbox.fs.fail(AssertionError("it was read"), "get_file")
    on_disk.look()
    (aside,) = on_disk.look().set_aside
    assert "2 GB" in aside.sentence


def test_rejected_rows_are_counted_and_said_where_to_find(desk: Desk) -> None:
    desk.inbox.drop("three.csv", THREE + "nonsense\nacme.example\n")
    desk.look()
    (said,) = desk.look().taken
    assert "5 rows, 3 domains, 1 duplicate, 1 rejected" in said
    assert "`pipeline failures` lists the rejected rows" in said


# -- what is broken off ---------------------------------------------------------------------------

STEPS = [
    (kind, call, is_done)
    for kind, calls in (
        ("disk", ("get_file", "mv")),
        ("memory", ("get_file", "cp_file", "rm_file")),
    )
    for call in calls
    for is_done in (False, True)
]


@pytest.mark.parametrize(
    ("inbox", "call", "is_done"),
    STEPS,
    ids=[f"{kind}-{'after' if is_done else 'before'}-{call}" for kind, call, is_done in STEPS],
    indirect=["inbox"],
)
def test_a_look_that_is_killed_at_any_step_is_gone_on_with(
    desk: Desk, call: str, is_done: bool
) -> None:
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    desk.inbox.fs.fail(Killed(), call, is_done=is_done)
    with pytest.raises(Killed):
        desk.look()
    desk.inbox.fs.fail(None)
    assert desk.look().taken == []  # whoever has the claim may still live
    desk.look(after_s=CLAIM_S)
    desk.look_until_idle()
    _whole_once(desk)


class _KilledWhenAsked:
    """Requests of a process that dies before they are written."""

    def ask(self, *_arguments: Any, **_options: Any) -> None:
        raise Killed


@pytest.mark.parametrize("is_removed", [False, True], ids=["there", "removed"])
def test_a_look_that_is_killed_between_ingest_and_request_is_completed(
    desk: Desk, second: Ledger, is_removed: bool
) -> None:
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    second.requests = _KilledWhenAsked()  # type: ignore[assignment]
    desk.clock.advance(30)
    with pytest.raises(Killed):
        desk.intake(second).look()
    assert len(desk.domains("three")) == 3
    assert desk.asked_for() == {phase: [] for phase in FETCHING}
    if is_removed:
        desk.inbox.remove("three.csv")
    desk.look(after_s=CLAIM_S)
    desk.look_until_idle()
    _whole_once(desk, is_put_away=not is_removed)


def test_bad_files_that_were_not_put_away_are_told_once_and_put_away_later(desk: Desk) -> None:
    desk.inbox.drop("bad.csv", b"\x89PNG\r\n\x1a\n")
    desk.look()
    desk.inbox.fs.fail(Killed(), "pipe_file")
    with pytest.raises(Killed):
        desk.look()
    desk.inbox.fs.fail(None)
    assert len(desk.files.untold()) == 1
    assert desk.look(after_s=CLAIM_S).set_aside == []
    assert len(desk.inbox.names("set-aside")) == 2
    assert len(desk.files.untold()) == 1


def _bury_the_reader(ledger: Ledger) -> None:
    """Let claims be those of a process that is gone: the one that was killed lives on in here."""
    me = current_process()
    words = f"{me.host}/{me.boot_id}/{me.pid}/1.0"
    with ledger.database.write() as connection:
        connection.execute(
            update(inbox_files).where(inbox_files.c.claim.is_not(None)).values(claimed_by=words)
        )


def test_a_file_that_kills_its_reader_each_time_is_set_aside(desk: Desk) -> None:
    desk.inbox.drop("deadly.csv", THREE)
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    desk.inbox.fs.fail(Killed(), "get_file", is_done=True)
    for _ in range(2 * MOST_TRIES):
        with pytest.raises(Killed):
            desk.look(after_s=CLAIM_S)
        _bury_the_reader(desk.ledger)
    desk.inbox.fs.fail(None)
    desk.look(after_s=CLAIM_S)
    aside = desk.files.untold().values()
    assert len(aside) == 2
    assert desk.inbox.names() == []
    assert all(f"begun {MOST_TRIES} times" in one.sentence for one in aside)
    assert desk.ledger.lists.names() == []


def test_an_unforeseen_error_in_one_file_does_not_keep_the_others(desk: Desk) -> None:
    desk.inbox.drop("a-bad.csv", THREE)
    desk.look()
    desk.inbox.fs.fail(Killed(), "get_file")
    with pytest.raises(Killed):
        desk.look()
    desk.inbox.fs.fail(None)
    desk.inbox.drop("b-good.csv", THREE)
    desk.look()
    assert len(desk.look().taken) == 1
    assert desk.ledger.lists.names() == ["b-good"]


def test_what_a_killed_reader_left_behind_is_removed(desk: Desk) -> None:
    left = desk.settings.home / "inbox-reading" / "of-a-killed-process"
    left.mkdir(parents=True)
    (left / "copy.csv").write_text("half")
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    assert not left.exists()


# -- what cannot be reached -----------------------------------------------------------------------


def test_a_file_that_cannot_be_moved_is_taken_once_and_that_is_said(desk: Desk) -> None:
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    desk.inbox.fs.fail(READ_ONLY, *desk.inbox.moves, "pipe_file")
    report = desk.look()
    assert len(report.taken) == 1
    assert "It stays in the inbox, and is not taken again." in report.note
    assert "Read-only file system" in report.note
    for _ in range(5):
        again = desk.look()
        assert again.taken == []
        assert "Read-only file system" in again.note
    asked = desk.asked_for()
    desk.inbox.fs.fail(None)
    assert desk.look(after_s=MOVE_AGAIN_S).troubles == []
    assert desk.asked_for() == asked
    _whole_once(desk)


def test_an_unmoved_file_that_grows_is_taken_again_as_a_grown_list(desk: Desk) -> None:
    desk.inbox.fs.fail(READ_ONLY, *desk.inbox.moves)
    desk.inbox.drop("three.csv", THREE)
    desk.look_often()
    desk.inbox.append("three.csv", "delta.example\n")
    desk.look_often()
    assert desk.domains("three")[3:] == ["delta.example"]


def test_a_file_that_cannot_be_read_is_not_blamed_and_tried_again(desk: Desk) -> None:
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    desk.inbox.fs.fail(PermissionError(13, "Permission denied"), "get_file")
    for _ in range(5):
        report = desk.look()
        assert report.set_aside == []
        assert "Permission denied" in report.troubles[0]
    desk.inbox.fs.fail(None)
    desk.look(after_s=FETCH_AGAIN_S)
    _whole_once(desk)


def test_our_own_database_is_never_blamed_on_the_file(desk: Desk) -> None:
    """Writing fails for want of a table, more often than a file may end its reader."""
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    for _ in range(MOST_TRIES + 2):
        with desk.ledger.database.write() as connection:
            connection.execute(text("ALTER TABLE members RENAME TO away"))
        with pytest.raises(SQLAlchemyError):
            desk.look(after_s=FETCH_AGAIN_S)
        with desk.ledger.database.write() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO members"))
        assert desk.inbox.names() == ["three.csv"]
    assert desk.look().set_aside == []
    _whole_once(desk)


class Bewildered(InboxFolder):
    """A folder in which one file does what nobody foresaw."""

    def fetch(self, seen: SeenFile, target: Path) -> None:
        if seen.name == "odd.csv":
            raise ZeroDivisionError("a bug")
        super().fetch(seen, target)


def test_what_nobody_foresaw_keeps_no_other_file_and_ends_after_some_tries(on_disk: Desk) -> None:
    desk = on_disk
    desk.inbox.folder = Bewildered(desk.inbox.fs, desk.inbox.root, desk.inbox.root)
    desk.inbox.drop("odd.csv", THREE)
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    report = desk.look()
    assert "odd.csv could not be dealt with (ZeroDivisionError: a bug)" in report.note
    assert desk.domains("three") == ["acme.example", "beta.example", "gamma.example"]
    assert desk.look().set_aside == [], "not again at once"
    for _ in range(MOST_TRIES):
        report = desk.look(after_s=FETCH_AGAIN_S)
    assert [one.file for one in report.set_aside] == [desk.inbox.address("odd.csv")]


def test_entries_that_are_no_files_block_nothing(on_disk: Desk) -> None:
    desk = on_disk
    folder = Path(desk.inbox.root)
    (folder / "folder.csv").mkdir()
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "nowhere.csv").symlink_to("not there")
    os.mkfifo(folder / "pipe.csv")
    (Path(os.fsencode(folder).decode()) / os.fsdecode(b"\xff\n.csv")).write_text(THREE)
    desk.inbox.drop("three.csv", THREE)
    desk.look_often()
    assert desk.domains("three") == ["acme.example", "beta.example", "gamma.example"]
    assert len(desk.inbox.names("taken")) + len(desk.inbox.names("set-aside")) >= 2


def test_a_disk_of_ours_that_fails_is_not_blamed_on_the_file(desk: Desk) -> None:
    """Rows lie in a folder of the home while a list is read; here it cannot be made."""
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    in_the_way = desk.settings.home / FOLDER
    in_the_way.parent.mkdir()
    in_the_way.write_text("")
    report = desk.look()
    assert (report.taken, report.set_aside) == ([], [])
    assert "could not be kept" in report.note
    in_the_way.unlink()
    assert desk.look().troubles == report.troubles
    desk.look(after_s=FETCH_AGAIN_S)
    _whole_once(desk)


def test_an_inbox_that_cannot_be_reached_is_said(desk: Desk) -> None:
    desk.inbox.fs.fail(OSError("connection refused"), "ls")
    assert "cannot be listed: connection refused" in desk.look().note


# -- limits of credits ----------------------------------------------------------------------------


def test_a_list_that_may_cost_money_waits_for_a_limit(
    ledger: Ledger, inbox: Inbox, tmp_path: Path
) -> None:
    paid = {"providers": {"pdl": {"api_key": "key-of-a-test"}}}
    desk = Desk(ledger, inbox, tmp_path / "home", **paid)
    desk.inbox.drop("three.csv", THREE)
    desk.look()
    report = desk.look()
    assert len(report.taken) == 1
    for note in (report.note, desk.look().note):
        assert "Batches of three may spend credits at pdl" in note
        assert "set PIPELINE_MAX_CREDITS" in note
    assert desk.domains("three") == ["acme.example", "beta.example", "gamma.example"]
    assert desk.asked_for() == {phase: [] for phase in FETCHING}
    assert missing_partitions(ledger, []) == _keys("three", 2)
    desk.settings = load_settings(home=tmp_path / "home", max_credits=10, **paid)
    assert desk.look().troubles == []
    _whole_once(desk)


def test_a_list_that_somebody_runs_meanwhile_waits_for_nothing(
    ledger: Ledger, inbox: Inbox, tmp_path: Path
) -> None:
    paid = {"providers": {"pdl": {"api_key": "key-of-a-test"}}}
    desk = Desk(ledger, inbox, tmp_path / "home", **paid)
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    ledger.requests.ask(_keys("three", 2), FETCHING, scope="by a person", now=NOW)
    assert desk.look().troubles == []


def test_in_the_sandbox_no_limit_is_asked_for(ledger: Ledger, inbox: Inbox, tmp_path: Path) -> None:
    desk = Desk(
        ledger,
        inbox,
        tmp_path / "home",
        providers={"pdl": {"api_key": "key-of-a-test"}},
        fetch={"connect_to": "127.0.0.1:9"},
    )
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    _whole_once(desk)


# -- several at once ------------------------------------------------------------------------------


def test_two_that_look_at_once_take_a_file_once(desk: Desk, second: Ledger) -> None:
    for number in range(10):
        desk.inbox.drop("three.csv" if number == 0 else f"n{number}.csv", THREE)
    desk.look()
    desk.clock.advance(30)
    barrier = Barrier(2)
    reports: list[IntakeReport] = []

    def look(own: Ledger) -> None:
        intake = desk.intake(own)
        barrier.wait()
        reports.append(intake.look())

    threads = [Thread(target=look, args=[own]) for own in (desk.ledger, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(one.taken) for one in reports) == 10
    assert len(desk.inbox.names("taken")) == 10
    assert len(desk.domains("three")) == 3
    assert [one.state for one in desk.files.newest(20)] == [FileState.TAKEN] * 10


def _lookers(url: str, inbox: Path, home: Path, *, count: int, kill: str = "") -> Sequence[str]:
    """Real processes that look at the same moment. Returns what they took, one line each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", LOOKER, url, str(inbox), str(home), kill],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [line for one in processes for line in one.communicate(timeout=60)[0].splitlines()]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _url(ledger: Ledger) -> str:
    return ledger.database.url.render_as_string(hide_password=False)


def test_processes_that_look_at_once_take_each_file_once(on_disk: Desk, tmp_path: Path) -> None:
    for name in ("three", "four", "five"):
        on_disk.inbox.drop(f"{name}.csv", THREE)
    on_disk.look()
    lines = _lookers(_url(on_disk.ledger), Path(on_disk.inbox.root), on_disk.settings.home, count=3)
    assert len(lines) == 3
    assert len(on_disk.inbox.names("taken")) == 3
    for name in ("three", "four", "five"):
        assert on_disk.domains(name) == ["acme.example", "beta.example", "gamma.example"]


@pytest.mark.parametrize("kill", ["get_file", "mv", "ask"])
def test_what_a_killed_process_began_is_gone_on_with_at_once(on_disk: Desk, kill: str) -> None:
    on_disk.inbox.drop("three.csv", THREE)
    on_disk.look()
    url, inbox = _url(on_disk.ledger), Path(on_disk.inbox.root)
    _lookers(url, inbox, on_disk.settings.home, count=1, kill=kill)
    assert on_disk.inbox.names() == ["three.csv"]
    on_disk.clock.advance(30)
    on_disk.look()
    _whole_once(on_disk)


# -- what Dagster is to know ----------------------------------------------------------------------


def test_what_dagster_does_not_know_yet_is_missing(desk: Desk) -> None:
    add_list(desk.ledger, "not-wanted", ["x.example"])
    desk.inbox.drop("three.csv", THREE)
    desk.look_until_idle()
    assert missing_partitions(desk.ledger, []) == _keys("three", 2)
    assert missing_partitions(desk.ledger, ["three-00001", "other-00001"]) == ["three-00002"]
    assert missing_partitions(desk.ledger, _keys("three", 2)) == []
    assert unwritten_manifests(desk.ledger) == _keys("three", 2)
