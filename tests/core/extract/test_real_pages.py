"""The measured quality, on real annotated pages that are not part of the project."""

import gzip
import json
import re
from pathlib import Path

import pytest

from resources.core.extract import extract_page, from_json, to_json
from resources.core.extract.jsonld import parse_jsonld
from resources.core.names import core_tokens, fold

DATA = Path(__file__).parents[3].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "business_pages").is_dir(), reason="real pages (../shared/data) are not here"
)


@pytest.fixture(scope="module")
def annotated():
    folder = DATA / "business_pages"
    cases = json.loads((folder / "ground_truth.json").read_text())["pages"]
    return [
        (
            case,
            extract_page(
                (folder / case["set"] / case["page"]).read_bytes(), case["base_url"] or ""
            ),
        )
        for case in cases
    ]


def digits(text):
    return re.sub(r"\D", "", text)[-7:]


def test_marked_emails_are_found(annotated):
    wanted = [
        (page, each.lower())
        for case, page in annotated
        for each in case["entities"].get("EMAIL", [])
        if re.fullmatch(r"[\w.+-]+@[\w.-]+\w", each)
    ]
    found = sum(each in page.emails for page, each in wanted)
    assert found / len(wanted) >= 0.97


def test_marked_phones_are_found_and_what_is_found_is_marked(annotated):
    hits = wanted = right = found = 0
    for case, page in annotated:
        marked = {
            digits(each) for kind in ("TEL", "FAX") for each in case["entities"].get(kind, [])
        }
        marked = {each for each in marked if len(each) == 7}
        numbers = {digits(each.e164 or each.raw) for each in page.phones}
        wanted += len(marked)
        hits += len(marked & numbers)
        found += len(numbers)
        right += len(marked & numbers)
    assert hits / wanted >= 0.93
    assert right / found >= 0.97


def test_the_company_name_is_one_of_the_marked_names(annotated):
    right = shown = 0
    for case, page in annotated:
        marked = {"".join(core_tokens(each)) for each in case["entities"].get("ORG", [])} - {""}
        shown += bool(marked)
        right += "".join(core_tokens(page.company_name or "")) in marked
    assert right / shown >= 0.85


def test_street_and_postcode_are_found_in_one_address(annotated):
    found = shown = 0
    for case, page in annotated:
        streets = {fold(each) for each in case["entities"].get("STREET", [])}
        postcodes = set(case["entities"].get("ZIPCODE", []))
        shown += bool(streets and postcodes)
        found += any(
            each.postcode in postcodes and any(fold(each.street or "-") in one for one in streets)
            for each in page.addresses
        )
    assert found / shown >= 0.7


def test_every_real_page_goes_through_json(annotated):
    for _, page in annotated:
        assert from_json(json.loads(json.dumps(to_json(page)))) == page


def test_main_text_of_articles_is_found():
    truth = json.loads((DATA / "articles" / "ground-truth.json").read_text())

    def shingles(text):
        words = re.findall(r"\w+", text)
        return {tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))}

    scores = []
    for key, case in truth.items():
        body = gzip.decompress((DATA / "articles" / "html" / f"{key}.html.gz").read_bytes())
        wanted, found = (
            shingles(case["articleBody"]),
            shingles(extract_page(body, case["url"]).text),
        )
        scores.append(2 * len(wanted & found) / (len(wanted) + len(found)))
    assert sum(scores) / len(scores) >= 0.93


def test_real_structured_data_is_read():
    scripts = []
    for path in sorted((DATA / "structured_data").rglob("*.html")):
        extract_page(path.read_bytes(), "https://www.example.org/")
        text = path.read_text("utf-8", "replace")
        scripts += re.findall(r"<script[^>]{0,99}ld\+json[^>]{0,99}>(.*?)</script>", text, re.S)
    assert len(scripts) >= 5
    read = [parse_jsonld(each) is not None for each in scripts if each.strip() not in ("", "null")]
    assert sum(read) >= len(read) - 1
