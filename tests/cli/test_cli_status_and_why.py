"""status, failures and why: what a person and a script can read about a list and a domain."""

from __future__ import annotations

from typing import Any

from .conftest import DOMAINS, ROWS, Done, Pipeline


def _group(rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [row for row in rows if row["kind"] == kind]
    return found


def test_status_adds_up_and_says_what_waits(done: Done) -> None:
    answer = done.ask("status", "--json")
    (told,) = answer.json["lists"]
    assert answer.code == 0
    assert told["name"] == "companies"
    assert told["rows"] == ROWS
    domains = told["domains"]
    assert domains["accepted"] + domains["duplicates"] + domains["rejected"] == ROWS
    assert domains["total"] == DOMAINS
    for states in told["phases"].values():
        assert sum(states.values()) == DOMAINS
    waits = _group(told["waits"], "rate_limited")
    assert (waits["domains"], waits["phase"]) == (1, "PAGE_SCRAPING")
    assert waits["not_before"] is not None
    assert _group(told["quarantined"], "http_5xx")["domains"] == 1
    assert told["batches"] == {"total": 1, "settled": 0, "unsettled": 1}
    assert answer.json["providers"]["pdl"]["credits"] > 0
    assert answer.json["workers"] == []


def test_status_is_one_screen_in_plain_words(done: Done) -> None:
    answer = done.ask("status")
    assert len(answer.out.splitlines()) <= 24
    assert "1 × rate_limited in PAGE_SCRAPING" in answer.out
    assert "first one due in" in answer.out
    assert "given up (http_5xx)" in answer.out
    assert str(done.folder / "home" / "sandbox") in answer.out


def test_status_of_a_list_that_does_not_exist_names_those_that_do(done: Done) -> None:
    assert "companies" in done.ask("status", "--name", "nothing").sentence


def test_failures_groups_by_kind_with_an_example_and_who_must_act(done: Done) -> None:
    told = done.ask("failures", "--json").json
    down = _group(told["failures"], "http_5xx")
    assert down["state"] == "quarantined"
    assert down["example"]["domain"] == "beta.example"
    assert "503" in down["example"]["message"]
    assert down["example"]["url"].startswith("http")
    assert _group(told["failures"], "http_4xx")["example"]["domain"] == "gamma.example"
    assert "you" in down["who"]
    rejected = told["rejected"]["companies"]
    assert rejected["rows"] == 2
    assert rejected["by_reason"] == {"not_a_domain": 1, "ip_address": 1}
    assert rejected["first"][0]["line"] == 6


def test_failures_names_the_command_that_helps_and_shows_foreign_text_as_it_is(done: Done) -> None:
    answer = done.ask("failures", "--name", "companies")
    assert "pipeline why beta.example --sandbox" in answer.out
    assert "[bold red]loud[/]" in answer.out  # markup from the list is text
    assert "\x1b" not in answer.out
    assert "The other side answered with a server error." in answer.out


def test_why_tells_the_story_of_a_domain_that_was_given_up(done: Done) -> None:
    told = done.ask("why", "https://www.Beta.example/x?y", "--json").json
    assert told["domain"] == "beta.example"
    assert told["lists"][0]["line"] == 4
    assert told["lists"][0]["other_names"] == ["Beta Two"]
    scraping = [row for row in told["events"] if row["phase"] == "PAGE_SCRAPING"]
    assert [row["what"] for row in scraping] == ["waiting", "quarantined"]
    assert [row["rounds"] for row in scraping] == [1, 2]
    assert {row["provider"] for row in told["calls"]} == {"pdl", "wikidata", "rdap"}
    assert told["phases"]["PAGE_SCRAPING"]["next"]["what"] == "nothing"
    assert "PAGE_SCRAPING" in told["profile"]["missing"]


def test_why_shows_calls_verdicts_robots_pages_and_the_profile(done: Done) -> None:
    answer = done.ask("why", "acme.example")
    told = done.ask("why", "acme.example", "--json").json
    assert answer.code == 0
    home = next(page for page in told["pages"] if page["role"] == "home")
    assert home["status"] == 200
    assert home["size_bytes"] > 0
    assert told["robots"][0]["allows_home"] is True
    assert any("reasons" in one for row in told["answers"] for one in row.get("candidates", ()))
    name = told["profile"]["fields"]["name"]
    assert name["value"] in answer.out
    assert name["url"] in answer.out
    assert f"{name['source']} {name['confidence']:.2f}" in answer.out
    times = [line[2:10] for line in answer.out.splitlines()[1:] if line[4:5].isdigit()]
    assert times == sorted(times)


def test_why_says_until_when_a_domain_waits_and_why(done: Done) -> None:
    answer = done.ask("why", "delta.example")
    told = done.ask("why", "delta.example", "--json").json
    scraping = told["phases"]["PAGE_SCRAPING"]
    assert scraping["state"] == "waiting"
    assert scraping["next"]["what"] == "another_round"
    assert scraping["next"]["at"] == scraping["not_before"]
    assert "for another round: " in answer.out
    assert "(rate_limited)" in answer.out


def test_why_of_a_domain_in_no_list_is_a_sentence_and_exit_code_1(done: Done) -> None:
    answer = done.ask("why", "nowhere.example")
    assert (answer.code, answer.out) == (1, "")
    assert "nowhere.example is in no list here" in answer.err
    told = done.ask("why", "nowhere.example", "--json")
    assert (told.code, told.json["is_known"]) == (1, False)
    assert done.ask("why", "no domain at all").code == 1


def test_what_reads_refuses_a_home_that_holds_nothing_and_makes_none(
    pipeline: Pipeline, home: Any
) -> None:
    for command in (["status"], ["failures"], ["why", "acme.example"], ["export", "x.csv"]):
        assert "nothing in" in pipeline(*command).sentence
        assert not home.exists()
