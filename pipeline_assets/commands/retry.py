"""`pipeline retry`: brings back what was given up, waits, or needed a person who has acted.

Changes the ledger alone, and works on nothing itself: automatic runs take up what was brought back,
or the next one that a person starts. Batches that a cancel holds are released with it. What becomes
of a domain is decided in `core/bringing_back`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pipeline_assets.commands.groups import reading_of
from pipeline_assets.commands.opening import list_names, opened
from pipeline_assets.commands.wording import (
    console,
    iso,
    many,
    plain,
    print_json,
    safe,
    until,
)
from resources.adapters.ledger.bringing_back import BringingBack, BroughtBack
from resources.adapters.ledger.releasing import NOTHING
from resources.adapters.providers.registry import KNOWN
from resources.adapters.suffix_list import bundled_rules
from resources.core.bringing_back import Selection
from resources.core.domains import NormalizedDomain, normalize
from resources.core.errors import FailureKind, UsageError
from resources.core.models import FETCHING, Phase
from resources.platform import Platform

BATCHES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    domains: tuple[str, ...]
    batch: str | None
    kind: str | None
    provider: str | None
    quarantined: bool
    name: str | None
    phase: str | None
    sandbox: bool
    as_json: bool


def retry(request: Request) -> int:
    """Do it. Returns the exit code.

    Raises:
        UsageError: nothing is selected, or something that does not exist; nothing was changed.
    """
    selection = _selection(request)
    with opened(sandbox=request.sandbox) as platform:
        _check(platform, selection)
        now = platform.clock.now()
        # What a killed run had in hand is nobody's.
        platform.ledger.workers.bury_dead(now)
        done = BringingBack(platform.ledger.database).bring_back(selection, now)
        if request.as_json:
            print_json(_as_json(done))
        else:
            _show(platform, done, now, flag=" --sandbox" if request.sandbox else "")
    return 0


# -- what is asked for --------------------------------------------------------------------------


def _selection(request: Request) -> Selection:
    """The selection, as far as it can be told without the ledger."""
    selection = Selection(
        domains=_domains(request.domains),
        batch_key=request.batch,
        list_name=request.name,
        phase=_phase(request.phase),
        kind=_kind(request.kind),
        provider=_provider(request.provider),
        is_quarantined=request.quarantined,
    )
    if selection.is_empty:
        raise UsageError(
            "Say what to bring back: DOMAIN..., --batch KEY, --kind KIND, --provider NAME, "
            "--quarantined, --name LIST or --phase PHASE, or several of them; "
            "`pipeline failures` shows what there is."
        )
    return selection


def _domains(values: Sequence[str]) -> tuple[str, ...]:
    rules = bundled_rules()
    found = []
    for value in values:
        one = normalize(value, rules)
        if not isinstance(one, NormalizedDomain):
            raise UsageError(f"{plain(value, 100)!r} is no domain: {one.detail}.")
        found.append(one.domain)
    return tuple(found)


def _phase(text: str | None) -> Phase | None:
    if text is None:
        return None
    phase = next((one for one in FETCHING if one == text.upper()), None)
    if phase is None:
        raise UsageError(
            f"--phase {text!r} is no phase that can be tried again; there are: "
            f"{', '.join(FETCHING)}. Profiles are built again whenever these settle something."
        )
    return phase


def _kind(text: str | None) -> FailureKind | None:
    if text is None:
        return None
    try:
        return FailureKind(text.lower())
    except ValueError:
        raise UsageError(
            f"--kind {text!r} is no failure kind; there are: {', '.join(FailureKind)}."
        ) from None


def _provider(text: str | None) -> str | None:
    if text is not None and text.lower() not in KNOWN:
        raise UsageError(f"--provider {text!r} is no provider; there are: {', '.join(KNOWN)}.")
    return text.lower() if text is not None else None


def _check(platform: Platform, selection: Selection) -> None:
    """Make sure that list, batch and domains exist; a typo must not look like "nothing to do"."""
    names = list_names(platform, selection.list_name)
    if selection.batch_key is not None:
        known = _lists_by_batch(platform)
        if selection.batch_key not in known:
            raise UsageError(
                f"There is no batch {selection.batch_key!r}. Batches: {_ranges(known)}."
            )
    listed = reading_of(platform).batches_with(selection.domains)
    unknown = [domain for domain in selection.domains if domain not in listed]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{unknown[0]}{more} is in no list here, so nothing was changed. "
            f"Lists: {', '.join(names) or 'none yet'}."
        )


def _lists_by_batch(platform: Platform) -> dict[str, str]:
    return {batch.key: batch.list_name for batch in platform.ledger.lists.batches_of()}


def _ranges(known: Mapping[str, str]) -> str:
    """The batches of each list, from the first to the last."""
    parts = []
    for _, found in groupby(known, key=lambda key: known[key]):
        keys = list(found)
        parts.append(keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}")
    return _some(parts) or "none yet"


# -- what was done ------------------------------------------------------------------------------


def _as_json(done: BroughtBack) -> dict[str, Any]:
    return {
        "brought_back": {phase.value: done.phases[phase] for phase in FETCHING},
        "settled": done.settled,
        "later": done.later,
        "later_until": iso(done.later_until),
        "batches": list(done.batches),
        "in_hand": done.in_hand,
        "not_tried": done.not_tried,
        "domains": list(done.domains),
        "released": {
            "cancelled": list(done.released.cancelled),
            "given_up": list(done.released.given_up),
        },
    }


def _show(platform: Platform, done: BroughtBack, now: float, *, flag: str) -> None:
    out = console()
    for line in (*_changed(done, now), *_released(done), *_left_alone(done)):
        out.print(line, soft_wrap=True)
    keys = sorted({*done.batches, *done.released.cancelled, *done.released.given_up})
    if keys:
        lists = _lists_by_batch(platform)
        names = list(dict.fromkeys(lists[key] for key in keys))
        out.print(
            f"[bold]Next[/]  while pipeline ui{flag} runs, it takes this up by itself; without it: "
            f"pipeline heal{flag}, or pipeline run FILE{flag} with the file of {_some(names)}",
            soft_wrap=True,
        )
    else:
        out.print(f"[bold]Next[/]  pipeline failures{flag}   what is missing and why")


def _changed(done: BroughtBack, now: float) -> Iterator[str]:
    if not done.phases:
        is_left = done.in_hand or done.not_tried or done.released != NOTHING
        why = "." if is_left else ": no domain that waits or was given up is meant by this."
        yield f"Nothing was brought back{why}"
        return
    counts = ", ".join(
        f"{many(done.phases[phase], 'domain')} in {phase}"
        for phase in FETCHING
        if phase in done.phases
    )
    yield f"[bold]Brought back[/]  {counts}"
    yield f"  in {many(len(done.batches), 'batch')}: {_some(done.batches)}"
    if done.settled:
        yield (
            f"  settled before: {done.settled}, and so until an attempt settles them anew; "
            "their batches stay materialized"
        )
    if done.later_until is not None:
        yield (
            f"  not due yet: {done.later}, because the other side asked for a wait or calls to it "
            f"are paused; the first is due {until(done.later_until, now)}"
        )


def _released(done: BroughtBack) -> Iterator[str]:
    cancelled, given_up = done.released.cancelled, done.released.given_up
    if cancelled:
        verb = "is" if len(cancelled) == 1 else "are"
        counted = many(len(cancelled), "cancelled batch")
        yield f"[bold]Released[/]  {counted} {verb} released: {_some(cancelled)}"
    if given_up:
        verb = "is" if len(given_up) == 1 else "are"
        counted = many(len(given_up), "batch")
        yield (
            f"[bold]Released[/]  {counted} that automatic runs had given up {verb} tried again: "
            f"{_some(given_up)}"
        )


def _left_alone(done: BroughtBack) -> Iterator[str]:
    if done.in_hand:
        yield f"[bold]Left alone[/]  {many(done.in_hand, 'domain')} being worked on just now"
    if done.not_tried:
        yield (
            f"[bold]Left alone[/]  {many(done.not_tried, 'domain')} never tried so far: the next "
            "run begins there by itself"
        )


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    shown = ", ".join(safe(name) for name in names[:BATCHES_NAMED])
    left = len(names) - BATCHES_NAMED
    return f"{shown} and {left} more" if left > 0 else shown
