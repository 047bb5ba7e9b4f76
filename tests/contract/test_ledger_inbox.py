"""Rows of inbox files: one of two processes goes on, and nothing is forgotten by a restart."""

from __future__ import annotations

import subprocess
import sys
import time
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, update

from resources.adapters.ledger.artifacts import Artifact
from resources.adapters.ledger.inbox import CLAIM_S, FORGOTTEN_AFTER_S, InboxFiles
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import inbox_files
from resources.adapters.ledger.workers import current_process
from resources.core.inbox import FileState, KnownFile, SetAside
from resources.core.models import FETCHING, Phase
from resources.inbox_claims import renewed
from tests.support.ledgers import add_list
from tests.support.time import NOW, ManualClock

A, B = "/in/a.csv", "/in/b.csv"
DOMAINS = [f"d{number}.example" for number in range(5)]


@pytest.fixture
def files(ledger: Ledger) -> InboxFiles:
    return InboxFiles(ledger.database)


def _only(files: InboxFiles, now: float = NOW) -> KnownFile:
    (known,) = files.open_files(now).values()
    return known


def _begun(files: InboxFiles, address: str = A, name: str = "a") -> str:
    """A claim on a file whose reading has begun."""
    files.note({address: "size=1"}, NOW)
    claim = files.claim(files.open_files(NOW)[address], NOW)
    assert claim is not None
    assert files.begin(claim, name, "scope-1", NOW)
    return claim


def test_what_was_seen_of_a_file_is_there_after_a_restart(files: InboxFiles) -> None:
    files.note({A: "size=1", B: "size=2"}, NOW)
    files.note({B: "size=3"}, NOW + 30)
    known = files.open_files(NOW + 31)
    assert set(known) == {A, B}
    assert (known[A].stamp, known[A].first_seen_at) == ("size=1", NOW)
    assert (known[B].stamp, known[B].first_seen_at) == ("size=3", NOW + 30)
    assert {one.state for one in known.values()} == {FileState.SEEN}


def test_thousands_of_files_are_noted_at_once(files: InboxFiles) -> None:
    stamps = {f"/in/{number}.csv": f"size={number}" for number in range(5_000)}
    files.note(stamps, NOW)
    assert {address: one.stamp for address, one in files.open_files(NOW).items()} == stamps


