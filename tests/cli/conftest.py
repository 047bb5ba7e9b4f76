"""The real command, run as a process of its own with a home of its own; nothing is patched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("pipeline")
PATIENCE_S = 180

LIST = """\
Firma,domain,Land,Notiz,name
Acme GmbH,acme.example,DE,=1+1,Straße 1
Müller & Söhne,https://www.mueller.example/kontakt,DE,Größe: 5 µm,
Beta,beta.example,US,,
Beta Two,BETA.example,US,a second line of Beta,
Kaputt,not a domain,,[bold red]loud[/],
,192.168.0.1,,,
Gamma,gamma.example,FR,@SUM(A1),
Delta,delta.example,GB,"a, b",
Epsilon,epsilon.example,DE,,
Zeta,zeta.example,AT,,
Eta,eta.example,CH,,
Theta,theta.example,DE,"two
lines",
Iota,iota.example,DE,,
Kappa,kappa.example,DE,,
Lambda,lambda.example,DE,,
"""
ROWS, DOMAINS = 15, 12

# beta never answers, gamma declines, delta asks to wait for an hour.
FAULTS = """
[[fault]]
kind = "status"
api = "site"
host = "*beta.example"
status = 503

[[fault]]
kind = "status"
api = "site"
host = "*gamma.example"
status = 403

[[fault]]
kind = "status"
api = "site"
host = "*delta.example"
status = 429
retry_after = 3600
"""


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON object on the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def sentence(self) -> str:
        """The one line on stderr of a command that refused its input."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("pipeline: ")
        return lines[0]


Pipeline = Callable[..., Answer]


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIPELINE_") and name != "DAGSTER_HOME"
    }
    own = {"PIPELINE_HOME": str(home), "PIPELINE_CONFIG": str(home / "no-such.toml")}
    return {**kept, **own, "PYTHONIOENCODING": "utf-8", **more}


def run_pipeline(
    *arguments: str | Path,
    home: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    program: Sequence[str | Path] = (COMMAND,),
) -> Answer:
    """Run the command to its end."""
    done = subprocess.run(
        [*program, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(home, env or {}),
        timeout=PATIENCE_S,
        check=False,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
def pipeline(home: Path) -> Pipeline:
    """Runs `pipeline` on the test's own home."""

    def run(*arguments: str | Path, **options: Any) -> Answer:
        return run_pipeline(*arguments, **{"home": home, **options})

    return run


_answers: dict[tuple[str | Path, ...], Answer] = {}


@dataclass(frozen=True)
class Done:
    """A list that was run once, for tests that only read."""

    folder: Path
    list: Path
    answer: Answer

    def ask(self, *arguments: str | Path) -> Answer:
        """Run a command on the sandbox's results; one that only reads is run once."""
        known = _answers.get(arguments)
        if known is None or arguments[0] == "export":
            known = run_pipeline(*arguments, "--sandbox", home=self.folder / "home")
            _answers[arguments] = known
        return known


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The list above, run through the sandbox with its faults."""
    folder = tmp_path_factory.mktemp("done")
    listed, faults = folder / "companies.csv", folder / "faults.toml"
    listed.write_text(LIST, encoding="utf-8")
    faults.write_text(FAULTS, encoding="utf-8")
    answer = run_pipeline(
        "run",
        listed,
        "--sandbox",
        "--faults",
        faults,
        "--json",
        home=folder / "home",
        env={"PIPELINE_MAX_ROUNDS": "2", "PIPELINE_RETRY_BACKOFF_BASE": "0.2"},
    )
    assert answer.code == 1, (answer.out, answer.err)  # delta waits
    return Done(folder, listed, answer)
