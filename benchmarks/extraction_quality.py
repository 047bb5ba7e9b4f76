"""Measure extraction on real annotated pages: what is found, what is right, what it costs.

Run: python -m benchmarks.extraction_quality [DATA_FOLDER] [--half dev|sealed|both] [--misses]

Reads `business_pages/` and `articles/` of the data folder (default ../shared/data). Counts are per
page and distinct value. Annotators marked what is visible, so a value that is found and not marked
is not always wrong: precision is a lower bound.

A hash of a page's name puts it into one of two halves. Rules are made by looking at the first
(`dev`) alone; the second (`sealed`) only shows whether they hold for pages nobody looked at.
"""

import argparse
import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.core.extract import ScrapedPage, extract_page
from resources.core.names import core_tokens, fold

MIN_PHONE_DIGITS = 7


_WARM_UP = b"""<html><script type="application/ld+json">{"@type": "Store", "name": "x", "address":
{"streetAddress": "x", "addressCountry": "Nowhere"}}</script><p>+1 212 555 2368 +44 20 7946 0018"""


@dataclass(slots=True)
class Count:
    """Hits, what was found, what was to be found."""

    right: int = 0
    found: int = 0
    wanted: int = 0
    hit: int = 0

    def add(self, right: int, found: int, hit: int, wanted: int) -> None:
        """Add a page."""
        self.right += right
        self.found += found
        self.hit += hit
        self.wanted += wanted

    def row(self, name: str) -> str:
        """Format precision and recall."""
        precision = self.right / self.found if self.found else 1.0
        recall = self.hit / self.wanted if self.wanted else 1.0
        return (
            f"{name:<34} P {precision:.3f}  R {recall:.3f}   "
            f"(right {self.right}, found {self.found}, hit {self.hit}, wanted {self.wanted})"
        )


def same_phone(found: str, wanted: str) -> bool:
    """Tell whether two strings of digits are one number, up to prefixes."""
    found, wanted = found.lstrip("0"), wanted.lstrip("0")
    shorter = min(len(found), len(wanted), 9)
    return found[-shorter:] == wanted[-shorter:]


def phone_digits(text: str) -> str:
    """Return the digits of a printed number, letters as on a keypad, without an extension."""
    text = re.sub(r"(?i)(?:ext|x)\.?\s*\d+\W*$", "", text.replace("(0)", ""))
    if re.search(r"\d[-. ]?[A-Z]{4,}|[A-Z-]{4,}\s?\(", text):
        in_brackets = re.search(r"([-.()\d\s]*?)[A-Z][A-Z0-9-]+\s*\(([\d-]+)\)", text)
        if in_brackets:
            text = in_brackets[1] + in_brackets[2]
        keys = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
        text = text.translate(keys)
    return re.sub(r"\D", "", text)


def half_of(name: str) -> str:
    """Return the half that a page belongs to: `dev` or `sealed`.

    Args:
        name: `<set>/<file>` of a business page, the key of an article.
    """
    return ("dev", "sealed")[hashlib.sha256(name.encode()).digest()[0] % 2]


def page_cases(data: Path, half: str) -> list[tuple[dict[str, Any], bytes]]:
    """Load the annotated pages of a half with their bodies."""
    folder = data / "business_pages"
    pages = json.loads((folder / "ground_truth.json").read_text())["pages"]
    chosen = [each for each in pages if half_of(f"{each['set']}/{each['page']}") == half]
    return [(each, (folder / each["set"] / each["page"]).read_bytes()) for each in chosen]


def loose(text: str) -> str:
    """Fold for comparison, without spaces."""
    return fold(text).replace(" ", "")


