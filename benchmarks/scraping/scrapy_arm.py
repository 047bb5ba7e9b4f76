"""One run of Scrapy over the corpus, in a process of its own; one JSON line at the end.

    python -m benchmarks.scraping.scrapy_arm PORT PAGES FIELDS CONCURRENCY < hosts

FIELDS says what the spider takes from a page: `extract`, the fields of this project by its own
extractor; `none`, only the home page's links; `plain`, title, links and text with parsel, as a
spider is commonly written.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import HtmlResponse, Response
from scrapy.resolver import CachingThreadedResolver
from twisted.internet.defer import Deferred, succeed

from resources.core.extract import choose_pages, extract_page, to_json


class LoopbackResolver(CachingThreadedResolver):
    """Every name is this machine."""

    def getHostByName(self, name: str, timeout: Any = ()) -> Deferred[str]:  # noqa: ARG002
        return succeed("127.0.0.1")


class Spider(scrapy.Spider):
    """Takes each host's home page and the pages that the shipped choice names."""

    name = "bench"

    def __init__(self, hosts: list[str], port: int, pages: int, fields: str) -> None:
        super().__init__()
        self.hosts, self.port, self.pages, self.fields = hosts, port, pages, fields
        self.found = 0

    async def start(self) -> Any:
        for host in self.hosts:
            yield scrapy.Request(f"http://{host}:{self.port}/", meta={"host": host})

    def parse(self, response: Response) -> Iterator[Any]:
        self.found += 1
        host = response.meta["host"]
        if self.fields == "extract":
            kind = (response.headers.get("content-type") or b"").decode("latin-1")
            page = extract_page(response.body, response.url, kind)
            orjson.dumps(to_json(page))
            if "is_other" not in response.meta:
                chosen = choose_pages(page, host, limit=self.pages - 1)
                yield from self._others(host, [choice.url for choice in chosen])
        else:
            if self.fields == "plain":
                _plain(response)
            if "is_other" not in response.meta:
                links = response.css("nav:first-of-type a::attr(href)").getall()
                urls = [response.urljoin(link) for link in links[: self.pages - 1]]
                yield from self._others(host, urls)

    def _others(self, host: str, urls: list[str]) -> Iterator[scrapy.Request]:
        for url in urls:
            yield scrapy.Request(url, meta={"host": host, "is_other": True})


def _plain(response: Response) -> bytes:
    assert isinstance(response, HtmlResponse)
    fields = {
        "url": response.url,
        "title": response.css("title::text").get(),
        "links": [response.urljoin(link) for link in response.css("a::attr(href)").getall()],
        "text": " ".join(
            text.strip()
            for text in response.xpath(
                "//body//text()[not(ancestor::script or ancestor::style)]"
            ).getall()
            if text.strip()
        ),
    }
    return orjson.dumps(fields)


def main() -> None:
    """Scrape all hosts that stand on stdin."""
    port, pages, fields, concurrency = sys.argv[1:5]
    hosts = sys.stdin.read().split()
    process = CrawlerProcess(
        {
            "LOG_LEVEL": "WARNING",
            "ROBOTSTXT_OBEY": True,
            "USER_AGENT": "bench",
            "CONCURRENT_REQUESTS": int(concurrency),
            "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
            "DOWNLOAD_DELAY": 0,
            "TWISTED_DNS_RESOLVER": LoopbackResolver,
        }
    )
    crawler = process.create_crawler(Spider)
    process.crawl(crawler, hosts=hosts, port=int(port), pages=int(pages), fields=fields)
    cpu, began = _cpu(), time.perf_counter()
    process.start()
    seconds, cpu_s = time.perf_counter() - began, _cpu() - cpu
    spider = crawler.spider
    assert isinstance(spider, Spider)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = {"pages": spider.found, "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_kb / 1024}
    sys.stdout.write(orjson.dumps(said).decode() + "\n")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
