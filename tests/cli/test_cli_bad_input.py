"""What cannot be used is refused: exit code 2, one sentence, and nothing left half-done."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from .conftest import Pipeline

FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n  \n", "is empty"),
    "header_only": (b"domain,company_name\n", "no rows below"),
    "binary": (bytes(range(256)) * 40, "binary"),
    "workbook": (b"PK\x03\x04" + bytes(900), "Excel"),
    "no_column": (b"name,city\nAcme,Berlin\nBeta,Paris\n", "--column"),
    "long_line": (b"domain\n" + b"a" * 10_000_000 + b"\n", "characters"),
    "nothing_usable": (b"domain\nnot a domain\n192.168.0.1\n", "no usable domain"),
}
COMMANDS = (["run", "{}"], ["run", "{}", "--sandbox"], ["run", "{}", "--dry-run"])


def _is_untouched(home: Path) -> bool:
    """Whether nothing was begun: no list was taken in, no run was made."""
    return not (home / "store").exists() and not (home / "history").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_list_is_refused(
    pipeline: Pipeline, tmp_path: Path, home: Path, name: str
) -> None:
    content, expected = FILES[name]
    file = tmp_path / f"{name}.csv"
    file.write_bytes(content)
    sentence = pipeline("run", file).sentence
    assert expected in sentence
    assert file.name in sentence
    assert _is_untouched(home)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_file_and_a_folder_are_refused(
    pipeline: Pipeline, tmp_path: Path, home: Path, command: list[str]
) -> None:
    for path in (tmp_path / "gone.csv", tmp_path):
        answer = pipeline(*(part.format(path) for part in command))
        assert str(path) in answer.sentence
        assert _is_untouched(home)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--column", "nothing"], "nothing"),
        (["--wait", "soon"], "--wait"),
        (["--only", "EVERYTHING"], "PAGE_SCRAPING"),
        (["--faults", "mild"], "--sandbox"),
        (["--sandbox-url", "ftp://x"], "--sandbox-url"),
        (["--sandbox-url", "http://127.0.0.1:99999"], "--sandbox-url"),
        (["--sandbox-url", "http://[::1"], "--sandbox-url"),
        (["--sandbox-url", "http://a b\x01:80"], "--sandbox-url"),
        (["--batch-size", "0"], "PIPELINE_BATCH_SIZE"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_option_that_makes_no_sense_is_refused(
    pipeline: Pipeline, tmp_path: Path, home: Path, options: list[str], expected: str
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("domain\nacme.example\n")
    assert expected in pipeline("run", file, *options).sentence
    assert _is_untouched(home)


def test_a_sandbox_that_does_not_answer_is_named(
    pipeline: Pipeline, tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("domain\nacme.example\n")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing answers there
        port = unused.getsockname()[1]
        sentence = pipeline("run", file, "--sandbox-url", f"http://127.0.0.1:{port}").sentence
    assert f"Nothing answers as a sandbox at http://127.0.0.1:{port}" in sentence
    assert f"pipeline sandbox --port {port}" in sentence
    assert _is_untouched(home)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("PIPELINE_BATCH_SIZE", "many"),
        ("PIPELINE_MAX_ROUNDS", "0"),
        ("PIPELINE_FETCH__CONNECT_TO", "nowhere"),
        ("PIPELINE_FETCH__ALLOW_NETWORKS", "10.0.0.0/99"),
        ("PIPELINE_BATCHSIZE", "5"),
        ("PIPELINE_FETCH__CONECT_TO", "127.0.0.1:1"),
    ],
)
def test_a_wrong_or_unknown_setting_is_named(
    pipeline: Pipeline, home: Path, setting: str, value: str
) -> None:
    assert setting in pipeline("status", env={setting: value}).sentence
    assert not home.exists()


def test_a_run_with_a_wrong_setting_begins_nothing(
    pipeline: Pipeline, tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("domain\nacme.example\n")
    for options in ([], ["--sandbox"]):
        answer = pipeline("run", file, *options, env={"PIPELINE_LEASE": "-1"})
        assert "PIPELINE_LEASE" in answer.sentence
        assert not home.exists()


def test_a_settings_file_that_cannot_be_read_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    for content in ("batch_size = [", "batch_sise = 5"):
        toml = tmp_path / "pipeline.toml"
        toml.write_text(content)
        answer = pipeline("status", env={"PIPELINE_CONFIG": str(toml)})
        assert "pipeline.toml" in answer.sentence or "BATCH_SISE" in answer.sentence


@pytest.mark.parametrize("sandbox", [[], ["--sandbox"]], ids=["live", "sandbox"])
def test_a_home_that_cannot_be_written_is_named(
    pipeline: Pipeline, tmp_path: Path, sandbox: list[str]
) -> None:
    file, blocker = tmp_path / "list.csv", tmp_path / "blocker"
    file.write_text("domain\nacme.example\n")
    blocker.touch()
    home = blocker / "home"
    assert "PIPELINE_HOME" in pipeline("run", file, *sandbox, home=home).sentence
    assert pipeline("status", *sandbox, home=home).sentence
    assert blocker.is_file()


def test_a_home_whose_ledger_is_no_database_is_named(pipeline: Pipeline, home: Path) -> None:
    home.mkdir()
    (home / "ledger.db").write_bytes(b"this is no database, but some text" * 50)
    for command in (["status"], ["why", "acme.example"], ["export", "x.csv"]):
        assert "ledger.db" in pipeline(*command).sentence
