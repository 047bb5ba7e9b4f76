"""`pipeline why DOMAIN`: a domain's whole story in the order of time, and what comes next.

Told from what `story` has collected. Ends with the profile: each value, who says so and where.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from pipeline_assets.commands.opening import SANDBOX_FOLDER, opened
from pipeline_assets.commands.story import Next, Story
from pipeline_assets.commands.wording import (
    console,
    iso,
    moment,
    plain,
    print_json,
    safe,
    size,
    until,
)
from resources.adapters.ledger.person_waits import BROUGHT_BACK
from resources.adapters.suffix_list import bundled_rules
from resources.core.domains import NormalizedDomain, normalize
from resources.core.errors import RULES, FailureKind
from resources.core.models import Phase, State
from resources.core.redaction import redact
from resources.platform import Platform

OTHERS_SHOWN = 3
CANDIDATES_SHOWN = 5
_SHORT = {Phase.COMPANY_ENRICHMENT: "enrichment", Phase.PAGE_SCRAPING: "scraping"}
_FOLLOWING = {
    Next.FIRST_TRY: "not tried yet; the next run begins with it",
    Next.NEXT_RUN: "for the next run, without using up a round",
    Next.INPUTS: "for the phases before it",
    Next.NOTHING: "nothing more happens by itself",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the story; `more` are lines below it."""

    at: float
    what: str
    text: str
    more: tuple[str, ...] = ()


def why(domain: str, *, sandbox: bool, as_json: bool) -> int:
    """Tell a domain's story. Returns 0, or 1 when it is in no list.

    Raises:
        UsageError: there is nothing to look into yet.
    """
    found = normalize(domain, bundled_rules())
    with opened(sandbox=sandbox) as platform:
        if not isinstance(found, NormalizedDomain):
            sentence = f"{plain(domain, 100)!r} is no domain: {found.detail}."
            return _unknown({"domain": None, "reason": found.reason}, sentence, as_json=as_json)
        story = Story(platform, found.domain)
        if not story.is_known:
            sentence = f"{found.domain} is in no list here. {_hint(platform, sandbox=sandbox)}"
            return _unknown({"domain": found.domain}, sentence.strip(), as_json=as_json)
        if as_json:
            print_json(story.as_json())
        else:
            _tell(story)
    return 0


def _unknown(known: Mapping[str, Any], sentence: str, *, as_json: bool) -> int:
    if as_json:
        print_json({**known, "is_known": False, "message": sentence})
    else:
        print(sentence, file=sys.stderr)
    return 1


def _hint(platform: Platform, *, sandbox: bool) -> str:
    names = platform.ledger.lists.names()
    lists = f"Lists: {', '.join(names)}." if names else ""
    other = platform.settings.home / SANDBOX_FOLDER / "ledger.db"
    if not sandbox and other.exists():
        return f"{lists} Results of the sandbox are shown with --sandbox."
    return lists


def _tell(story: Story) -> None:
    out = console()
    out.print(f"[bold]{safe(story.domain)}[/]", soft_wrap=True)
    for one in sorted(_moments(story), key=lambda one: one.at):
        when = moment(one.at, story.now)
        out.print(f"  [dim]{when}[/]  {one.what:<10}  {one.text}", soft_wrap=True)
        for line in one.more:
            out.print(f"{' ' * (len(when) + 16)}{line}", soft_wrap=True)
    out.print("\n[bold]Now[/]")
    for phase in Phase:
        if phase in story.phases:
            line = _standing(story.phases[phase], story.now)
            out.print(f"  {phase.value:<19} {line}", soft_wrap=True)
    _tell_profile(out, story)


# -- the story ----------------------------------------------------------------------------------


