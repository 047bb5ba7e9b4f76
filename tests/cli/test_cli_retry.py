"""retry: what a person brings back, what is said about it, and where it is seen afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.requests import Launch
from resources.core.errors import FailureKind
from resources.core.models import FETCHING, Phase
from resources.core.recovery import MOST_FRUITLESS_RUNS
from tests.support.ledgers import add_list, open_at, sqlite_url

from .conftest import Answer, Done, Pipeline, run_pipeline

DAY_S = 86_400.0
SELECTORS = ["--batch", "--kind", "--provider", "--quarantined", "--name", "--phase", "DOMAIN"]


class Copy:
    """A copy of the list that was run, to change."""

    def __init__(self, done: Done, folder: Path) -> None:
        self.home = folder / "home"
        shutil.copytree(done.folder / "home", self.home)

    def ask(self, *arguments: str) -> Answer:
        return run_pipeline(*arguments, "--sandbox", home=self.home)

    def events(self, domain: str) -> list[str]:
        with sqlite3.connect(self.home / "sandbox" / "ledger.db") as ledger:
            found = ledger.execute("select what from events where domain = ?", [domain])
            return [what for (what,) in found]


@pytest.fixture
def copy(done: Done, tmp_path: Path) -> Copy:
    return Copy(done, tmp_path)


@pytest.fixture
def ledger(copy: Copy) -> Iterator[Ledger]:
    """The copy's ledger, opened by this process."""
    ledger = open_at(sqlite_url(copy.home / "sandbox"))
    yield ledger
    ledger.close()


def _phases(copy: Copy, domain: str) -> Any:
    return copy.ask("why", domain, "--json").json["phases"]


# -- what is asked for --------------------------------------------------------------------------


def test_help_names_every_selector(pipeline: Pipeline) -> None:
    answer = pipeline("retry", "--help")
    assert all(selector in answer.out for selector in SELECTORS)


def test_without_a_selector_nothing_is_brought_back_and_all_of_them_are_named(
    done: Done,
) -> None:
    sentence = done.ask("retry").sentence
    assert all(selector in sentence for selector in SELECTORS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kind", "tired"], ["'tired'", *FailureKind]),
        (["--provider", "acme"], ["'acme'", "pdl", "wikidata", "rdap"]),
        (["--batch", "companies-00002"], ["'companies-00002'", "Batches: companies-00001."]),
        (["--name", "customers"], ["'customers'", "Lists: companies."]),
        (["--phase", "PROFILE_BUILD"], ["COMPANY_ENRICHMENT, PAGE_SCRAPING", "built again"]),
        (["beta.example", "nowhere.example"], ["nowhere.example is in no list", "companies"]),
        (["no-domain"], ["'no-domain' is no domain"]),
    ],
    ids=str,
)
def test_what_does_not_exist_is_refused_with_what_does(
    copy: Copy, arguments: list[str], expected: list[str]
) -> None:
    sentence = copy.ask("retry", *arguments).sentence
    assert all(word in sentence for word in expected)
    assert "brought_back" not in copy.events("beta.example")


def test_a_home_that_holds_nothing_is_refused_and_not_made(pipeline: Pipeline, home: Path) -> None:
    assert "nothing in" in pipeline("retry", "--quarantined").sentence
    assert not home.exists()


# -- what becomes of it -------------------------------------------------------------------------


def test_what_was_given_up_is_brought_back_and_seen_everywhere(copy: Copy) -> None:
    answer = copy.ask("retry", "--quarantined")
    assert answer.code == 0
    assert "Brought back  1 domain in PAGE_SCRAPING" in answer.out
    assert "companies-00001" in answer.out
    assert "pipeline run FILE --sandbox" in answer.out
    shown = copy.ask("status").out
    assert "1 × being tried again in PAGE_SCRAPING" in shown
    assert "goes on with the next run" in shown
    (told,) = copy.ask("status", "--json").json["lists"]
    assert told["tried_again"]["PAGE_SCRAPING"] == 1
    assert told["phases"]["PAGE_SCRAPING"]["quarantined"] == 1  # settled as it was
    story = copy.ask("why", "beta.example").out
    assert "brought back: `pipeline retry` gave it fresh rounds" in story
    assert "until now: quarantined (http_5xx) after 2 rounds" in story
    assert "being tried again: due now" in story
    assert copy.ask("failures").out.count("1 of them being tried again") == 1


