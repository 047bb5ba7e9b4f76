"""Claims, results, waits and counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, update

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import workers
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import DomainTask, Phase, State
from resources.core.rounds import Change
from tests.support.ledgers import CODE, LEASE_S, add_list
from tests.support.requirements import ROOT
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
KEY = "a-00001"
DOMAINS = [f"d{number:02d}.example" for number in range(10)]


@pytest.fixture(autouse=True)
def _list(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS)


def _worker(ledger: Ledger, run_id: str | None = "run", now: float = NOW) -> str:
    return ledger.workers.begin(PHASE, run_id, now)


def _claim(
    ledger: Ledger,
    worker: str,
    limit: int = 100,
    *,
    keys: Sequence[str] = (KEY,),
    due_before: float = NOW + 1,
    alone: bool = False,
) -> list[DomainTask]:
    return ledger.work.claim(worker, PHASE, keys, limit, due_before, NOW, alone=alone)


def _names(tasks: Sequence[DomainTask]) -> list[str]:
    return [task.domain for task in tasks]


def _settle(ledger: Ledger, worker: str, domain: str, state: State, **values: object) -> None:
    change = Change(domain, state, **{"rounds": 0, **values})  # type: ignore[arg-type]
    ledger.work.settle(worker, PHASE, change, CODE, NOW)


def _bury(ledger: Ledger, *dead: str) -> None:
    """Let workers die without a trace, and be found."""
    with ledger.database.write() as connection:
        connection.execute(
            update(workers).where(workers.c.id.in_(dead)).values(lease_until=NOW - 1)
        )
    ledger.workers.bury_dead(NOW)


def _result(ledger: Ledger, domain: str):  # type: ignore[no-untyped-def]
    return {result.domain: result for result in ledger.work.results(PHASE, KEY)}[domain]


def _refreshing(ledger: Ledger) -> int:
    return ledger.work.tallies(PHASE, [KEY])[KEY].refreshing


def _what(ledger: Ledger, domain: str) -> list[object]:
    return [event["what"] for event in ledger.work.history(domain)]


# -- claims -----------------------------------------------------------------------------------


def test_domains_are_claimed_in_the_order_of_the_batches_and_up_to_the_limit(
    ledger: Ledger,
) -> None:
    add_list(ledger, "b", ["b.example"])
    worker = _worker(ledger)
    keys = [KEY, "b-00001"]
    assert _names(_claim(ledger, worker, 3, keys=keys)) == DOMAINS[:3]
    assert _names(_claim(ledger, worker, 100, keys=keys)) == [*DOMAINS[3:], "b.example"]
    assert _claim(ledger, worker, keys=keys) == []


def test_a_claim_brings_what_the_phase_must_know(ledger: Ledger) -> None:
    (task, *_) = _claim(ledger, _worker(ledger))
    assert (task.batch_key, task.rounds, task.is_alone, task.last_settled_at) == (KEY, 0, False, 0)


def test_one_phase_does_not_claim_for_another(ledger: Ledger) -> None:
    _claim(ledger, _worker(ledger))
    worker = ledger.workers.begin(Phase.COMPANY_ENRICHMENT, None, NOW)
    tasks = ledger.work.claim(worker, Phase.COMPANY_ENRICHMENT, [KEY], 100, NOW + 1, NOW)
    assert len(tasks) == len(DOMAINS)


def test_two_workers_never_hold_one_domain(ledger: Ledger, second: Ledger) -> None:
    add_list(ledger, "many", [f"m{number:03d}.example" for number in range(300)], batch_size=50)
    keys = [row.key for row in ledger.lists.batches_of("many")]
    barrier = Barrier(4)
    taken: list[list[str]] = []
    errors: list[Exception] = []

    def work(own: Ledger) -> None:
        mine: list[str] = []
        try:
            worker = _worker(own)
            barrier.wait()
            while tasks := _claim(own, worker, 7, keys=keys):
                mine += _names(tasks)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        taken.append(mine)

    threads = [Thread(target=work, args=[own]) for own in (ledger, second, ledger, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    everything = [domain for mine in taken for domain in mine]
    assert len(everything) == len(set(everything)) == 300


def test_domains_that_two_of_the_lists_share_do_not_use_up_the_limit(ledger: Ledger) -> None:
    shared = [f"s{number}.example" for number in range(4)]
    add_list(ledger, "b", shared)
    add_list(ledger, "c", [*shared, "c.example"])
    tasks = _claim(ledger, _worker(ledger), 5, keys=["b-00001", "c-00001"])
    assert _names(tasks) == [*shared, "c.example"]
    assert [task.batch_key for task in tasks] == ["b-00001"] * 4 + ["c-00001"]


@pytest.mark.parametrize("alone", [False, True])
def test_claims_work_over_any_number_of_batches(ledger: Ledger, alone: bool) -> None:
    keys = [f"a-{number:05d}" for number in range(1, 12_001)]
    assert len(_claim(ledger, _worker(ledger), keys=keys, alone=alone)) == (0 if alone else 10)


def test_only_what_is_due_is_claimed(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 2)
    waiting = {"kind": FailureKind.TIMEOUT, "rounds": 1}
    _settle(ledger, worker, DOMAINS[0], State.WAITING, not_before=NOW + 60, **waiting)
    _settle(ledger, worker, DOMAINS[1], State.WAITING, not_before=NOW, **waiting)
    assert _names(_claim(ledger, worker, due_before=NOW)) == DOMAINS[2:]
    assert _names(_claim(ledger, worker, due_before=NOW + 1)) == [DOMAINS[1]]
    (task,) = _claim(ledger, worker, due_before=NOW + 61)
    assert (task.domain, task.rounds) == (DOMAINS[0], 1)


def test_settled_domains_are_not_claimed(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    _settle(ledger, worker, DOMAINS[0], State.NOT_FOUND)
    assert _names(_claim(ledger, worker)) == DOMAINS[1:]


def test_a_worker_that_ends_gives_its_claims_back_without_any_mark(ledger: Ledger) -> None:
    worker, other = _worker(ledger), _worker(ledger)
    _claim(ledger, worker)
    assert _claim(ledger, other) == []
    ledger.workers.end(worker, NOW, "finished")
    tasks = _claim(ledger, other)
    assert _names(tasks) == DOMAINS
    assert _what(ledger, DOMAINS[0]) == []


# -- death ------------------------------------------------------------------------------------


def test_a_worker_whose_lease_ran_out_loses_its_claims(ledger: Ledger) -> None:
    worker = _worker(ledger, "run-1")
    _claim(ledger, worker, 4)
    assert ledger.workers.bury_dead(NOW + LEASE_S) == []
    assert ledger.workers.bury_dead(NOW + LEASE_S + 1) == ["run-1"]
    assert ledger.workers.bury_dead(NOW + LEASE_S + 2) == []
    assert _names(_claim(ledger, _worker(ledger))) == DOMAINS
    assert _what(ledger, DOMAINS[0]) == ["worker_died"]


def test_a_beat_renews_the_lease_of_all_claims(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker)
    ledger.workers.beat(worker, NOW + 50, 1, 10)
    assert ledger.workers.bury_dead(NOW + LEASE_S + 10) == []
    assert ledger.workers.bury_dead(NOW + 50 + LEASE_S + 1) == ["run"]


def test_a_beat_tells_how_far_the_worker_is_and_what_it_does(ledger: Ledger) -> None:
    worker = _worker(ledger)
    ledger.workers.beat(worker, NOW, 0, 10)
    doing = "Processing batch 1/2 (10 domains): a-00001"
    for done, told in ((3, doing), (4, None)):
        ledger.workers.beat(worker, NOW + done, done, 10, told)
        with ledger.database.read() as connection:
            (row,) = connection.execute(select(workers)).all()
        assert (row.done, row.total, row.doing, row.beat_at) == (done, 10, told, NOW + done)


def test_a_worker_that_was_declared_dead_can_neither_beat_nor_claim_nor_write(
    ledger: Ledger,
) -> None:
    worker, heir = _worker(ledger), _worker(ledger)
    _claim(ledger, worker)
    _bury(ledger, worker)
    with pytest.raises(LeaseLost):
        ledger.workers.beat(worker, NOW, 0, 0)
    with pytest.raises(LeaseLost):
        _claim(ledger, worker)
    with pytest.raises(LeaseLost):
        _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"late")
    assert len(_claim(ledger, heir)) == len(DOMAINS)
    with pytest.raises(LeaseLost):
        _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"late")
    before = _result(ledger, DOMAINS[0])
    assert (before.state, before.payload) == (State.PENDING, None)
    _settle(ledger, heir, DOMAINS[0], State.SUCCEEDED, payload=b"heir")
    ledger.workers.end(worker, NOW, "woke up")
    assert _result(ledger, DOMAINS[0]).payload == b"heir"
    assert ledger.work.tallies(PHASE, [KEY])[KEY].claimed == len(DOMAINS) - 1


def test_a_process_that_is_gone_is_dead_before_its_lease_runs_out(ledger: Ledger) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)
    code = (
        "import sys\n"
        "from resources.adapters.ledger.ledger import Ledger\n"
        "from resources.adapters.ledger.database import Database\n"
        "from resources.core.models import Phase\n"
        "import os\n"
        f"ledger = Ledger(Database(sys.argv[1]), {LEASE_S})\n"
        f"worker = ledger.workers.begin(Phase.PAGE_SCRAPING, 'killed', {NOW})\n"
        f"ledger.work.claim(worker, Phase.PAGE_SCRAPING, [{KEY!r}], 3, {NOW + 1}, {NOW})\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, check=False, timeout=60)
    living = _worker(ledger)
    assert _names(_claim(ledger, living)) == DOMAINS[3:]
    assert ledger.workers.bury_dead(NOW + 1) == ["killed"]
    assert _names(_claim(ledger, living)) == DOMAINS[:3]


def test_only_a_process_that_is_certainly_gone_counts_as_gone() -> None:
    me = current_process()
    assert not is_process_gone(me)
    assert not is_process_gone(ProcessIdentity("another-host", "x", 1, 0.0))
    assert is_process_gone(ProcessIdentity(me.host, "another boot", me.pid, me.process_started))
    assert is_process_gone(ProcessIdentity(me.host, me.boot_id, me.pid, me.process_started - 1))
    assert is_process_gone(ProcessIdentity(me.host, me.boot_id, 2**22 + 1, me.process_started))


def test_a_zombie_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        import psutil

        from resources.adapters.ledger.workers import process_started

        me = current_process()
        identity = ProcessIdentity(me.host, me.boot_id, process.pid, process_started(process.pid))
        assert not is_process_gone(identity)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert is_process_gone(identity)
    finally:
        process.kill()
        process.communicate()
    assert is_process_gone(identity)


def test_after_two_deaths_a_domain_is_claimed_with_other_suspects_only(ledger: Ledger) -> None:
    for _ in range(2):
        worker = _worker(ledger)
        _claim(ledger, worker, 2)
        _bury(ledger, worker)
    worker = _worker(ledger)
    assert _names(_claim(ledger, worker)) == DOMAINS[2:]
    tasks = _claim(ledger, worker, alone=True)
    assert [(task.domain, task.is_alone) for task in tasks] == [
        (DOMAINS[0], False),
        (DOMAINS[1], False),
    ]


def test_suspects_are_claimed_in_ever_smaller_groups_of_the_fewest_deaths(ledger: Ledger) -> None:
    names = [f"s{number:02d}.example" for number in range(40)]
    add_list(ledger, "s", names)
    keys = ["s-00001"]
    for _ in range(2):
        worker = _worker(ledger)
        assert _names(_claim(ledger, worker, keys=keys)) == names
        _bury(ledger, worker)
    taken: list[list[str]] = []
    for _ in range(3 + 10 + 2):
        worker = _worker(ledger)
        tasks = _claim(ledger, worker, keys=keys, alone=True)
        assert {task.is_alone for task in tasks} == {len(taken) >= 3 + 10}
        taken.append(_names(tasks))
        _bury(ledger, worker)
    assert [len(group) for group in taken] == [16, 16, 8] + [4] * 10 + [1] * 2
    assert [name for group in taken[:3] for name in group] == names
    assert [name for group in taken[3:13] for name in group] == names
    # Only deaths alone condemn: of all these, nobody has two.
    assert _claim(ledger, _worker(ledger), keys=keys) == []
    (counted,) = ledger.work.tallies(PHASE, keys).values()
    assert counted.unsettled == 40


def test_a_group_of_suspects_is_no_larger_than_the_worker_can_hold(ledger: Ledger) -> None:
    for _ in range(2):
        worker = _worker(ledger)
        _claim(ledger, worker)
        _bury(ledger, worker)
    worker, other = _worker(ledger), _worker(ledger)
    (task,) = _claim(ledger, worker, 1, alone=True)
    assert (task.domain, task.is_alone) == (DOMAINS[0], False)
    _bury(ledger, worker)
    assert _names(_claim(ledger, other, alone=True)) == DOMAINS[1:]
    # Those with fewer deaths are all taken: then it is the turn of the others.
    assert _names(_claim(ledger, other, alone=True)) == DOMAINS[:1]


def test_a_domain_that_kills_its_worker_alone_twice_is_quarantined_with_its_history(
    ledger: Ledger,
) -> None:
    for _ in range(2):
        worker = _worker(ledger)
        _claim(ledger, worker, 1)
        _bury(ledger, worker)
    for _ in range(4):
        assert _result(ledger, DOMAINS[0]).state is State.PENDING
        worker = _worker(ledger)
        assert _names(_claim(ledger, worker, alone=True)) == [DOMAINS[0]]
        _bury(ledger, worker)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.kind) == (State.QUARANTINED, FailureKind.BUG)
    assert "died" in (result.reason or "")
    assert _what(ledger, DOMAINS[0]) == ["worker_died"] * 5 + ["quarantined"]
    assert _claim(ledger, _worker(ledger), alone=True) == []


def test_a_quarantined_killer_that_is_asked_for_again_is_really_tried_again(
    ledger: Ledger,
) -> None:
    for alone in (False, False, True, True, True, True):
        worker = _worker(ledger)
        _claim(ledger, worker, 1, alone=alone)
        _bury(ledger, worker)
    assert ledger.work.expire(PHASE, [KEY], NOW + 1, NOW) == 1
    bystander = _worker(ledger)
    _bury(ledger, bystander)  # somebody else's death must not condemn it
    assert _refreshing(ledger) == 1
    assert DOMAINS[0] in _names(_claim(ledger, _worker(ledger)))


# -- results ----------------------------------------------------------------------------------


def test_a_result_is_kept_with_its_state_and_the_claim_is_over(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 2)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b'{"a": 1}')
    _settle(
        ledger, worker, DOMAINS[1], State.REFUSED, kind=FailureKind.ROBOTS, reason="not allowed"
    )
    one, two, three, *_ = ledger.work.results(PHASE, KEY)
    assert (one.domain, one.state, one.payload, one.settled_at) == (
        DOMAINS[0],
        State.SUCCEEDED,
        b'{"a": 1}',
        NOW,
    )
    assert (two.state, two.kind, two.reason, two.payload) == (
        State.REFUSED,
        FailureKind.ROBOTS,
        "not allowed",
        None,
    )
    assert (three.state, three.settled_at) == (State.PENDING, None)
    assert ledger.work.tallies(PHASE, [KEY])[KEY].claimed == 0
    assert ledger.work.result(PHASE, DOMAINS[0]) == one
    assert ledger.work.result(PHASE, "unknown.example") is None


def test_a_domain_is_settled_by_its_holder_only_and_once(ledger: Ledger) -> None:
    worker, other = _worker(ledger), _worker(ledger)
    _claim(ledger, worker, 1)
    with pytest.raises(LeaseLost):
        _settle(ledger, other, DOMAINS[0], State.SUCCEEDED, payload=b"other")
    with pytest.raises(LeaseLost):
        _settle(ledger, worker, DOMAINS[1], State.SUCCEEDED, payload=b"never claimed")
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"mine")
    with pytest.raises(LeaseLost):
        _settle(ledger, worker, DOMAINS[0], State.NOT_FOUND)
    assert _result(ledger, DOMAINS[0]).payload == b"mine"
    assert _what(ledger, DOMAINS[0]) == ["succeeded"]


def test_the_newest_result_replaces_the_older_one(ledger: Ledger) -> None:
    prints = []
    for payload in (b"one", b"two", None):
        worker = _worker(ledger)
        _claim(ledger, worker, 1)
        state = State.SUCCEEDED if payload else State.NOT_FOUND
        _settle(ledger, worker, DOMAINS[0], state, payload=payload)
        assert _result(ledger, DOMAINS[0]).payload == payload
        prints.append(ledger.work.tallies(PHASE, [KEY])[KEY].fingerprint)
        ledger.work.expire(PHASE, [KEY], NOW + 1, NOW)
        ledger.workers.end(worker, NOW, "finished")
    assert len(set(prints)) == 3


def test_a_failed_attempt_keeps_what_an_earlier_one_found(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"old")
    ledger.work.expire(PHASE, [KEY], NOW + 1, NOW)
    (task,) = _claim(ledger, worker, 1)
    assert task.last_settled_at == NOW
    _settle(ledger, worker, DOMAINS[0], State.WAITING, kind=FailureKind.TIMEOUT, rounds=1)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.payload, result.rounds) == (State.SUCCEEDED, b"old", 1)


def test_a_domain_that_was_never_settled_waits_and_is_given_up_as_such(ledger: Ledger) -> None:
    worker = _worker(ledger)
    for state in (State.WAITING, State.QUARANTINED):
        _claim(ledger, worker, 1)
        _settle(ledger, worker, DOMAINS[0], state, kind=FailureKind.TIMEOUT, reason="slow")
        result = _result(ledger, DOMAINS[0])
        assert (result.state, result.kind, result.reason) == (state, "timeout", "slow")
    assert _what(ledger, DOMAINS[0]) == ["waiting", "quarantined"]


# -- refresh ----------------------------------------------------------------------------------


@pytest.fixture
def refreshed(ledger: Ledger) -> str:
    """A worker that has settled the first domain, which has become stale, and holds it again."""
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"old", reason="was there")
    assert ledger.work.expire(PHASE, [KEY], NOW + 1, NOW) == 1
    assert _names(_claim(ledger, worker, 1)) == DOMAINS[:1]
    return worker


def test_a_refresh_takes_the_settled_state_from_no_list(ledger: Ledger) -> None:
    add_list(ledger, "b", DOMAINS[:1])
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"old")
    ledger.work.expire(PHASE, [KEY], NOW + 1, NOW)
    (other,) = ledger.work.tallies(PHASE, ["b-00001"]).values()
    assert (other.unsettled, other.refreshing, other.claimed) == (0, 1, 0)
    _claim(ledger, worker, 1)
    assert ledger.work.tallies(PHASE, ["b-00001"])["b-00001"].claimed == 0
    assert _claim(ledger, _worker(ledger), 1, keys=["b-00001"]) == []


@pytest.mark.parametrize(
    ("state", "payload"),
    [(State.SUCCEEDED, b"new"), (State.NOT_FOUND, None), (State.REFUSED, None)],
)
def test_a_refresh_that_settles_anew_replaces_state_and_result(
    ledger: Ledger, refreshed: str, state: State, payload: bytes | None
) -> None:
    before = ledger.work.tallies(PHASE, [KEY])[KEY].fingerprint
    change = Change(DOMAINS[0], state, rounds=0, payload=payload)
    ledger.work.settle(refreshed, PHASE, change, CODE, NOW + 5)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.payload, result.reason) == (state, payload, None)
    assert result.settled_at == NOW + 5
    counted = ledger.work.tallies(PHASE, [KEY])[KEY]
    assert counted.refreshing == 0
    assert counted.fingerprint != before
    assert DOMAINS[0] not in _names(_claim(ledger, _worker(ledger)))


def test_a_refresh_that_waits_keeps_what_was_settled_and_is_tried_again_when_due(
    ledger: Ledger, refreshed: str
) -> None:
    waiting = {"kind": FailureKind.TIMEOUT, "reason": "slow", "rounds": 1}
    _settle(ledger, refreshed, DOMAINS[0], State.WAITING, not_before=NOW + 60, **waiting)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.kind, result.reason) == (State.SUCCEEDED, None, "was there")
    assert (result.payload, result.settled_at) == (b"old", NOW)
    assert (result.rounds, result.not_before) == (1, NOW + 60)
    counted = ledger.work.tallies(PHASE, [KEY])[KEY]
    assert (counted.unsettled, counted.refreshing, counted.next_round_at) == (9, 1, None)
    assert ledger.work.stale_batches(PHASE, NOW - 1) == {KEY}
    assert ledger.work.expire(PHASE, [KEY], NOW + 1, NOW) == 0
    ledger.work.hold(PHASE, [KEY], Failure(FailureKind.LOCAL_NETWORK, "down"), NOW)
    assert _result(ledger, DOMAINS[0]) == result
    assert _names(_claim(ledger, refreshed)) == DOMAINS[1:]
    ledger.work.make_due(PHASE, [KEY])
    (task,) = _claim(ledger, refreshed)
    assert (task.domain, task.rounds, task.last_settled_at) == (DOMAINS[0], 1, NOW)


def test_a_refresh_that_is_given_up_keeps_the_older_result_and_says_so(
    ledger: Ledger, refreshed: str
) -> None:
    given_up = Change(DOMAINS[0], State.QUARANTINED, 8, kind=FailureKind.TIMEOUT, reason="Slow.")
    ledger.work.settle(refreshed, PHASE, given_up, CODE, NOW + 5)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.kind, result.payload) == (State.SUCCEEDED, None, b"old")
    assert ledger.work.tallies(PHASE, [KEY])[KEY].refreshing == 0
    event = ledger.work.history(DOMAINS[0])[-1]
    assert event["what"] == "given_up"
    assert event["message"] == "Slow. The older result (succeeded) is kept."
    assert (event["kind"], event["rounds"]) == ("timeout", 8)
    # Its attempt counts as a try: it is stale again only when that is old enough.
    assert ledger.work.stale_batches(PHASE, NOW + 5) == set()
    assert ledger.work.expire(PHASE, [KEY], NOW + 6, NOW + 6) == 1


def test_a_refresh_that_kills_its_workers_is_given_up_and_keeps_the_older_result(
    ledger: Ledger, refreshed: str
) -> None:
    _bury(ledger, refreshed)
    for number in range(8):
        worker = _worker(ledger)
        if _names(_claim(ledger, worker, 1, alone=number > 0)) != DOMAINS[:1]:
            break
        _bury(ledger, worker)
    result = _result(ledger, DOMAINS[0])
    assert (result.state, result.kind, result.payload) == (State.SUCCEEDED, None, b"old")
    assert ledger.work.tallies(PHASE, [KEY])[KEY].refreshing == 0
    last = ledger.work.history(DOMAINS[0])[-1]
    assert last["what"] == "given_up"
    assert "older result (succeeded) is kept" in str(last["message"])


def test_what_another_version_of_the_code_settled_is_stale(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"x")
    assert ledger.work.stale_batches(PHASE, NOW, code_version=CODE) == set()
    assert ledger.work.expire(PHASE, [KEY], NOW, NOW, code_version=CODE) == 0
    assert ledger.work.stale_batches(PHASE, NOW, code_version="newer") == {KEY}
    assert ledger.work.expire(PHASE, [KEY], NOW, NOW, code_version="newer") == 1
    _claim(ledger, worker, 1)
    change = Change(DOMAINS[0], State.SUCCEEDED, rounds=0, payload=b"y")
    ledger.work.settle(worker, PHASE, change, "newer", NOW)
    assert ledger.work.stale_batches(PHASE, NOW, code_version="newer") == set()


def test_the_history_tells_each_attempt_with_its_failure(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 1)
    failure = Failure(FailureKind.BUG, "oops", url="https://x/", provider="pdl", stack="Traceback")
    _settle(
        ledger,
        worker,
        DOMAINS[0],
        State.WAITING,
        kind=failure.kind,
        reason="oops \x00\udcff",
        failure=failure,
        rounds=1,
    )
    (event,) = ledger.work.history(DOMAINS[0])
    expected = {
        "what": "waiting",
        "kind": "bug",
        "message": "oops ?",
        "url": "https://x/",
        "provider": "pdl",
        "rounds": 1,
        "worker_id": worker,
        "stack": "Traceback",
        "phase": PHASE,
        "at": NOW,
    }
    assert {name: event[name] for name in expected} == expected


# -- waits ------------------------------------------------------------------------------------


def test_holding_lets_the_rest_wait_and_leaves_claims_and_own_reasons_alone(
    ledger: Ledger,
) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 3)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"x")
    _settle(ledger, worker, DOMAINS[1], State.WAITING, kind=FailureKind.TIMEOUT, rounds=1)
    down = Failure(FailureKind.LOCAL_NETWORK, "no network")
    assert ledger.work.hold(PHASE, [KEY], down, NOW + 5) == 7
    counted = ledger.work.tallies(PHASE, [KEY])[KEY]
    assert counted.waiting_kinds == {"local_network": 7, "timeout": 1, "pending": 1}
    held = _result(ledger, DOMAINS[5])
    assert (held.state, held.rounds, held.reason) == (State.WAITING, 0, "no network")
    assert ledger.work.hold(PHASE, [KEY], down, NOW + 6) == 7


def test_what_is_held_for_a_time_is_due_after_it_or_when_a_person_runs_it_again(
    ledger: Ledger,
) -> None:
    add_list(ledger, "b", [f"e{number}.example" for number in range(3)])
    keys = [KEY, "b-00001"]
    paused = Failure(FailureKind.BREAKER_OPEN, "pdl is away", retry_after_s=120.0, is_for_all=True)
    assert ledger.work.hold(PHASE, keys, paused, NOW) == 13
    held = _result(ledger, DOMAINS[0])
    assert (held.state, held.kind, held.not_before) == (
        State.WAITING,
        FailureKind.BREAKER_OPEN,
        NOW + 120,
    )
    worker = _worker(ledger)
    assert _claim(ledger, worker, keys=keys, due_before=NOW + 120) == []
    assert len(_claim(ledger, worker, 1, keys=keys, due_before=NOW + 121)) == 1
    ledger.work.make_due(PHASE, [KEY])
    assert len(_claim(ledger, worker, keys=keys, due_before=NOW + 1)) == 9


def test_what_is_held_without_a_time_is_due_at_once(ledger: Ledger) -> None:
    stopped = Failure(FailureKind.CANCELLED, "the limit was reached")
    ledger.work.hold(PHASE, [KEY], stopped, NOW)
    # But not in the pass that held it: what that claims was due before it began.
    assert _claim(ledger, _worker(ledger), due_before=NOW) == []
    assert len(_claim(ledger, _worker(ledger), due_before=NOW + 1)) == 10


def test_running_again_by_hand_skips_our_waits_but_not_those_that_were_asked_for(
    ledger: Ledger,
) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 2)
    waiting = {"kind": FailureKind.RATE_LIMITED, "rounds": 1, "not_before": NOW + 600}
    _settle(ledger, worker, DOMAINS[0], State.WAITING, **waiting)
    _settle(ledger, worker, DOMAINS[1], State.WAITING, asked_to_wait_until=NOW + 300, **waiting)
    ledger.work.make_due(PHASE, [KEY])
    assert _result(ledger, DOMAINS[0]).not_before == 0
    assert _result(ledger, DOMAINS[1]).not_before == NOW + 300
    assert ledger.work.tallies(PHASE, [KEY])[KEY].next_round_at == 0


def test_only_what_is_stale_expires_and_starts_with_fresh_rounds(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker, 2)
    _settle(ledger, worker, DOMAINS[0], State.SUCCEEDED, payload=b"x", rounds=5)
    _settle(ledger, worker, DOMAINS[1], State.WAITING, kind=FailureKind.TIMEOUT, rounds=3)
    assert ledger.work.stale_batches(PHASE, NOW) == set()
    assert ledger.work.expire(PHASE, [KEY], NOW, NOW) == 0
    assert ledger.work.stale_batches(PHASE, NOW + 1) == {KEY}
    assert ledger.work.expire(PHASE, [KEY], NOW + 1, NOW) == 1
    one, two = (_result(ledger, domain) for domain in DOMAINS[:2])
    assert (one.state, one.rounds, one.payload) == (State.SUCCEEDED, 0, b"x")
    assert _refreshing(ledger) == 1
    assert (two.state, two.rounds) == (State.WAITING, 3)


def test_every_batch_asked_for_is_counted_also_one_that_does_not_exist(ledger: Ledger) -> None:
    counted = ledger.work.tallies(PHASE, [KEY, "nowhere-00001"])
    assert counted[KEY].total == 10
    assert counted["nowhere-00001"].total == 0
    assert ledger.work.tallies(PHASE, []) == {}


def test_profiles_are_recorded_for_a_whole_batch(ledger: Ledger) -> None:
    states = dict.fromkeys(DOMAINS[1:], (State.SUCCEEDED, None))
    states[DOMAINS[0]] = (State.WAITING, "no site data")
    ledger.work.record_profiles(states, NOW)
    counted = ledger.work.tallies(Phase.PROFILE_BUILD, [KEY])[KEY]
    assert counted.states == {State.SUCCEEDED: 9, State.WAITING: 1}


def test_who_waits_for_a_kind_is_told_by_phase(ledger: Ledger) -> None:
    worker = _worker(ledger)
    _claim(ledger, worker)
    for domain, kind in zip(DOMAINS, (FailureKind.BREAKER_OPEN, FailureKind.DNS), strict=False):
        _settle(ledger, worker, domain, State.WAITING, kind=kind)
    assert ledger.work.waiting_for(PHASE, FailureKind.BREAKER_OPEN) == {DOMAINS[0]}
    other = next(phase for phase in Phase if phase is not PHASE)
    assert ledger.work.waiting_for(other, FailureKind.BREAKER_OPEN) == set()
