"""Lists in every form go the whole way: counted, worked on, and joined to their results."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.workbooks import workbook

from .conftest import Pipeline

COLUMNS = ["Website", "Firma", "Land"]
ROWS = [
    ["https://www.acme.example/", "Acme GmbH", "DE"],
    ["beta.example", "Müller & Söhne", "AT"],
    ["no domain", "Nobody", "DE"],
    ["www.acme.example", "Acme AG", "DE"],
]
TEXT = "\n".join(";".join(row) for row in [COLUMNS, *ROWS])


def _parquet(path: Path) -> None:
    columns = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table({**columns, "tags": [["a"]] * len(ROWS)}), path)


def _xlsx(path: Path) -> None:
    workbook(path, {"Notes": [["of the year"]], "Firmen": [COLUMNS, *ROWS]})


FORMS: dict[str, Callable[[Path], object]] = {
    "utf-16": lambda path: path.write_bytes(TEXT.encode("utf-16")),
    "unmarked utf-16": lambda path: path.write_bytes(TEXT.encode("utf-16-le")),
    "gzip": lambda path: path.write_bytes(gzip.compress(TEXT.encode())),
    "parquet": _parquet,
    "xlsx": _xlsx,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_in_any_form_is_counted(pipeline: Pipeline, tmp_path: Path, form: str) -> None:
    path = tmp_path / "list.csv"
    FORMS[form](path)
    answer = pipeline("run", path, "--dry-run", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["domains"] == 2


def test_a_workbook_is_worked_on_and_joined_to_its_results(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    listed = tmp_path / "firmen.xlsx"
    _xlsx(listed)
    answer = pipeline("run", listed, "--sandbox", "--json")
    assert answer.code == 0, answer.err
    told = answer.json
    assert told["list"] == "firmen"
    assert (told["rows"], told["domains"]) == (
        4,
        {"accepted": 2, "duplicates": 1, "rejected": 1},
    )
    for form in ("xlsx", "parquet", "gzip"):
        path, joined = tmp_path / f"again-{form}", tmp_path / "joined.csv"
        FORMS[form](path)
        assert pipeline("export", joined, "--join", path, "--sandbox").code == 0
        with joined.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [[row[name] for name in COLUMNS] for row in rows] == ROWS
        assert [row["pipeline_domain"] for row in rows] == [
            "acme.example",
            "beta.example",
            "",
            "acme.example",
        ]
        # The sandbox's companies are those of the list, whatever its form.
        assert rows[1]["name"] == "Müller & Söhne"
    listed.unlink()
    workbook(listed, {"Neu": [["domain"], ["gamma.example"], ["beta.example"]]})
    estimate = pipeline("run", listed, "--sandbox", "--dry-run", "--json")
    assert estimate.json["domains"] == 3  # two of them from the earlier file
