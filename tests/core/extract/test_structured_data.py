"""Structured data as others annotated it: every case that has both a page and what is in it.

The annotations are extruct's. Compared are types and names without their vocabulary, since pages
are read that way, and a single value is the same as a list of one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from resources.core.extract import extract_page
from resources.core.extract.organisation_types import short_type

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "structured_data"
URL = "http://www.example.com/index.html"
VOCABULARIES = ("http://schema.org/", "http://open.vocab.org/terms/")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="annotated structured data (../shared/data) is not here"
)


def expected(page: Path) -> Any:
    """Return what the page's annotation says, or None when it has none."""
    for ending in (".jsonld", ".json", ".expanded.json"):
        file = page.with_name(page.name.removesuffix(".html") + ending)
        if file.exists():
            return json.loads(file.read_text())
    return None


def cases(kind: str) -> list[Any]:
    found = []
    for page in sorted(DATA.rglob("*.html")):
        wanted = expected(page)
        if wanted is not None and kind in kinds_of(wanted):
            found.append(pytest.param(page, wanted, id=page.name))
    return found or [pytest.param(None, None, id="none")]


def kinds_of(wanted: Any) -> set[str]:
    if isinstance(wanted, dict):
        return {"jsonld", "microdata"} if "microdata" in wanted else {"jsonld"}
    text = json.dumps(wanted)
    if '"namespace"' in text:
        return {"opengraph"}
    if "ns/rdfa#" in text:
        return {"rdfa"}
    if '"@value"' in text:
        return {"opengraph expanded"}
    return {"microdata" if '"properties"' in text else "jsonld"}


def plain(value: Any) -> Any:
    """Return a value in one form, whichever syntax and annotation it comes from."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return " ".join(str(value).split())
    if "properties" in value:
        inner = dict(value["properties"])
        if "type" in value:
            kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
            inner["@type"] = [short_type(each) for each in kinds]
        return plain(inner)
    if set(value) == {"@value"} or set(value) == {"@id"}:
        return plain(next(iter(value.values())))
    out = {}
    for key, held in value.items():
        name = key if key.startswith("@") else short_type(key)
        kept = [short_type(each) for each in held] if key == "@type" and is_full(held) else held
        out[name] = plain(kept) if isinstance(kept, list) else [plain(kept)]
    return out


def is_full(kinds: Any) -> bool:
    return isinstance(kinds, list) and all(str(each).startswith(VOCABULARIES) for each in kinds)


@pytest.mark.parametrize(("page", "wanted"), cases("jsonld"))
def test_json_ld_is_read_as_annotated(page, wanted):
    if isinstance(wanted, dict):
        scripts = wanted.get("json-ld") or wanted["items"]
        wanted = [one for each in scripts for one in (each if isinstance(each, list) else [each])]
    assert plain(list(extract_page(page.read_bytes(), URL).jsonld)) == plain(wanted)


@pytest.mark.parametrize(("page", "wanted"), cases("microdata"))
def test_microdata_is_read_as_annotated(page, wanted):
    wanted = wanted["microdata"] if isinstance(wanted, dict) else wanted
    assert plain(list(extract_page(page.read_bytes(), URL).microdata)) == plain(wanted)


@pytest.mark.parametrize(("page", "wanted"), cases("opengraph"))
def test_opengraph_is_read_as_annotated(page, wanted):
    first = {}
    for key, value in wanted[0]["properties"]:
        first.setdefault(key, " ".join(value.split()))
    found = extract_page(page.read_bytes(), URL).opengraph
    assert {key: found.get(key) for key in first} == first


@pytest.mark.parametrize(("page", "wanted"), cases("rdfa"))
def test_rdfa_lite_is_read_as_annotated(page, wanted):
    items = [plain(each) for each in wanted if "@type" in each]
    found = [plain(each) for each in extract_page(page.read_bytes(), URL).rdfa]
    for item in [*items, *found]:
        item["@id"] = [each.rpartition("#")[2] for each in item.pop("@id")]
    assert found == items