def _moments(story: Story) -> Iterator[Moment]:
    for row in story.lists:
        hints = ", ".join(safe(row[key]) for key in ("name", "country") if row[key])
        others = "; also listed as " + ", ".join(map(safe, row["other_names"]))
        yield Moment(
            row["at"],
            "list",
            f"{safe(row['list'])}, line {row['line']}, batch {safe(row['batch'])}"
            + (f": {hints}" if hints else "")
            + (others if row["other_names"] else ""),
        )
    for event in story.events:
        yield _event(event)
    yield from _calls(story.calls)
    yield from _answers(story)
    for row in story.robots:
        verdict = "allows the home page" if row["allows_home"] else "forbids the home page"
        text = f"robots.txt of {safe(row['host'])} (HTTP {row['status']}) {verdict}"
        yield Moment(row["at"], "robots", text)
    for row in story.pages:
        moved = f" → {safe(row['final_url'])}" if row["final_url"] != row["url"] else ""
        text = (
            f"{row['role']:<8} HTTP {row['status']}  {size(row['size_bytes']):>7}  "
            f"{safe(row['url'])}{moved}"
        )
        yield Moment(row["at"], "page", text)
    settled_at = (story.phases.get(Phase.PAGE_SCRAPING) or {}).get("settled_at") or story.now
    for row in story.failed_pages:
        text = f"{row['role']:<8} failed: {row['kind']}  {safe(row['url'])}"
        yield Moment(settled_at, "page", text)
    if story.profile_at is not None:
        yield Moment(story.profile_at, "profile", "built from what was settled")


def _event(event: Mapping[str, Any]) -> Moment:
    phase = _SHORT.get(event["phase"], event["phase"].lower())
    if event["what"] == BROUGHT_BACK:
        # Provider and URL are those of the failure before, which has a line of its own.
        return Moment(event["at"], phase, f"brought back: {safe(redact(event['message']))}")
    parts = [event["what"]]
    if event["rounds"]:
        parts.append(f"after round {event['rounds']}")
    if event["kind"]:
        parts.append(f"({event['kind']})")
    text = " ".join(parts)
    if event["message"]:
        text += f": {safe(redact(event['message']))}"
    if event["provider"]:
        text += f"  at {safe(event['provider'])}"
    if event["url"]:
        text += f"  {safe(redact(event['url']))}"
    stack = (event["stack"] or "").strip().splitlines()
    return Moment(event["at"], phase, text, tuple(safe(redact(line)) for line in stack))


def _calls(calls: Sequence[Mapping[str, Any]]) -> Iterator[Moment]:
    for call in calls:
        asked = f" (asked {call['asked']} times in all)" if call["asked"] > 1 else ""
        yield Moment(call["sent_at"], "call", f"{safe(call['provider'])}: sent{asked}")
        if call["answered_at"] is None:
            more = ("no answer was noted: the process ended first, or it is under way",)
            yield Moment(call["sent_at"], "call", f"{safe(call['provider'])}: open", more)
            continue
        detail = f": {safe(redact(call['message']))}" if call["message"] else ""
        credits = f", {call['credits']:g} credit(s) for it" if call["credits"] else ""
        text = f"{safe(call['provider'])}: {call['outcome']}, {call['state']}{credits}{detail}"
        yield Moment(call["answered_at"], "call", text)


def _answers(story: Story) -> Iterator[Moment]:
    """What was made of the answers; judged when the domain was settled."""
    settled_at = (story.phases.get(Phase.COMPANY_ENRICHMENT) or {}).get("settled_at") or story.now
    answered_at = {call["provider"]: call["answered_at"] or 0.0 for call in story.calls}
    for answer in story.answers:
        name = safe(answer["provider"])
        match answer["verdict"]:
            case "match":
                text = f"{name}: accepted, {answer['facts']} facts"
            case "failed":
                message = safe(redact(answer.get("message") or ""))
                text = f"{name}: done without ({answer.get('kind')}) {message}".strip()
            case _:
                text = f"{name}: no match"
        candidates = answer.get("candidates", ())
        more = [_candidate(one) for one in candidates[:CANDIDATES_SHOWN]]
        if len(candidates) > CANDIDATES_SHOWN:
            more.append(f"and {len(candidates) - CANDIDATES_SHOWN} more")
        at = max(answer.get("at") or settled_at, answered_at.get(answer["provider"], 0.0))
        yield Moment(at, "verdict", text, tuple(more))


