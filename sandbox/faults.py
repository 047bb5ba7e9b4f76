"""Faults on order: which request is hit by what. Deciding only; `delivery.py` does it.

Faults are scripted in TOML, one `[[fault]]` table each; the first rule that hits a request wins.

    seed = 7                  # optional; --seed otherwise

    [[fault]]
    kind = "status"           # see the table of kinds
    name = "pdl is busy"      # optional, and part of the draw; the rule's number otherwise
    api = "pdl"               # pdl, wikidata, rdap or site (company sites); any when left out
    host = "*.example"        # glob on the Host (for an API its official one); any when left out
    path = "/about*"          # glob on the path without the query; any when left out
    rate = 0.02               # share of the matching requests, 0 to 1; 1 when left out
    host_share = 0.3          # share of the hosts (by hash) it can hit; all when left out
    from_s = 0                # window in seconds since these faults came into force
    until_s = 30
    max_times = 3             # only the first n hits on a host count; no limit when left out

| kind | does | settings |
|---|---|---|
| `status` | answers a status | `status` (503), `retry_after` (seconds), `retry_after_date = true` |
| `latency` | answers late | `seconds`, a number or [low, high] |
| `hang` | never answers; ends when the client goes, or closes after `hang_s` | `hang_s` |
| `reset` | ends the connection by TCP RST | `after_bytes` of the body are sent before (none) |
| `truncated` | tells the full Content-Length, sends half, closes | - |
| `redirect_loop` | redirects between two addresses for ever | - |
| `slow_body` | lets the body drip | `seconds` for all of it (10) |
| `malformed` | an API's JSON broken off, a page's body garbage | - |
| `outage` | half 503, half hanging until the window ends | `hang_s`, `retry_after` |

The decision for the n-th request depends on (seed, rule, host, request, n) alone, so that a retry
draws anew and two runs with one seed are hit alike. The request is path and query, with the body
of a POST, so that concurrent calls for different domains do not disturb each other's draws.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import Any
from zlib import crc32

from sandbox.answers import Request
from sandbox.draw import Draw
from sandbox.mistakes import UsageMistake

APIS = ("pdl", "wikidata", "rdap", "site")
# Past this many different requests the count begins anew rather than fill the memory.
_MOST_COUNTED_REQUESTS = 1_000_000


class FaultKind(StrEnum):
    """What can be done to a request."""

    STATUS = "status"
    LATENCY = "latency"
    HANG = "hang"
    RESET = "reset"
    TRUNCATED = "truncated"
    REDIRECT_LOOP = "redirect_loop"
    SLOW_BODY = "slow_body"
    MALFORMED = "malformed"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One `[[fault]]` table."""

    kind: FaultKind
    name: str
    api: str | None = None
    host: str | None = None
    path: str | None = None
    rate: float = 1.0
    host_share: float = 1.0
    from_s: float = 0.0
    until_s: float | None = None
    max_times: int | None = None
    status: int = 503
    retry_after: int | None = None
    retry_after_date: bool = False
    seconds: tuple[float, float] = (10.0, 10.0)
    hang_s: float | None = None
    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request; `seconds` is drawn, no `hang_s` is until the client goes."""

    kind: FaultKind
    rule: str
    status: int
    retry_after: int | None
    retry_after_date: bool
    seconds: float
    hang_s: float | None
    after_bytes: int


class _ArmedRule:
    """A rule with its patterns compiled and its draws prepared."""

    __slots__ = (
        "_draw",
        "_host",
        "_path",
        "hits",
        "hits_by_host",
        "is_host_chosen",
        "rule",
    )

    def __init__(self, rule: FaultRule, seed: int) -> None:
        self.rule = rule
        self._draw = Draw(seed, f"fault {rule.name}")
        self._host = re.compile(translate(rule.host.lower())) if rule.host else None
        self._path = re.compile(translate(rule.path)) if rule.path else None
        self.is_host_chosen = lru_cache(maxsize=8192)(self._chooses)
        self.hits = 0
        self.hits_by_host: dict[str, int] = {}

    def _chooses(self, host: str) -> bool:
        if self._host is not None and not self._host.match(host):
            return False
        share = self.rule.host_share
        # With and without www. is one site, which is away or is not.
        return share >= 1 or self._draw.chance(f"host {host.removeprefix('www.')}", share)

    def covers(self, api: str, host: str, path: str, now_s: float) -> bool:
        """Say whether a request is in this rule's window and pattern."""
        rule = self.rule
        if now_s < rule.from_s or (rule.until_s is not None and now_s >= rule.until_s):
            return False
        if rule.api is not None and rule.api != api:
            return False
        if self._path is not None and not self._path.match(path):
            return False
        return self.is_host_chosen(host)

    def hit(self, host: str, subject: str, nth: int, now_s: float) -> Fault | None:
        """Draw for the n-th request and count the hit."""
        rule = self.rule
        label = f"{host} {subject} {nth}"
        if rule.rate < 1 and not self._draw.chance(label, rule.rate):
            return None
        if rule.max_times is not None:
            times = self.hits_by_host.get(host, 0)
            if times >= rule.max_times:
                return None
            self.hits_by_host[host] = times + 1
        self.hits += 1
        kind, hang_s = rule.kind, rule.hang_s
        if kind is FaultKind.OUTAGE:
            hangs = self._draw.chance(f"hangs {label}", 0.5)
            kind = FaultKind.HANG if hangs else FaultKind.STATUS
            if hang_s is None and rule.until_s is not None:
                hang_s = max(0.05, rule.until_s - now_s)
        low, high = rule.seconds
        return Fault(
            kind,
            rule.name,
            rule.status,
            rule.retry_after,
            rule.retry_after_date,
            low + (high - low) * self._draw.share(f"seconds {label}"),
            hang_s,
            rule.after_bytes,
        )