def measure_pages(data: Path, half: str, show_misses: bool) -> list[str]:
    """Measure contacts, names and addresses."""
    cases = page_cases(data, half)
    counts: dict[str, Count] = {}
    names = {"pages": 0, "exact": 0, "close": 0, "any candidate": 0}
    start = time.process_time()
    pages = [extract_page(body, case["base_url"] or "") for case, body in cases]
    cost_ms = (time.process_time() - start) * 1_000 / len(cases)
    misses: list[str] = []
    for (case, _), page in zip(cases, pages, strict=True):
        entities = case["entities"]
        key = f"{case['set']}/{case['page']}"
        _count_emails(counts, page, entities, key, misses)
        _count_phones(counts, page, entities, key, misses)
        _count_addresses(counts, page, entities, key, misses)
        _count_name(names, page, entities, key, misses)
    size = sum(len(body) for _, body in cases) / len(cases) / 1_000
    rows = [count.row(name) for name, count in counts.items()]
    rows.append(f"{'company name':<34} " + ", ".join(f"{k} {v}" for k, v in names.items()))
    rows.append(f"{'CPU per page':<34} {cost_ms:.2f} ms (mean {size:.0f} KB)")
    return rows + (misses if show_misses else [])


def _count_emails(
    counts: dict[str, Count],
    page: ScrapedPage,
    entities: dict[str, Any],
    key: str,
    misses: list[str],
) -> None:
    printed = " ".join(entities.get("EMAIL", [])).lower().replace(" at ", "@").replace(" dot ", ".")
    wanted = set(re.findall(r"[\w.+-]+@[\w.-]+\w", printed))
    right = wanted & set(page.emails)
    counts.setdefault("e-mail", Count()).add(len(right), len(page.emails), len(right), len(wanted))
    if wanted:
        marked = counts.setdefault("e-mail, pages with marked ones", Count())
        marked.add(len(right), len(page.emails), len(right), len(wanted))
    misses += [f"{key} e-mail missed: {each}" for each in sorted(wanted - right)]
    misses += [f"{key} e-mail extra: {each}" for each in page.emails if each not in wanted]


def _count_phones(
    counts: dict[str, Count],
    page: ScrapedPage,
    entities: dict[str, Any],
    key: str,
    misses: list[str],
) -> None:
    marked = {
        digits: each
        for each in [*entities.get("TEL", []), *entities.get("FAX", [])]
        if len(digits := phone_digits(each)) >= MIN_PHONE_DIGITS
    }
    wanted = {
        each
        for each in marked
        if not any(each != o and same_phone(each, o) and each < o for o in marked)
    }
    found = [re.sub(r"\D", "", each.e164 or each.raw) for each in page.phones]
    right = [each for each in found if any(same_phone(each, other) for other in marked)]
    hit = [each for each in wanted if any(same_phone(other, each) for other in found)]
    counts.setdefault("phone and fax", Count()).add(len(right), len(found), len(hit), len(wanted))
    if marked:
        some = counts.setdefault("phone and fax, marked pages", Count())
        some.add(len(right), len(found), len(hit), len(wanted))
    fax = {phone_digits(each) for each in entities.get("FAX", [])} - {""}
    said = [re.sub(r"\D", "", e.e164 or e.raw) for e in page.phones if e.kind == "fax"]
    right_fax = sum(any(same_phone(each, other) for other in fax) for each in said)
    hit_fax = sum(any(same_phone(other, each) for other in said) for each in fax)
    counts.setdefault("fax told apart", Count()).add(right_fax, len(said), hit_fax, len(fax))
    misses += [f"{key} phone missed: {marked[each]}" for each in sorted(wanted - set(hit))]
    for phone, digits in zip(page.phones, found, strict=True):
        if digits not in right:
            misses.append(f"{key} phone extra: {phone}")


def _count_addresses(
    counts: dict[str, Count],
    page: ScrapedPage,
    entities: dict[str, Any],
    key: str,
    misses: list[str],
) -> None:
    fields = {
        "street": ("STREET", [each.street for each in page.addresses]),
        "postcode": ("ZIPCODE", [each.postcode for each in page.addresses]),
        "city": ("CITY", [each.city for each in page.addresses]),
    }
    for name, (kind, values) in fields.items():
        wanted = {loose(each) for each in entities.get(kind, [])} - {""}
        found = {loose(each) for each in values if each} - {""}
        right = {f for f in found if any(f in w or w in f for w in wanted)}
        hit = {w for w in wanted if any(f in w or w in f for f in found)}
        counts.setdefault(f"address: {name}", Count()).add(
            len(right), len(found), len(hit), len(wanted)
        )
        misses += [f"{key} {name} missed: {each}" for each in sorted(wanted - hit)]
        misses += [f"{key} {name} extra: {each}" for each in sorted(found - right)]
    _count_together(counts, page, entities)


