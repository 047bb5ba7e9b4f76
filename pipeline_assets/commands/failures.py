"""`pipeline failures`: what is missing and why, with an example of each kind and who must act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from pipeline_assets.commands.groups import (
    Group,
    group_json,
    groups_of,
    is_missing,
    reading_of,
)
from pipeline_assets.commands.opening import list_names, opened
from pipeline_assets.commands.wording import console, iso, plain, print_json, safe
from resources.core.errors import RULES, Actor
from resources.core.models import FETCHING, State
from resources.platform import Platform

REJECTED_SHOWN = 5


def failures(name: str | None, *, sandbox: bool, as_json: bool) -> int:
    """Print what is missing and why, with an example of each kind. Returns the exit code."""
    with opened(sandbox=sandbox) as platform:
        names = list_names(platform, name)
        found = [group for group in groups_of(platform, name) if is_missing(group)]
        flag = " --sandbox" if sandbox else ""
        if as_json:
            print_json(_failures_json(platform, names, name, found, flag))
        else:
            _show_failures(platform, names, name, found, flag)
    return 0


def _failures_json(
    platform: Platform, names: Sequence[str], name: str | None, found: Sequence[Group], flag: str
) -> dict[str, Any]:
    return {
        "failures": [
            {
                **group_json(group),
                "who": _who(group),
                "retry": _retry_command(group, found, name, flag),
                "example": _example(platform, group, name),
            }
            for group in found
        ],
        "rejected": {each: _rejected_json(platform, each) for each in names},
    }


def _example(platform: Platform, group: Group, name: str | None) -> dict[str, Any] | None:
    row = reading_of(platform).newest_of(group.phase, group.state, group.kind, name)
    if row is None:
        return None
    return {
        "domain": row["domain"],
        "message": row["reason"],
        "url": row["url"],
        "rounds": row["rounds"],
        "at": iso(row["updated_at"]),
    }


def _rejected_json(platform: Platform, name: str) -> dict[str, Any]:
    counts, first = reading_of(platform).rejections(name, REJECTED_SHOWN)
    return {
        "rows": sum(counts.values()),
        "by_reason": counts,
        "first": [
            {"line": row.line, "raw": row.raw, "reason": row.reason, "detail": row.detail}
            for row in first
        ],
    }


def _retry_command(group: Group, found: Sequence[Group], name: str | None, flag: str) -> str | None:
    """The command that has a group tried again, where it would not be by itself.

    Args:
        found: All groups that are shown; what means this one alone depends on them.
    """
    is_given_up = group.state is State.QUARANTINED
    is_under_way = group.tried_again == group.domains
    if is_under_way or not (is_given_up or group.needs_person or group.state is State.REFUSED):
        return None
    words = ["pipeline retry"]
    if is_given_up:
        words.append("--quarantined")
    if group.kind is not None:
        words.append(f"--kind {group.kind}")
    alike = [one for one in found if one.kind is group.kind and one.state is group.state]
    if len(alike) > 1 or group.kind is None:
        words.append(f"--phase {group.phase}")
    if name is not None:
        words.append(f"--name {name}")
    return " ".join(words) + flag


def _who(group: Group) -> str:
    """Who must act so that something changes."""
    if group.tried_again and group.tried_again == group.domains:
        return "nobody: the next run tries them again (`pipeline run` again, or `pipeline ui`)"
    match RULES[group.kind].actor if group.kind is not None else Actor.NOBODY:
        case Actor.MAINTAINERS:
            return "the maintainers: `pipeline why` shows the stack trace"
        case Actor.OPERATOR:
            return "you"
        case Actor.NOBODY:
            pass
    if group.state is State.QUARANTINED:
        return "you, if you want them: it was tried often enough"
    if group.state.is_settled:
        return "nobody: it is final until it is refreshed"
    return "nobody: the next run takes them up (`pipeline run` again, or `pipeline ui`)"


def _show_failures(
    platform: Platform, names: Sequence[str], name: str | None, found: Sequence[Group], flag: str
) -> None:
    out = console()
    now = platform.clock.now()
    if not names:
        out.print("No list has been taken in yet: `pipeline run FILE` begins.")
    elif not found:
        out.print("[green]Nothing is missing:[/] every domain has an answer in every phase.")
    for phase in FETCHING:
        groups = [group for group in found if group.phase is phase]
        if groups:
            out.print(f"[bold]{phase}[/]")
        for group in groups:
            retry = _retry_command(group, found, name, flag)
            for line in _failure_lines(platform, group, name, now, flag, retry):
                out.print(line, soft_wrap=True)
    for each in names:
        _show_rejected(out, platform, each)


def _failure_lines(
    platform: Platform, group: Group, name: str | None, now: float, flag: str, retry: str | None
) -> Iterator[str]:
    label = group.kind or group.state
    standing = group.state if group.state.is_settled else group.next_step(now)
    if group.tried_again:
        standing += f", {group.tried_again} of them being tried again"
    yield f"  [bold]{group.domains} × {label}[/] ({standing})  {group.sentence}"
    yield f"      who acts  {_who(group)}"
    if retry is not None:
        yield f"      again     {'once that is mended: ' if group.needs_person else ''}{retry}"
    example = _example(platform, group, name)
    if example is None:
        return
    url = f"  {safe(example['url'])}" if example["url"] else ""
    message = safe(example["message"]) if example["message"] else ""
    yield f"      newest    {safe(example['domain'])}  {message}{url}"
    yield f"      more      pipeline why {plain(example['domain'])}{flag}"


def _show_rejected(out: Console, platform: Platform, name: str) -> None:
    rejected = _rejected_json(platform, name)
    if not rejected["rows"]:
        return
    reasons = ", ".join(f"{n} × {reason}" for reason, n in rejected["by_reason"].items())
    out.print(
        f"[bold]Rejected rows of {safe(name)}[/]  {rejected['rows']}: {reasons} "
        "(who acts: you; correct the rows and run the file again)",
        soft_wrap=True,
    )
    for row in rejected["first"]:
        out.print(
            f"  line {row['line']}: {safe(row['raw'], 80)}  ({safe(row['detail'])})", soft_wrap=True
        )
    left = rejected["rows"] - len(rejected["first"])
    if left:
        out.print(f"  and {left} more")
