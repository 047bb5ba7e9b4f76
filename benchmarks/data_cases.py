"""How many cases of other projects' test data come out as they say.

    python -m benchmarks.data_cases [FOLDER]

Prints a table, and below it each case that does not, with what came instead. Ends with 1 if any.
The data lie in FOLDER, by default beside the repository (`../shared/data`).
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from resources.adapters.inflate import BrokenEncodingError, inflate
from resources.core.addresses import AddressPolicy
from resources.core.robots_rules import RobotsRules
from resources.core.sitemap import read_sitemap

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
MOST_BYTES = 5_000_000
Case = tuple[str, bool]
"""What it is about, and whether it comes out as it should."""
_HTML = {
    "html-gzip.bin": "gzip",
    "html-zlibdeflate.bin": "deflate",
    "html-rawdeflate.bin": "deflate",
    "html-gzip-deflate.bin": "gzip, deflate",
    "html-gzip-deflate-gzip.bin": "gzip, deflate, gzip",
    "html-br.bin": "br",
    "html-zstd-static-content-size.bin": "zstd",
    "html-zstd-static-no-content-size.bin": "zstd",
    "html-zstd-streaming-no-content-size.bin": "zstd",
}


def main(folder: str | None = None) -> int:
    """Go through all of them."""
    data = Path(folder) if folder else BESIDE
    if not data.is_dir():
        print(f"There is no test data at {data}.")
        return 1
    groups = {
        "robots: allowed or not": list(_robots(data)),
        "robots: delays": list(_delays(data)),
        "sitemaps": list(_sitemaps(data)),
        "compression": list(_compression(data)),
        "ssrf: first, middle and last address of each range": list(_ranges(data)),
    }
    print("| data | cases | as expected |", "|---|---|---|", sep="\n")
    for name, cases in groups.items():
        print(f"| {name} | {len(cases)} | {sum(is_well for _, is_well in cases)} |")
    wrong = [case for cases in groups.values() for case, is_well in cases if not is_well]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def _robots(data: Path) -> Iterator[Case]:
    for case in json.loads((data / "robots/protego_cases.json").read_text("utf-8"))["cases"]:
        if "allowed" in case:
            rules = RobotsRules(case["robots_txt"], case["user_agent"])
            found = rules.may_fetch(case["url"])
            yield f"{case['test']}: {case['url']} gives {found}", found is case["allowed"]


def _delays(data: Path) -> Iterator[Case]:
    """Of request rates and visit times the two cases say that there is none; of rates we make a
    delay, and visit times we do not read."""
    for case in json.loads((data / "robots/protego_cases.json").read_text("utf-8"))["cases"]:
        if "allowed" not in case:
            found = RobotsRules(case["robots_txt"], case["user_agent"]).crawl_delay_s
            yield f"{case['test']}: {found} s", found == (case["value"] or 0.0)


def _sitemaps(data: Path) -> Iterator[Case]:
    cases = json.loads((data / "sitemaps/scrapy_sitemap_cases.json").read_text("utf-8"))["cases"]
    for case in cases:
        found = [(one.url, list(one.alternates)) for one in read_sitemap(case["xml"].encode())]
        expected = [(one["loc"], one.get("alternate", [])) for one in case["expected"]]
        yield f"{case['test']}: {found}", found == expected


def _compression(data: Path) -> Iterator[Case]:
    folder = data / "compression"
    for name, encoding in _HTML.items():
        body = inflate((folder / name).read_bytes(), encoding, MOST_BYTES)
        yield name, body.rstrip().endswith(b"</html>")
    feed = inflate((folder / "feed-sample1.xml.gz").read_bytes(), "gzip", MOST_BYTES)
    yield "feed-sample1.xml.gz", feed == (folder / "feed-sample1.xml").read_bytes()
    cut = (folder / "unexpected-eof.gz").read_bytes()
    try:
        inflate(cut, "gzip", MOST_BYTES)
        yield "unexpected-eof.gz is taken for whole", False
    except BrokenEncodingError:
        yield "unexpected-eof.gz", True
    packed = gzip.compress(bytes(MOST_BYTES))
    yield "a body of the limit", len(inflate(packed, "gzip", MOST_BYTES)) == MOST_BYTES


def _ranges(data: Path) -> Iterator[Case]:
    ranges = json.loads((data / "ssrf/special_ranges.json").read_text("utf-8"))
    for text in ranges["special_purpose_ranges"]:
        network = ipaddress.ip_network(text)
        middle = network.network_address + network.num_addresses // 2
        for address in {network.network_address, middle, network.broadcast_address}:
            yield f"{address} of {text}", AddressPolicy().refusal(str(address), 443) is not None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