def _count_together(counts: dict[str, Count], page: ScrapedPage, entities: dict[str, Any]) -> None:
    """Count pages on which an address has a marked street and a marked postcode."""
    streets = {loose(each) for each in entities.get("STREET", [])} - {""}
    postcodes = {loose(each) for each in entities.get("ZIPCODE", [])} - {""}
    if not streets or not postcodes:
        return
    whole = [
        (loose(each.street), loose(each.postcode))
        for each in page.addresses
        if each.street and each.postcode
    ]
    right = [
        street
        for street, postcode in whole
        if any(postcode in other or other in postcode for other in postcodes)
        and any(street in other or other in street for other in streets)
    ]
    pages = counts.setdefault("street and postcode together, pages", Count())
    pages.add(bool(right), bool(whole), bool(right), 1)
    hit = [each for each in streets if any(each in other or other in each for other in right)]
    each_one = counts.setdefault("street and postcode together, each", Count())
    each_one.add(len(right), len(whole), len(hit), len(streets))


def _count_name(
    names: dict[str, int], page: ScrapedPage, entities: dict[str, Any], key: str, misses: list[str]
) -> None:
    wanted = {"".join(core_tokens(each)) for each in entities.get("ORG", [])} - {""}
    if not wanted:
        return
    names["pages"] += 1
    best = "".join(core_tokens(page.company_name)) if page.company_name else ""
    is_exact = best in wanted
    is_close = bool(best) and any(best in each or each in best for each in wanted)
    names["exact"] += is_exact
    names["close"] += is_close
    names["any candidate"] += any(
        "".join(core_tokens(n)) in wanted for n, _ in page.company_name_candidates
    )
    if not is_exact:
        some = [f"{n} ({e})" for n, e in page.company_name_candidates[:4]]
        misses.append(
            f"{key} name {'close' if is_close else 'wrong'}: {some} not {entities['ORG'][:4]}"
        )


def shingles(text: str, size: int = 4) -> set[tuple[str, ...]]:
    """Return the runs of `size` words in a text."""
    words = re.findall(r"\w+", text)
    return {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}


def score(wanted_text: str, found_text: str) -> tuple[float, float, float]:
    """Return precision, recall and F1 of a text by its four-word shingles."""
    wanted, found = shingles(wanted_text), shingles(found_text)
    common = len(wanted & found)
    precision, recall = common / len(found), common / len(wanted)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def measure_articles(data: Path, half: str) -> list[str]:
    """Measure main text on articles: four-word shingles, macro average."""
    everything = json.loads((data / "articles" / "ground-truth.json").read_text())
    truth = {key: case for key, case in everything.items() if half_of(key) == half}
    bodies = {
        key: gzip.decompress((data / "articles" / "html" / f"{key}.html.gz").read_bytes())
        for key in truth
    }
    start = time.process_time()
    pages = {key: extract_page(body, truth[key]["url"]) for key, body in bodies.items()}
    cost_ms = (time.process_time() - start) * 1_000 / len(bodies)
    scores = [score(truth[key]["articleBody"], page.text) for key, page in pages.items()]
    precision, recall, f1 = (_mean(column) for column in zip(*scores, strict=True))
    size = sum(map(len, bodies.values())) / len(bodies) / 1_000
    return [
        f"{'main text of articles':<34} P {precision:.3f}  R {recall:.3f}  F1 {f1:.3f}",
        f"{'CPU per page':<34} {cost_ms:.2f} ms (mean {size:.0f} KB)",
    ]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--misses", action="store_true", help="list what was missed or extra")
    parser.add_argument("--half", choices=("dev", "sealed", "both"), default="both")
    arguments = parser.parse_args()
    if not (arguments.data / "business_pages").is_dir():
        print(f"skipped: no annotated pages in {arguments.data}")
        return
    # Tables that libraries load at first use are no cost of a page.
    extract_page(_WARM_UP, "https://acme.example/")
    halves = ("dev", "sealed") if arguments.half == "both" else (arguments.half,)
    for half in halves:
        print(f"{half} half")
        rows = measure_pages(arguments.data, half, arguments.misses)
        for row in [*rows, *measure_articles(arguments.data, half)]:
            print(f"  {row}")


if __name__ == "__main__":
    main()