def test_why_as_json_says_that_it_is_tried_again_and_when(copy: Copy) -> None:
    before = _phases(copy, "beta.example")["PAGE_SCRAPING"]
    assert (before["is_tried_again"], before["next"]["what"]) == (False, "nothing")
    copy.ask("retry", "beta.example", "--phase", "page_scraping")
    scraping = _phases(copy, "beta.example")["PAGE_SCRAPING"]
    assert scraping["is_tried_again"]
    assert scraping["state"] == "quarantined"
    assert scraping["next"] == {"what": "tried_again", "at": None}
    assert not _phases(copy, "beta.example")["COMPANY_ENRICHMENT"]["is_tried_again"]


def test_a_reason_brings_back_what_was_declined_for_it(copy: Copy) -> None:
    told = copy.ask("retry", "--kind", "HTTP_4XX", "--json").json
    assert told == {
        "brought_back": {"COMPANY_ENRICHMENT": 0, "PAGE_SCRAPING": 1},
        "settled": 1,
        "later": 0,
        "later_until": None,
        "batches": ["companies-00001"],
        "in_hand": 0,
        "not_tried": 0,
        "domains": ["gamma.example"],
        "released": {"cancelled": [], "given_up": []},
    }
    assert copy.events("gamma.example")[-1] == "brought_back"


def test_a_wait_that_the_site_asked_for_is_kept_and_said(copy: Copy) -> None:
    before = _phases(copy, "delta.example")["PAGE_SCRAPING"]
    answer = copy.ask("retry", "delta.example", "--phase", "PAGE_SCRAPING")
    assert "not due yet: 1, because the other side asked for a wait" in answer.out
    after = _phases(copy, "delta.example")["PAGE_SCRAPING"]
    assert after["state"] == "waiting"
    assert (before["rounds"], after["rounds"]) == (1, 0)
    assert after["not_before"] == before["not_before"]


def test_a_domain_that_is_named_is_tried_again_whatever_its_state(copy: Copy) -> None:
    told = copy.ask("retry", "https://www.Acme.example/x", "--json").json
    assert told["brought_back"] == {"COMPANY_ENRICHMENT": 1, "PAGE_SCRAPING": 1}
    phases = _phases(copy, "acme.example")
    assert [phases[phase]["state"] for phase in told["brought_back"]] == ["succeeded"] * 2


def test_nothing_that_fits_is_no_mistake(copy: Copy) -> None:
    answer = copy.ask("retry", "--kind", "malformed")
    assert answer.code == 0
    assert "Nothing was brought back" in answer.out
    assert "pipeline failures --sandbox" in answer.out


def test_what_a_run_has_in_hand_is_left_alone_and_what_a_dead_one_had_is_not(
    copy: Copy, ledger: Ledger
) -> None:
    now = time.time()
    keys = ["companies-00001"]
    worker = ledger.workers.begin(Phase.PAGE_SCRAPING, "run", now)
    taken = ledger.work.claim(worker, Phase.PAGE_SCRAPING, keys, 9, now + DAY_S, now)
    assert [task.domain for task in taken] == ["delta.example"]
    answer = copy.ask("retry", "--kind", "rate_limited")
    assert "Nothing was brought back." in answer.out
    assert "1 domain being worked on just now" in answer.out
    ledger.workers.beat(worker, now - DAY_S, 0, 1)  # its lease ran out yesterday
    assert copy.ask("retry", "--kind", "rate_limited", "--json").json["domains"] == [
        "delta.example"
    ]


# -- what was cancelled -------------------------------------------------------------------------