def _candidate(candidate: Mapping[str, Any]) -> str:
    mark = "[green]yes[/]" if candidate["is_accepted"] else "[red]no[/] "
    names = " / ".join(safe(name, 60) for name in candidate["names"][:2]) or "without a name"
    reasons = ", ".join(safe(reason, 80) for reason in candidate["reasons"])
    return f"{mark} {names} ({safe(candidate['id'], 60)}) {candidate['score']:.2f}: {reasons}"


# -- now ----------------------------------------------------------------------------------------


def _standing(phase: Mapping[str, Any], now: float) -> str:
    """Where it stands in a phase and what happens next, in one sentence."""
    state = State(phase["state"])
    reason = safe(redact(phase["reason"])) if phase["reason"] else ""
    kind = f" ({phase['kind']})" if phase["kind"] else ""
    following = _following(phase, now)
    if state.is_settled:
        # While it is tried again, the rounds are those of that.
        is_told = phase["rounds"] > 1 and not phase["is_tried_again"]
        rounds = f" after {phase['rounds']} rounds" if is_told else ""
        at = f" at {moment(phase['settled_at'], now)}" if phase["settled_at"] else ""
        cause = (f"; {reason}" if state is State.SUCCEEDED else f": {reason}") if reason else ""
        return f"settled: {state.value}{rounds}{at}{kind}{cause}  [dim]{following}[/]"
    if state is State.PENDING:
        is_input = phase["next"]["what"] == Next.INPUTS
        return f"pending: {'waits ' if is_input else ''}{following}"
    rounds = f", round {phase['rounds']} is behind it" if phase["rounds"] else ""
    return f"waits {following}: {reason or 'no reason was noted'}{kind}{rounds}"


def _following(phase: Mapping[str, Any], now: float) -> str:
    what, at = Next(phase["next"]["what"]), phase["next"]["at"]
    if what is Next.WORKED_ON:
        return f"in the hands of {safe(phase['held_by'])}"
    if what is Next.ANOTHER_ROUND:
        is_due = not at or at <= now
        when = "since it is due" if is_due else f"until {moment(at, now)} ({until(at, now)})"
        return f"{when} for another round"
    if what is Next.NEEDS_PERSON:
        waits = "tried again, but waits " if phase["is_tried_again"] else ""
        return f"{waits}for you ({RULES[FailureKind(phase['waits_for'])].sentence})"
    if what is Next.TRIED_AGAIN:
        is_due = not at or at <= now
        when = "due now" if is_due else f"not before {moment(at, now)} ({until(at, now)})"
        again = f" after round {phase['rounds']}" if phase["rounds"] else ""
        cause = f" ({phase['waits_for']})" if phase["waits_for"] else ""
        return f"being tried again: {when}{again}{cause}"
    if what is Next.REFRESH and at:
        return f"stale from {(iso(at) or '')[:10]}"
    return _FOLLOWING.get(what, "")


# -- the profile --------------------------------------------------------------------------------


def _tell_profile(out: Console, story: Story) -> None:
    out.print("\n[bold]Profile[/]")
    if story.profile is None:
        out.print("  not built yet")
        return
    fields = story.profile["fields"]
    if not fields:
        out.print("  empty")
    for name, held in fields.items():
        values = held["value"] if isinstance(held["value"], list) else [held["value"]]
        value = "; ".join(safe(each, 120) for each in values)
        source = f"{safe(held['source'])} {held['confidence']:.2f}"
        out.print(f"  [bold]{name:<14}[/] {value}", soft_wrap=True)
        out.print(f"  {'':<14} [dim]{source}  {safe(redact(held['url']))}[/]", soft_wrap=True)
        shown = {str(each) for each in values}
        lost = [one for one in held["others"] if str(one["value"]) not in shown]
        for one in lost[:OTHERS_SHOWN]:
            out.print(
                f"  {'':<14} [dim]not {safe(one['value'], 80)} "
                f"({safe(one['source'])} {one['confidence']:.2f})[/]",
                soft_wrap=True,
            )
        if len(lost) > OTHERS_SHOWN:
            out.print(f"  {'':<14} [dim]and {len(lost) - OTHERS_SHOWN} more[/]")
    for phase, sentence in story.profile["missing"].items():
        out.print(f"  missing        {phase}: {safe(redact(sentence))}", soft_wrap=True)
