"""The phase COMPANY_ENRICHMENT: asks an ordered chain of providers about one company.

Which provider comes next, and when a domain is done, is decided in `provider_chain`; whether an
offered company is ours, in `match`. This file connects them and writes down what was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from resources.core.errors import CallError, Failure
from resources.core.match import choose
from resources.core.models import CompanyQuery, DomainTask, Phase, RawAnswer, Settled
from resources.core.ports import Provider
from resources.core.profile_json import fact_to_json
from resources.core.provider_chain import (
    AnswerState,
    Ask,
    ChainLink,
    Failed,
    Finished,
    Matched,
    MustWait,
    NoMatch,
    next_step,
)

CODE_VERSION = "1"


class Gateway(Protocol):
    """The way to one provider, with everything around a call."""

    @property
    def provider(self) -> Provider: ...

    async def answer(self, query: CompanyQuery) -> RawAnswer | Failure: ...

    async def close(self) -> None: ...


class Enrichment:
    """Enriches one company per attempt. One instance serves all domains of a run.

    Args:
        chain: Providers in their order.
        gateways: By provider name; one for each link.
        wanted_fields: Once these are filled no further provider is asked; empty for "ask all".
        concurrency: Domains in hand at a time; enough to fill bulk calls.
    """

    phase = Phase.COMPANY_ENRICHMENT

    def __init__(
        self,
        chain: Sequence[ChainLink],
        gateways: Mapping[str, Gateway],
        wanted_fields: frozenset[str],
        concurrency: int,
    ) -> None:
        self._chain = tuple(chain)
        self._gateways = gateways
        self._wanted_fields = wanted_fields
        self.concurrency = concurrency

    async def attempt(self, task: DomainTask) -> Settled | Failure:
        """Ask as many providers as are needed."""
        answers: dict[str, AnswerState] = {}
        story: list[dict[str, Any]] = []
        while True:
            match next_step(self._chain, answers, self._wanted_fields):
                case Ask(name):
                    answers[name], entry = await self._ask(name, task.query)
                    story.append(entry)
                case MustWait(failure):
                    return failure
                case Finished(state, noted):
                    return _settled(state, story, noted)

    async def close(self) -> None:
        """Close all gateways at once, so that none sends while another waits for its last calls."""
        await asyncio.gather(*(gateway.close() for gateway in self._gateways.values()))

    async def _ask(self, name: str, query: CompanyQuery) -> tuple[AnswerState, dict[str, Any]]:
        gateway = self._gateways[name]
        raw = await gateway.answer(query)
        if isinstance(raw, Failure):
            return Failed(raw), {"provider": name, "verdict": "failed", "kind": raw.kind}
        entry: dict[str, Any] = {
            "provider": name,
            "url": raw.url,
            "at": raw.at,
            "credits": raw.credits,
        }
        try:
            candidates = gateway.provider.read(query, raw)
        except CallError as error:
            return Failed(error.failure), entry | {"verdict": "failed", "kind": error.failure.kind}
        best, judged = choose(query, candidates)
        entry["candidates"] = [
            {
                "id": match.candidate.record_id,
                "names": list(match.candidate.names[:5]),
                "is_accepted": match.accepted,
                "score": match.score,
                "reasons": list(match.reasons),
            }
            for match in judged
        ]
        if best is None:
            return NoMatch(), entry | {"verdict": "no_match"}
        facts = best.candidate.facts
        return Matched(facts), entry | {
            "verdict": "match",
            "facts": [fact_to_json(fact) for fact in facts],
        }


def _settled(state: Any, story: Sequence[dict[str, Any]], noted: Sequence[Failure]) -> Settled:
    payload = {
        "providers": list(story),
        "noted": [
            {"provider": failure.provider, "kind": failure.kind, "message": failure.message}
            for failure in noted
        ],
    }
    return Settled(state, payload=orjson.dumps(payload, option=orjson.OPT_SORT_KEYS))
