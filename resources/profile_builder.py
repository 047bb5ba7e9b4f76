"""PROFILE_BUILD: joins what the two fetching phases settled into one profile per company.

Built from what is settled; what is missing is said, and the batch is built again when more has
settled (`is_stale`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.work_queries import StoredResult
from resources.adapters.store import Store
from resources.artifact_writer import ASSET_OF, ArtifactWriter, Written
from resources.core.extract import from_json
from resources.core.models import FETCHING, CompanyProfile, Fact, Phase, State
from resources.core.ports import Clock
from resources.core.profile import merge
from resources.core.profile_json import COLUMNS, fact_from_json, flat_row, to_json
from resources.core.site_facts import site_facts
from resources.core.tallies import Tally

INPUTS = FETCHING
CODE_VERSION = "1"
LIST_CONFIDENCE = 0.5
ASSET = ASSET_OF[Phase.PROFILE_BUILD]
_TYPES = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64()}
SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("state", pa.string()),
        ("missing", pa.string()),
        *((column.name, _TYPES[column.type]) for column in COLUMNS if column.name != "domain"),
        ("evidence", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class BuiltProfiles:
    """A batch's profiles.

    Args:
        written: The artifact.
        states: Domains by state.
        missing: Unsettled domains by input phase.
    """

    written: Written
    states: Mapping[State, int]
    missing: Mapping[Phase, int]


class ProfileBuilder:
    """Builds the profiles of batches."""

    def __init__(self, ledger: Ledger, store: Store, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock

    def stale(self, batch_keys: Sequence[str]) -> list[str]:
        """Those batches whose profiles are missing, or older than what has settled since."""
        return list(self.stale_fingerprints(batch_keys))

    def stale_fingerprints(self, batch_keys: Sequence[str]) -> dict[str, str]:
        """The same, in order, each with what it would be built from."""
        if not batch_keys:
            return {}
        tallies = {phase: self._ledger.work.tallies(phase, batch_keys) for phase in INPUTS}
        built = self._ledger.artifacts.of_asset(ASSET)
        found = {}
        for key in batch_keys:
            if not any(tallies[phase][key].settled for phase in INPUTS):
                continue
            fingerprint = _fingerprint(tallies, key)
            is_current = (
                key in built
                and built[key].fingerprint == fingerprint
                and self._store.exists(built[key].path)
            )
            if not is_current:
                found[key] = fingerprint
        return found

    def build(self, batch_key: str) -> BuiltProfiles:
        """Build and write the profiles of one batch, from what is settled when they are written."""
        while True:
            built = self._build(batch_key)
            if built is not None:
                return built

    def _build(self, batch_key: str) -> BuiltProfiles | None:
        """Do it once. Returns None when something has settled meanwhile; nothing was written."""
        tallies = self._tallies(batch_key)
        members = self._ledger.lists.manifest(batch_key)
        enriched = _by_domain(self._ledger.work.results(Phase.COMPANY_ENRICHMENT, batch_key))
        scraped = _by_domain(self._ledger.work.results(Phase.PAGE_SCRAPING, batch_key))
        rows = []
        states: dict[str, tuple[State, str | None]] = {}
        for member in members:
            domain = str(member["domain"])
            inputs = {
                Phase.COMPANY_ENRICHMENT: enriched[domain],
                Phase.PAGE_SCRAPING: scraped[domain],
            }
            profile, state = _profile(member, inputs)
            states[domain] = (state, "; ".join(profile.missing.values()) or None)
            rows.append(_row(profile, state))
        fingerprint = _fingerprint(tallies, batch_key)

        def record() -> bool:
            if fingerprint != _fingerprint(self._tallies(batch_key), batch_key):
                return False
            self._ledger.work.record_profiles(states, self._clock.now())
            return True

        written = ArtifactWriter(self._ledger, self._store, self._clock).write(
            ASSET, batch_key, rows, SCHEMA, fingerprint, record
        )
        if written is None:
            return None
        counts: dict[State, int] = {}
        for state, _ in states.values():
            counts[state] = counts.get(state, 0) + 1
        missing = {phase: tallies[phase][batch_key].unsettled for phase in INPUTS}
        return BuiltProfiles(written, counts, missing)

    def _tallies(self, batch_key: str) -> dict[Phase, dict[str, Tally]]:
        return {phase: self._ledger.work.tallies(phase, [batch_key]) for phase in INPUTS}


def _fingerprint(tallies: Mapping[Phase, Mapping[str, Tally]], key: str) -> str:
    parts = [tallies[phase][key].fingerprint for phase in INPUTS]
    return "/".join([CODE_VERSION, *parts])


def _by_domain(results: Sequence[StoredResult]) -> dict[str, StoredResult]:
    return {result.domain: result for result in results}


def _profile(
    member: Mapping[str, Any], inputs: Mapping[Phase, StoredResult]
) -> tuple[CompanyProfile, State]:
    """One domain's profile and where it stands."""
    found = [
        *_provider_facts(inputs[Phase.COMPANY_ENRICHMENT]),
        *_page_facts(inputs[Phase.PAGE_SCRAPING]),
    ]
    missing = {
        phase.value: sentence
        for phase, result in inputs.items()
        if (sentence := _missing_sentence(phase, result)) is not None
    }
    # A hint from the list alone makes no profile: nobody has confirmed it.
    facts = [*found, *_list_facts(member)] if found else []
    profile = merge(str(member["domain"]), facts, missing)
    if any(not result.state.is_settled for result in inputs.values()):
        return profile, State.WAITING
    return profile, State.SUCCEEDED if found else State.NOT_FOUND


def _missing_sentence(phase: Phase, result: StoredResult) -> str | None:
    if result.payload is not None and result.state is State.SUCCEEDED:
        return None
    what = {Phase.COMPANY_ENRICHMENT: "provider data", Phase.PAGE_SCRAPING: "site data"}[phase]
    if result.state is State.NOT_FOUND and phase is Phase.COMPANY_ENRICHMENT:
        return f"no {what}: no provider knows this company"
    why = result.reason or result.state.value
    return f"no {what} ({result.kind or result.state}): {why}"


def _provider_facts(result: StoredResult) -> list[Fact]:
    if result.payload is None:
        return []
    providers = orjson.loads(result.payload)["providers"]
    return [fact_from_json(fact) for p in providers for fact in p.get("facts", ())]


def _page_facts(result: StoredResult) -> list[Fact]:
    if result.payload is None:
        return []
    entries = orjson.loads(result.payload)["pages"]
    pages = [from_json(entry["page"]) for entry in entries]
    at_by_url = {e["page"]["url"]: e["fetched_at"] for e in entries}
    return list(site_facts(result.domain, pages, at_by_url))


def _list_facts(member: Mapping[str, Any]) -> list[Fact]:
    values = (("name", member["name"]), ("country", member["country"]))
    return [
        Fact(name, value, "list", f"line {member['line']}", 0.0, LIST_CONFIDENCE)
        for name, value in values
        if value
    ]


def _row(profile: CompanyProfile, state: State) -> dict[str, Any]:
    return {
        "state": state.value,
        "missing": "; ".join(profile.missing.values()) or None,
        **flat_row(profile),
        "evidence": orjson.dumps(to_json(profile), option=orjson.OPT_SORT_KEYS).decode(),
    }