class Faults:
    """The rules in force, counting from the moment they came into force."""

    def __init__(
        self,
        name: str,
        rules: tuple[FaultRule, ...],
        seed: int,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._seed = seed
        self._rules = tuple(_ArmedRule(rule, seed) for rule in rules)
        self._clock = clock
        self._since_s = clock()
        self._nth: dict[int, int] = {}

    def decide(self, api: str, request: Request) -> Fault | None:
        """Return what happens to a request, None for most."""
        if not self._rules:
            return None
        now_s = self._clock() - self._since_s
        host, path = request.host, request.path
        covering = [rule for rule in self._rules if rule.covers(api, host, path, now_s)]
        if not covering:
            return None
        subject = f"{path}?{request.query}" if request.query else path
        if request.body:
            subject += f" {crc32(request.body)}"
        nth = self._count(host, subject)
        for rule in covering:
            fault = rule.hit(host, subject, nth, now_s)
            if fault is not None:
                return fault
        return None

    def _count(self, host: str, subject: str) -> int:
        if len(self._nth) > _MOST_COUNTED_REQUESTS:
            self._nth.clear()
        key = hash((host, subject))
        nth = self._nth[key] = self._nth.get(key, 0) + 1
        return nth

    def report(self) -> dict[str, Any]:
        """Return the rules and how often each has hit, as `GET /_sandbox/faults` answers them."""
        return {
            "name": self._name,
            "seed": self._seed,
            "in_force_s": round(self._clock() - self._since_s, 3),
            "rules": [rule.rule for rule in self._rules],
            "hits": {rule.rule.name: rule.hits for rule in self._rules},
        }


def parse_faults(text: str, source: str, seed: int, clock: Callable[[], float]) -> Faults:
    """Read faults from TOML.

    Args:
        text: the TOML, in the form the module's docstring gives.
        source: where it comes from, for messages and reports.
        seed: used unless the TOML has one.
        clock: seconds that never go back.

    Raises:
        UsageMistake: it is not TOML, or a table has an unknown or impossible setting.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageMistake(
            f"the faults in {source} are not valid TOML: {error}; mend it"
        ) from error
    unknown = set(content) - {"fault", "seed"}
    tables = content.get("fault", [])
    if unknown or not isinstance(tables, list):
        what = ", ".join(sorted(unknown)) or "fault"
        raise UsageMistake(
            f"the faults in {source} have {what!r} at the top; "
            "write one [[fault]] table for each fault, and perhaps a seed"
        )
    own_seed = content.get("seed", seed)
    if isinstance(own_seed, bool) or not isinstance(own_seed, int):
        raise UsageMistake(f"the seed in {source} is {own_seed!r}; use a whole number")
    rules = tuple(_rule(table, index, source) for index, table in enumerate(tables, 1))
    return Faults(source, rules, own_seed, clock)


_KNOWN_KEYS = frozenset(field.name for field in fields(FaultRule))
_WHOLE_NUMBERS = frozenset({"max_times", "retry_after", "after_bytes"})
_NUMBERS = {"rate": 1.0, "host_share": 1.0, "from_s": 1e9, "until_s": 1e9, "hang_s": 1e9,
            "max_times": 1e9, "retry_after": 1e9, "after_bytes": 1e9}  # fmt: skip


def _rule(table: Any, index: int, source: str) -> FaultRule:
    def mistake(what: str) -> UsageMistake:
        return UsageMistake(f"fault number {index} in {source}: {what}")

    if not isinstance(table, dict):
        raise mistake("it is no table; write it as [[fault]]")
    unknown = set(table) - _KNOWN_KEYS
    if unknown:
        raise mistake(f"unknown setting {', '.join(sorted(unknown))}; see sandbox/README.md")
    if table.get("kind") not in set(FaultKind):
        raise mistake(f"kind is {table.get('kind')!r}; use one of {', '.join(FaultKind)}")
    if table.get("api") not in (None, *APIS):
        raise mistake(f"api is {table['api']!r}; use one of {', '.join(APIS)}")
    for key, most in _NUMBERS.items():
        value = table.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
            raise mistake(f"{key} is {value!r}; use a number from 0 to {most:g}")
        if key in _WHOLE_NUMBERS and not isinstance(value, int):
            raise mistake(f"{key} is {value!r}; use a whole number")
    if not isinstance(table.get("retry_after_date", False), bool):
        raise mistake("retry_after_date is true or false")
    status = table.get("status", 503)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise mistake(f"status is {status!r}; use 200 to 599")
    if any(not isinstance(table.get(key, ""), str) for key in ("host", "path", "name")):
        raise mistake("host, path and name are texts in quotes")
    settings = table | {
        "kind": FaultKind(table["kind"]),
        "name": table.get("name", str(index)),
    }
    if "seconds" in table:
        settings["seconds"] = _range(table["seconds"], mistake)
    return FaultRule(**settings)


def _range(value: Any, mistake: Callable[[str], UsageMistake]) -> tuple[float, float]:
    pair = value if isinstance(value, list) else [value, value]
    is_number = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in pair]
    if len(pair) != 2 or not all(is_number) or not 0 <= pair[0] <= pair[1]:
        raise mistake(f"seconds is {value!r}; use a number, or [low, high]")
    return float(pair[0]), float(pair[1])
