"""A storm of 429: nobody calls before the time that was asked for, and then the pace comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest

from resources.adapters.call_gate import REFRESH_S
from resources.adapters.ledger.paces import BLOCK_S
from tests.support.calling_process import CallingProcess
from tests.support.ledgers import open_at, sqlite_url
from tests.support.processes import Result, sandbox, started_pipeline, write_list
from tests.support.raw_server import RawServer, Request, reply
from tests.support.recorder import PDL, Exchange, Recorder, recorder

# Until an answer has gone through client, classification and ledger, what was begun goes on.
IN_FLIGHT_S = 0.2
# Another process has drawn its next calls already, or looks again after its refresh.
TOLD_TO_OTHERS_S = IN_FLIGHT_S + BLOCK_S + REFRESH_S

LISTS = {name: [f"{name}-{number:03}.example" for number in range(60)] for name in ("one", "two")}
BUSY = {"seconds": "one-003.example", "date": "two-005.example"}
STORM = "\n".join(
    f'[[fault]]\nname = "{api} {form} {host}"\nkind = "status"\nstatus = 429\napi = "{api}"\n'
    f'host = "{host}"\nretry_after = {wait_s}\nretry_after_date = {is_date}\nmax_times = {times}\n'
    for api, form, host, wait_s, is_date, times in (
        ("pdl", "seconds", PDL, 2, "false", 2),
        ("pdl", "date", PDL, 3, "true", 2),
        ("site", "seconds", BUSY["seconds"], 2, "false", 2),
        ("site", "date", BUSY["date"], 3, "true", 2),
    )
)
SETTINGS = {"PIPELINE_RETRY_BACKOFF_BASE": "0.3", "PIPELINE_FETCH__PAGES_PER_SITE": "2"}


@dataclass(frozen=True)
class Runs:
    """Two runs at once."""

    ended: Sequence[Result]
    record: Recorder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("storm")
    home = folder / "home"
    with sandbox() as internet, recorder(internet) as record:
        internet.set_faults(STORM)
        one, two = (
            ("run", str(write_list(folder / f"{name}.csv", domains)), "--sandbox-url", record.url)
            + ("--json", "--wait", "2m")
            for name, domains in LISTS.items()
        )
        with (
            started_pipeline(*one, home=home, **SETTINGS) as first,
            started_pipeline(*two, home=home, **SETTINGS) as second,
        ):
            said = [process.communicate(timeout=150) for process in (first, second)]
            codes = [process.returncode for process in (first, second)]
        yield Runs([Result(code, *texts) for code, texts in zip(codes, said, strict=True)], record)


def _too_early(exchanges: Sequence[Exchange], excused_s: float) -> list[str]:
    """Calls sent after an answer had asked for a wait, and before it was over."""
    found = []
    for told in exchanges:
        if told.not_before is None or told.answered_at is None:
            continue
        heard_at = told.answered_at + excused_s
        found += [
            f"{told.not_before - call.at:.2f} s before the time"
            for call in exchanges
            if heard_at < call.at < told.not_before
        ]
    return found


def test_both_runs_settle_everything_and_give_nothing_up(runs: Runs) -> None:
    for result in runs.ended:
        assert result.code == 0, result.err
        for phase in result.json["phases"].values():
            assert phase["quarantined"] == phase["waiting"] == phase["pending"] == 0


@pytest.mark.parametrize("host", [PDL, *BUSY.values()])
def test_the_storm_hit_each_of_them(runs: Runs, host: str) -> None:
    refused = [one for one in runs.record.to(host) if one.status == 429]
    assert len(refused) >= 2
    assert all(one.not_before for one in refused)


def test_no_run_calls_the_provider_before_the_time_asked_for(runs: Runs) -> None:
    assert _too_early(runs.record.to(PDL), TOLD_TO_OTHERS_S) == []


@pytest.mark.parametrize("host", BUSY.values())
def test_no_site_is_called_before_the_time_it_asked_for(runs: Runs, host: str) -> None:
    assert _too_early(runs.record.to(host), IN_FLIGHT_S) == []


RATE = 20.0
BEFORE_S, AFTER_S = 4.0, 18.0
WAIT_S = 2


@dataclass
class Provider:
    """A server that may be too busy, and says so in both forms in turn.

    Args:
        calls: Time and caller of each call.
        told: When a caller was told to wait, who, and until when.
    """

    is_busy: bool = False
    calls: list[tuple[float, str]] = field(default_factory=list)
    told: list[tuple[float, str, float]] = field(default_factory=list)

    async def serve(self, request: Request, writer: asyncio.StreamWriter) -> None:
        now, caller = time.time(), request.headers["x-caller"]
        self.calls.append((now, caller))
        if not self.is_busy:
            writer.write(reply(b"{}"))
        else:
            # A date has no fractions: what it tells is up to a second less.
            until = now + WAIT_S if len(self.told) % 2 else float(int(now) + WAIT_S)
            self.told.append((now, caller, until))
            date = formatdate(until, usegmt=True)
            after = str(WAIT_S) if len(self.told) % 2 == 0 else date
            writer.write(reply(b"{}", "429 Too Many Requests", retry_after=after))
        await writer.drain()

    def rate(self, start: float, end: float) -> float:
        return sum(start <= at < end for at, _ in self.calls) / (end - start)


@dataclass(frozen=True)
class Storm:
    """What a provider saw, and when it became busy and the last wait was over."""

    provider: Provider
    began: float
    ended: float


async def _storm(url: str) -> Storm:
    """Two processes call, are told to wait, and go on."""
    provider = Provider()
    async with RawServer({"*": provider.serve}) as server, AsyncExitStack() as stack:
        processes = [
            CallingProcess(url, server.address, name, breaker_timeout_s=300.0, rate=RATE)
            for name in ("a", "b")
        ]
        for process in processes:
            await stack.enter_async_context(process.started())
        await asyncio.gather(*(process.ready() for process in processes))
        for process in processes:
            process.begin()
        while len({caller for _, caller in provider.calls}) < len(processes):
            await asyncio.sleep(0.05)
        # The burst that a full bucket allows is over after a second.
        await asyncio.sleep(1.0 + BEFORE_S)
        began = time.time()
        provider.is_busy = True
        while not provider.told:
            await asyncio.sleep(0.01)
        # Whatever was under way complains too; then it is over.
        await asyncio.sleep(0.5)
        provider.is_busy = False
        ended = max(until for _, _, until in provider.told)
        await asyncio.sleep(ended + AFTER_S - time.time())
        await asyncio.gather(*(process.end() for process in processes))
    return Storm(provider, began, ended)


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Storm:
    url = sqlite_url(tmp_path_factory.mktemp("pace"))
    open_at(url).close()
    return asyncio.run(_storm(url))


def test_whoever_was_told_waits_and_the_other_process_hears_of_it(storm: Storm) -> None:
    early = []
    for told_at, told, until in storm.provider.told:
        for at, caller in storm.provider.calls:
            excused_s = IN_FLIGHT_S if caller == told else TOLD_TO_OTHERS_S
            if told_at + excused_s < at < until:
                early.append((caller == told, at - told_at))
    assert storm.provider.told
    assert early == []


def test_the_pace_is_halved_once_and_grows_back(storm: Storm) -> None:
    began, ended, rate = storm.began, storm.ended, storm.provider.rate
    before = rate(began - BEFORE_S, began)
    after = [rate(ended + start, ended + start + 4.0) for start in range(2, 18, 4)]
    print(f"calls a second: {before:.1f} before, then {', '.join(f'{one:.1f}' for one in after)}")
    assert before > 0.8 * RATE
    assert after[0] < 0.75 * before, "it goes on as if nothing had been said"
    assert after[-1] > 0.7 * before, "it does not come back"
    assert max(after) <= 1.1 * RATE