@pytest.fixture
def pending(copy: Copy, ledger: Ledger) -> str:
    """A batch of a list that was cancelled before one of its domains was tried; its key."""
    key, domains, now = "other-00001", ["one.example", "two.example"], time.time()
    add_list(ledger, "other", domains, now=now)
    ledger.requests.ask([key], FETCHING, scope="scope", now=now)
    for phase in FETCHING:
        ledger.requests.note_run_ended([key], phase, "run-1", now=now, held_reason="cancelled")
    return key


@pytest.mark.parametrize("selector", [["--batch", "other-00001"], ["--name", "other"]], ids=str)
def test_a_cancelled_batch_is_released_though_nothing_of_it_is_to_be_brought_back(
    copy: Copy, ledger: Ledger, pending: str, selector: list[str]
) -> None:
    answer = copy.ask("retry", *selector)
    assert answer.code == 0
    assert "1 cancelled batch is released: other-00001" in answer.out
    assert "Nothing was brought back." in answer.out
    assert "pipeline heal --sandbox" in answer.out
    assert "with the file of other" in answer.out
    found = ledger.requests.all()
    assert {found[phase, pending].held_reason for phase in FETCHING} == {None}
    told = copy.ask("retry", *selector, "--json").json
    assert told["released"] == {"cancelled": [], "given_up": []}


def test_cancelled_batches_are_counted_once_and_named(
    copy: Copy, ledger: Ledger, pending: str
) -> None:
    key, now = "companies-00001", time.time()
    ledger.requests.note_run_ended(
        [key], Phase.PAGE_SCRAPING, "run-2", now=now, held_reason="cancelled"
    )
    told = copy.ask("retry", "--phase", "PAGE_SCRAPING", "--json").json
    assert told["released"] == {"cancelled": [key, pending], "given_up": []}
    assert ledger.requests.all()[Phase.COMPANY_ENRICHMENT, pending].held_reason == "cancelled"


def test_what_automatic_runs_gave_up_is_said_to_be_tried_again(copy: Copy, ledger: Ledger) -> None:
    key, phase = "companies-00001", Phase.PAGE_SCRAPING
    ledger.requests.ask([key], [phase], scope="scope", now=time.time())
    launch = Launch(key, phase, MOST_FRUITLESS_RUNS, progress="", code_version="")
    ledger.requests.note_launches([launch], time.time())
    answer = copy.ask("retry", "--batch", key)
    assert f"1 batch that automatic runs had given up is tried again: {key}" in answer.out
    assert ledger.requests.all()[phase, key].attempts == 0


def test_who_brings_back_some_domains_leaves_other_cancelled_batches_held(
    copy: Copy, ledger: Ledger, pending: str
) -> None:
    told = copy.ask("retry", "--quarantined", "--json").json
    assert told["released"] == {"cancelled": [], "given_up": []}
    assert ledger.requests.all()[Phase.PAGE_SCRAPING, pending].held_reason == "cancelled"


# -- what leads there ---------------------------------------------------------------------------


def test_failures_names_the_command_that_brings_each_group_back(done: Done) -> None:
    told = {row["kind"]: row["retry"] for row in done.ask("failures", "--json").json["failures"]}
    assert told["http_5xx"] == "pipeline retry --quarantined --kind http_5xx --sandbox"
    assert told["http_4xx"] == "pipeline retry --kind http_4xx --sandbox"
    assert told["rate_limited"] is None  # the next run tries it by itself
    shown = done.ask("failures", "--name", "companies").out
    assert "pipeline retry --quarantined --kind http_5xx --name companies --sandbox" in shown


def test_the_command_that_failures_names_does_what_it_says(copy: Copy) -> None:
    (row,) = [
        row for row in copy.ask("failures", "--json").json["failures"] if row["kind"] == "http_5xx"
    ]
    words = row["retry"].removesuffix(" --sandbox").split()[1:]
    told = copy.ask(*words, "--json").json
    assert told["brought_back"][row["phase"]] == row["domains"]
    assert told["domains"] == ["beta.example"]
    # Then there is nothing left for a person to do.
    assert {
        row["kind"]: (row["retry"], row["tried_again"])
        for row in copy.ask("failures", "--json").json["failures"]
    }["http_5xx"] == (None, 1)
