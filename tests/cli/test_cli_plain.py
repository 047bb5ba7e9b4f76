"""Commands that need no list: --help, normalize, extract, doctor."""

from __future__ import annotations

import gzip
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, Pipeline

PAGE = (
    '<html lang="de"><head><title>Grün GmbH</title></head><body><p>Tel: +49 30 1234567, '
    'info@gruen.example, <a href="/kontakt">Kontakt</a></p></body></html>'
)
COMMANDS = "run status failures why retry export normalize extract sandbox doctor ui".split()
HEAVY = ("dagster", "pandas", "sqlalchemy", "pyarrow", "aiohttp", "httpx", "alembic")


# -- help and start -----------------------------------------------------------------------------


def test_help_names_every_command(pipeline: Pipeline) -> None:
    answer = pipeline("--help")
    assert answer.code == 0
    assert all(f" {command} " in answer.out for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "sandbox"])
def test_each_command_explains_itself(pipeline: Pipeline, command: str) -> None:
    answer = pipeline(command, "--help")
    assert answer.code == 0
    assert "--help" in answer.out


@pytest.mark.parametrize("arguments", [["--help"], ["normalize", "acme.com"], ["run", "--help"]])
def test_what_must_answer_at_once_imports_nothing_heavy(
    pipeline: Pipeline, arguments: list[str]
) -> None:
    answer = pipeline(*arguments, program=[sys.executable, "-X", "importtime", COMMAND])
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert answer.code == 0
    assert "typer" in imported
    assert not imported & set(HEAVY)


# -- normalize ----------------------------------------------------------------------------------


def test_normalize_prints_a_domain_or_a_reason_for_each_argument(pipeline: Pipeline) -> None:
    answer = pipeline("normalize", "https://www.BBC.co.uk/news", "foo bar", "Müller.de")
    assert answer.code == 0
    first, second, third = answer.out.splitlines()
    assert first == "https://www.BBC.co.uk/news\tbbc.co.uk"
    assert second.startswith("foo bar\t-\tnot_a_domain: ")
    assert third == "Müller.de\txn--mller-kva.de"


def test_normalize_reads_lines_whatever_their_ends_and_encoding(pipeline: Pipeline) -> None:
    stdin = b"\xef\xbb\xbfacme.com\r\n\nM\xfcller.de\nlast.org"
    answer = pipeline("normalize", "--json", stdin=stdin)
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["input"] for row in rows] == ["acme.com", "", "Müller.de", "last.org"]
    assert [row.get("domain") for row in rows] == ["acme.com", None, "xn--mller-kva.de", "last.org"]
    assert rows[1]["reason"] == "empty"


def test_normalize_lets_no_control_character_through_and_bears_a_line_of_10_mb(
    pipeline: Pipeline,
) -> None:
    stdin = b"\x1b[31macme\tcom\n" + b"x" * 10_000_000 + b"\nlast.org\n"
    answer = pipeline("normalize", stdin=stdin)
    lines = answer.out.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in answer.out
    assert lines[0].split("\t")[1:] == ["-", "control_characters: has the character U+001B in it"]
    assert "too_long" in lines[1]
    assert lines[2] == "last.org\tlast.org"


# -- extract ------------------------------------------------------------------------------------


