"""Without any network nothing is burnt: no round, no wrong verdict, one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.processes import pipeline, write_list

# No such name exists anywhere, so that this machine's own network does not matter.
NO_NETWORK = {"PIPELINE_FETCH__CONTROL_NAMES": "no-such-name.invalid"}


def test_every_domain_waits_for_the_network(tmp_path: Path) -> None:
    source = write_list(tmp_path / "list.csv", [f"company-{n}.example" for n in range(60)])
    done = pipeline("run", str(source), "--json", home=tmp_path / "home", **NO_NETWORK)
    assert done.code == 1
    assert "Traceback" not in done.err + done.out
    for phase in ("COMPANY_ENRICHMENT", "PAGE_SCRAPING"):
        found = done.json["phases"][phase]
        assert found["waiting"] == 60
        assert found["kinds"] == {"local_network": 60}
    with sqlite3.connect(tmp_path / "home" / "ledger.db") as ledger:
        assert ledger.execute("select max(rounds) from work").fetchone() == (0,)
    assert "network or DNS is down" in done.json["failures"][0]