def test_two_processes_that_see_a_new_file_at_once_note_it_once(
    ledger: Ledger, second: Ledger
) -> None:
    barrier = Barrier(2)

    def look(own: Ledger) -> None:
        barrier.wait()
        InboxFiles(own.database).note({A: "size=1"}, NOW)

    threads = [Thread(target=look, args=[own]) for own in (ledger, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.database.read() as connection:
        assert len(connection.execute(select(inbox_files)).all()) == 1


def test_of_two_processes_one_gets_a_file(ledger: Ledger, second: Ledger) -> None:
    files, others = InboxFiles(ledger.database), InboxFiles(second.database)
    files.note({A: "size=1"}, NOW)
    known = _only(files)
    barrier = Barrier(2)
    claims: list[str | None] = []

    def claim(own: InboxFiles) -> None:
        barrier.wait()
        claims.append(own.claim(known, NOW))

    threads = [Thread(target=claim, args=[own]) for own in (files, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in claims if one is not None]) == 1
    assert _only(others).is_in_hand


def test_a_claim_on_a_file_that_was_seen_anew_is_refused(files: InboxFiles) -> None:
    files.note({A: "size=1"}, NOW)
    known = _only(files)
    files.note({A: "size=2"}, NOW + 1)
    assert files.claim(known, NOW + 2) is None


def test_a_claim_ends_with_its_time(files: InboxFiles) -> None:
    _begun(files)
    assert _only(files, NOW + CLAIM_S - 1).is_in_hand
    known = _only(files, NOW + CLAIM_S)
    assert not known.is_in_hand
    assert (known.state, known.list_name) == (FileState.TAKING, "a")
    assert known.tries == 0, "its process is still here: it did not die of the file"
    assert not _only(files, NOW - 3_600).is_in_hand, "a clock that was put back holds nobody up"


def test_a_claim_ends_with_its_process(ledger: Ledger, files: InboxFiles) -> None:
    _begun(files)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    me = current_process()
    words = f"{me.host}/{me.boot_id}/{ended.pid}/{me.process_started}"
    with ledger.database.write() as connection:
        connection.execute(update(inbox_files).values(claimed_by=words))
    assert not _only(files).is_in_hand
    assert _only(files).tries == 1


def test_a_claim_is_kept_for_as_long_as_a_file_is_read(files: InboxFiles) -> None:
    claim, clock = _begun(files), ManualClock(NOW)
    clock.advance(CLAIM_S - 1)
    give_up_at = time.monotonic() + 30
    with renewed(files, claim, clock, every_s=0.01):
        while not _only(files, NOW + CLAIM_S + 10).is_in_hand:
            assert time.monotonic() < give_up_at
    assert not _only(files, NOW + 3 * CLAIM_S).is_in_hand
    assert not files.renew("somebody else's", NOW)


def test_who_lost_the_claim_changes_nothing_any_more(files: InboxFiles) -> None:
    old = _begun(files)
    new = files.claim(_only(files, NOW + CLAIM_S), NOW + CLAIM_S)
    assert new is not None
    assert not files.taken(old, "by the slow one", NOW)
    assert not files.set_aside(old, "by the slow one", NOW)
    assert not files.let_go(old, "by the slow one", NOW)
    assert not files.begin(old, "z", "z", NOW)
    assert not files.moved(old, NOW)
    assert files.taken(new, "by the quick one", NOW)
    assert (_only(files).state, _only(files).sentence) == (FileState.TAKEN, "by the quick one")


def test_a_file_given_back_is_tried_again_and_its_try_does_not_count(files: InboxFiles) -> None:
    claim = _begun(files)
    assert files.let_go(claim, "It cannot be read.", NOW + 5)
    known = _only(files)
    assert (known.state, known.tries, known.at) == (FileState.SEEN, 0, NOW + 5)
    assert known.sentence == "It cannot be read."
    assert known.first_seen_at == NOW
    assert not known.is_in_hand


def test_a_file_is_known_until_it_is_out_of_the_way(files: InboxFiles) -> None:
    claim = _begun(files)
    files.taken(claim, "It is in.", NOW)
    files.plan_move(claim, "taken/x-a.csv")
    files.not_moved(claim, "It is in. It stays.", NOW + 1)
    known = _only(files)
    assert (known.has_move_failed, known.place) == (True, "taken/x-a.csv")
    claim = files.claim(known, NOW + 2)
    assert claim is not None
    files.moved(claim, NOW + 3)
    assert files.open_files(NOW + 4) == {}
    files.note({A: "size=1"}, NOW + 5)  # the same file, dropped again
    assert _only(files).state is FileState.SEEN
    assert [one.state for one in files.newest(5)] == [FileState.SEEN, FileState.TAKEN]


def test_a_file_that_is_gone_unread_is_forgotten_unless_somebody_has_begun(
    files: InboxFiles,
) -> None:
    files.note({A: "size=1", B: "size=1"}, NOW)
    known = files.open_files(NOW)
    claim = files.claim(known[B], NOW)
    assert claim is not None
    files.forget(list(known.values()))
    assert set(files.open_files(NOW)) == {B}


def test_a_dealt_with_file_that_is_gone_is_closed(files: InboxFiles) -> None:
    claim = _begun(files)
    files.taken(claim, "It is in.", NOW)
    files.not_moved(claim, "It is in. It stays.", NOW)
    files.close([_only(files)], NOW + 1)
    assert files.open_files(NOW) == {}
    assert files.newest(1)[0].sentence == "It is in. It stays."


def test_only_batches_that_nobody_has_asked_for_are_told(ledger: Ledger, files: InboxFiles) -> None:
    add_list(ledger, "a", DOMAINS, batch_size=2)
    add_list(ledger, "b", ["x.example"])
    ledger.requests.ask(["a-00001"], [Phase.PAGE_SCRAPING], scope="s", now=NOW)
    ledger.requests.ask(["a-00002"], FETCHING, scope="s", now=NOW)
    assert files.unrequested_batches("a") == {
        Phase.COMPANY_ENRICHMENT: ["a-00001", "a-00003"],
        Phase.PAGE_SCRAPING: ["a-00003"],
    }
    assert files.unrequested_batches("no such list") == {phase: [] for phase in FETCHING}


def test_wanted_is_what_was_requested_or_came_by_the_inbox(
    ledger: Ledger, files: InboxFiles
) -> None:
    for name in ("a", "b", "c"):
        add_list(ledger, name, [f"{name}{number}.example" for number in range(3)], batch_size=2)
    assert files.wanted_batches() == []
    files.taken(_begun(files, B, "b"), "It is in.", NOW)
    ledger.requests.ask(["a-00002", "b-00001"], FETCHING, scope="s", now=NOW)
    assert files.wanted_batches() == ["a-00002", "b-00001", "b-00002"]
    ledger.artifacts.save(Artifact("m", "b-00001", "p", 1, "v", "f", NOW))
    ledger.artifacts.save(Artifact("other", "b-00002", "p", 1, "v", "f", NOW))
    assert files.unwritten_batches("m") == ["a-00002", "b-00002"]


def test_a_taken_file_is_told_until_its_batches_are_asked_for(files: InboxFiles) -> None:
    claim = _begun(files)
    files.taken(claim, "It is in.", NOW)
    files.moved(claim, NOW)
    (waiting,) = files.unrequested()
    assert (waiting.list_name, waiting.scope) == ("a", "scope-1")
    files.forget_old(NOW + 2 * FORGOTTEN_AFTER_S)
    files.requested(waiting.id, NOW)
    assert files.unrequested() == []
    files.forget_old(NOW + 2 * FORGOTTEN_AFTER_S)
    assert files.newest(5) == []


def test_what_was_set_aside_is_told_however_late(files: InboxFiles) -> None:
    claim = _begun(files)
    files.set_aside(claim, "It is empty.", NOW + 7)
    files.moved(claim, NOW + 8)
    files.forget_old(NOW + 2 * FORGOTTEN_AFTER_S)
    ((file_id, aside),) = files.untold().items()
    assert aside == SetAside(A, "It is empty.")
    files.told([file_id], NOW + 9)
    assert files.untold() == {}


def test_claims_that_may_still_count_are_known(files: InboxFiles) -> None:
    claim = _begun(files)
    assert files.claims() == {claim}
    files.let_go(claim, "", NOW)
    assert files.claims() == set()