def test_extract_prints_one_object_for_each_file_packed_or_not(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "ü.html", tmp_path / "page.html.gz"
    plain.write_text(PAGE, encoding="utf-8")
    packed.write_bytes(gzip.compress(PAGE.encode()))
    url = "https://gruen.example/"
    answer = pipeline("extract", plain, packed, "-", "--url", url, stdin=PAGE.encode())
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert [row["file"] for row in rows] == [str(plain), str(packed), "-"]
    for row in rows:
        assert {**row, "file": ""} == {**rows[0], "file": ""}
    assert rows[0]["url"] == url
    assert rows[0]["title"] == "Grün GmbH"
    assert rows[0]["emails"] == ["info@gruen.example"]
    assert rows[0]["phones"][0]["e164"] == "+49301234567"
    assert rows[0]["links"][0]["url"] == "https://gruen.example/kontakt"


def test_extract_names_each_file_it_cannot_read_and_does_the_others(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    good, broken = tmp_path / "good.html", tmp_path / "broken.gz"
    good.write_text(PAGE, encoding="utf-8")
    broken.write_bytes(gzip.compress(PAGE.encode() * 50)[:-20])
    answer = pipeline("extract", tmp_path / "missing.html", tmp_path, broken, good)
    assert answer.code == 2
    assert len(answer.out.splitlines()) == 1
    missing, folder, cut = answer.err.splitlines()
    assert "missing.html does not exist" in missing
    assert "is a folder" in folder
    assert "broken.gz is no whole gzip file" in cut


def test_extract_bears_what_is_no_page(pipeline: Pipeline, tmp_path: Path) -> None:
    bomb, empty = tmp_path / "bomb.gz", tmp_path / "empty.html"
    bomb.write_bytes(gzip.compress(bytes(200_000_000), 9))
    empty.touch()
    answer = pipeline("extract", bomb, empty)
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 2
    assert "no web address" in pipeline("extract", empty, "--url", "gruen").sentence


# -- doctor -------------------------------------------------------------------------------------


def _levels(told: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in told["checks"]:
        found.setdefault(check["name"], []).append(check["level"])
    return found


def test_doctor_finds_nothing_wrong_here_and_changes_nothing(
    pipeline: Pipeline, home: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {"PIPELINE_FETCH__CONNECT_TO": f"127.0.0.1:{server.getsockname()[1]}"}
        answer = pipeline("doctor", "--json", env=env)
    levels = _levels(answer.json)
    assert answer.code == 0, answer.out
    for name in ("python", "packages", "dagster", "home", "ledger", "clock", "network"):
        assert levels[name] == ["ok"], answer.out
    assert levels["doors"] == ["warn"]
    assert not home.exists()


def test_doctor_says_what_to_do_about_what_is_wrong(pipeline: Pipeline, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing answers there
        env = {
            "PIPELINE_FETCH__CONNECT_TO": f"127.0.0.1:{unused.getsockname()[1]}",
            "PIPELINE_FETCH__ALLOW_NETWORKS": "127.0.0.0/8",
            "PIPELINE_CHAIN": "pdl,wikidata",
            "PIPELINE_PROVIDERS__PDL__API_KEY": "very-secret-key",
            "PIPELINE_DATABASE_URL": "postgresql+psycopg2://me:hunter2-pw@127.0.0.1:1/x",
            "DAGSTER_HOME": str(tmp_path),
        }
        (tmp_path / "file").touch()
        answer = pipeline("doctor", "--json", home=tmp_path / "file" / "home", env=env)
        told = pipeline("doctor", home=tmp_path / "file" / "home", env=env)
    levels = _levels(answer.json)
    assert (answer.code, told.code) == (1, 1)
    assert levels["home"] == levels["ledger"] == levels["network"] == ["fail"]
    assert levels["providers"] == ["ok"]
    assert levels["key"] == ["ok"]
    assert levels["dagster"] == ["warn"]
    assert answer.json["failed"] == 3
    for text in (answer.out, told.out):
        assert "very-secret-key" not in text
        assert "hunter2-pw" not in text


def test_a_chain_with_an_unknown_provider_is_refused_at_start(pipeline: Pipeline) -> None:
    answer = pipeline("doctor", "--json", env={"PIPELINE_CHAIN": "rdap,nobody"})
    assert _levels(answer.json)["settings"] == ["fail"]
    assert "PIPELINE_CHAIN" in answer.out
    assert "'nobody' is no provider" in answer.out


def test_doctor_tells_which_internet_a_ledger_holds(
    pipeline: Pipeline, tmp_path: Path, home: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("acme.example\n")
    pipeline("run", listed, "--sandbox", "--only", "PROFILE_BUILD")
    answer = pipeline("doctor", "--json", home=home / "sandbox")
    (ledger,) = [row for row in answer.json["checks"] if row["name"] == "ledger"]
    assert ledger["level"] == "fail"
    assert "connect_to" in ledger["found"]


def test_a_malformed_setting_is_a_line_of_doctor_and_not_its_end(pipeline: Pipeline) -> None:
    env = {"PIPELINE_BATCH_SIZE": "many", "PIPELINE_PROVIDERS__PDL__API_KEY": "very-secret-key"}
    answer = pipeline("doctor", "--json", env=env)
    assert answer.code == 1
    assert _levels(answer.json)["settings"] == ["fail"]
    assert "PIPELINE_BATCH_SIZE" in answer.out
    told = pipeline("doctor", "--settings", env=env)
    assert told.code == 1
    assert "PIPELINE_BATCH_SIZE = many" in told.out
    assert "very-secret-key" not in told.out


def test_doctor_lists_every_setting_with_its_meaning_and_masks_secrets(pipeline: Pipeline) -> None:
    env = {"PIPELINE_PROVIDERS__PDL__API_KEY": "very-secret-key", "PIPELINE_BATCH_SIZE": "7"}
    answer = pipeline("doctor", "--settings", "--json", env=env)
    rows = {row["variable"]: row for row in answer.json["settings"]}
    assert answer.code == 0
    assert (rows["PIPELINE_BATCH_SIZE"]["value"], rows["PIPELINE_BATCH_SIZE"]["default"]) == (
        "7",
        "50",
    )
    assert rows["PIPELINE_BATCH_SIZE"]["type"] == "integer, at least 1, at most 10000"
    assert rows["PIPELINE_PROVIDERS__PDL__API_KEY"]["value"] == "***"
    assert "PIPELINE_FETCH__CONNECT_TO" in rows
    assert all(row["description"] for row in rows.values())
    assert "very-secret-key" not in answer.out
