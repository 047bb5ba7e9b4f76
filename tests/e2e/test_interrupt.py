"""Ctrl-C in the middle of a run: it stops, keeps what is finished, and says how to go on."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.test_kill import wait_until_settled
from tests.support.processes import pipeline, sandbox, started_pipeline, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(150)]
# Most pages come late, so that the run is in the middle of its work when it is stopped.
SLOW = '[[fault]]\nkind = "latency"\nseconds = 0.3\n'


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_what_is_finished(tmp_path: Path, signal_number: int) -> None:
    source = write_list(tmp_path / "list.csv", DOMAINS)
    home = tmp_path / "home"
    with sandbox() as internet:
        internet.set_faults(SLOW)
        arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
        with started_pipeline(*arguments, home=home) as process:
            wait_until_settled(process, home, "COMPANY_ENRICHMENT", 20)
            os.kill(process.pid, signal_number)
            _, said = process.communicate(timeout=15)
        assert process.returncode == 130
        assert "Everything finished so far is kept" in said
        assert "--sandbox-url" in said
        assert "Traceback" not in said
        with sqlite3.connect(home / "sandbox" / "ledger.db") as ledger:
            held = "select count(*) from work where claimed_by is not null"
            assert ledger.execute(held).fetchone() == (0,)
            assert ledger.execute("select max(deaths), max(rounds) from work").fetchone() == (0, 0)
            # What a person wanted so is not started again by itself; what a shutdown ended is.
            told = "interrupted" if signal_number == signal.SIGINT else "terminated"
            newest = "select end_reason from workers order by started_at desc limit 1"
            assert ledger.execute(newest).fetchone() == (told,)
        internet.set_faults("preset=none")
        assert pipeline(*arguments, home=home).code == 0
