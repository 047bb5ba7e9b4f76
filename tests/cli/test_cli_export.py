"""export: profiles alone, and a list's own rows with the profiles appended."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq

from .conftest import DOMAINS, ROWS, Done, Pipeline


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.reader(handle))


def _joined(done: Done, tmp_path: Path, source: Path) -> list[dict[str, str]]:
    output = tmp_path / "joined.csv"
    answer = done.ask("export", output, "--join", source)
    assert answer.code == 0, answer.err
    heading, *rows = _rows(output)
    return [dict(zip(heading, row, strict=True)) for row in rows]


def test_profiles_alone_are_one_row_for_each_domain_in_every_format(
    done: Done, tmp_path: Path
) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        told = done.ask("export", tmp_path / f"all.{suffix}", "--name", "companies", "--json")
        assert told.json["rows"] == DOMAINS
        assert sum(told.json["states"].values()) == DOMAINS
    assert (tmp_path / "all.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    heading, *rows = _rows(tmp_path / "all.csv")
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    objects = [json.loads(line) for line in lines]
    table = pq.read_table(tmp_path / "all.parquet").to_pylist()
    domains = [row[heading.index("domain")] for row in rows]
    assert domains == [one["domain"] for one in objects] == [one["domain"] for one in table]
    assert len(set(domains)) == DOMAINS
    assert objects[0]["evidence"]["fields"]["name"]["value"] == table[0]["name"]


def test_join_gives_every_row_back_in_its_order_with_all_columns(
    done: Done, tmp_path: Path
) -> None:
    output = tmp_path / "joined.csv"
    done.ask("export", output, "--join", done.list)
    original, joined = _rows(done.list), _rows(output)
    assert len(joined) == len(original) == ROWS + 1
    assert joined[0][:5] == original[0]
    for before, after in zip(original[1:], joined[1:], strict=True):
        assert [cell.removeprefix("'") for cell in after[:5]] == before
    assert joined[0][5:8] == ["pipeline_domain", "pipeline_state", "pipeline_reason"]
    assert len({len(row) for row in joined}) == 1


def test_join_tells_what_became_of_duplicates_rejected_and_waiting_rows(
    done: Done, tmp_path: Path
) -> None:
    rows = _joined(done, tmp_path, done.list)
    first, second = (row for row in rows if row["pipeline_domain"] == "beta.example")
    assert second["pipeline_state"] == "succeeded"
    assert {key: second[key] for key in list(second)[5:]} == {
        key: first[key] for key in list(first)[5:]
    }
    rejected = [row for row in rows if row["pipeline_state"] == "rejected"]
    assert [row["Firma"] for row in rejected] == ["Kaputt", ""]
    assert rejected[1]["pipeline_reason"].startswith("ip_address")
    waiting = next(row for row in rows if row["Firma"] == "Delta")
    assert waiting["pipeline_state"] == "waiting"
    assert "rate_limited" in waiting["pipeline_reason"]


def test_join_prefixes_a_profile_column_only_where_its_name_is_taken(
    done: Done, tmp_path: Path
) -> None:
    (acme, *_) = _joined(done, tmp_path, done.list)
    assert acme["name"] == "Straße 1"
    assert acme["pipeline_name"]
    assert "legal_name" in acme
    assert "pipeline_legal_name" not in acme


def test_join_makes_formulas_harmless_and_keeps_umlauts_whole(done: Done, tmp_path: Path) -> None:
    acme, mueller, *_ = rows = _joined(done, tmp_path, done.list)
    assert acme["Notiz"] == "'=1+1"
    assert mueller["Firma"] == "Müller & Söhne"
    assert mueller["Notiz"] == "Größe: 5 µm"
    assert "'@SUM(A1)" in {row["Notiz"] for row in rows}
    assert "two\nlines" in {row["Notiz"] for row in rows}


def test_join_reads_other_encodings_other_columns_and_domains_it_does_not_know(
    done: Done, tmp_path: Path
) -> None:
    source = tmp_path / "latin.csv"
    text = (
        "Straße;Seite;domain\nGrün;acme.example;x\nBlau;www.neu.example;y\nRot;acme.example;z;zu\n"
    )
    source.write_bytes(text.encode("latin-1"))
    output = tmp_path / "out.csv"
    answer = done.ask("export", output, "--join", source, "--column", "Seite", "--json")
    assert answer.json["states"] == {"succeeded": 2, "not_listed": 1}
    heading, *rows = _rows(output)
    assert heading[:4] == ["Straße", "Seite", "domain", "column_4"]
    assert [row[0] for row in rows] == ["Grün", "Blau", "Rot"]
    assert rows[2][:4] == ["Rot", "acme.example", "z", "zu"]


def test_join_of_a_plain_text_without_a_heading_works_in_every_format(
    done: Done, tmp_path: Path
) -> None:
    source = tmp_path / "plain.txt"
    source.write_text("acme.example\n# a remark\nhttp://eta.example\n", encoding="utf-8")
    for suffix in ("csv", "parquet", "jsonl"):
        answer = done.ask("export", tmp_path / f"o.{suffix}", "--join", source, "--json")
        assert answer.json["states"] == {"succeeded": 2}
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.column("pipeline_domain").to_pylist() == ["acme.example", "eta.example"]


def test_export_refuses_what_it_cannot_write_and_leaves_nothing_behind(
    done: Done, tmp_path: Path
) -> None:
    assert ".csv" in done.ask("export", tmp_path / "x.xlsx").sentence
    assert "no folder" in done.ask("export", tmp_path / "nowhere" / "x.csv").sentence
    (tmp_path / "d.csv").mkdir()
    assert "is a folder" in done.ask("export", tmp_path / "d.csv").sentence
    output = tmp_path / "kept.csv"
    output.write_text("as it was")
    missing = done.ask("export", output, "--join", tmp_path / "missing.csv")
    assert "does not exist" in missing.sentence
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"PK\x03\x04" + bytes(500))
    assert "Excel" in done.ask("export", output, "--join", binary).sentence
    assert "itself" in done.ask("export", done.list, "--join", done.list).sentence
    assert "--join" in done.ask("export", output, "--column", "x").sentence
    assert output.read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["binary.csv", "d.csv", "kept.csv"]


def test_export_of_an_unknown_list_names_the_known_ones(done: Done, tmp_path: Path) -> None:
    assert "companies" in done.ask("export", tmp_path / "x.csv", "--name", "none").sentence


def test_a_wrong_ending_is_refused_before_the_home_is_looked_at(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    assert ".jsonl" in pipeline("export", tmp_path / "x").sentence
