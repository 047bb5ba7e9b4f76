"""robots.txt and the sitemaps of a site."""

from sandbox.truth import RobotsRule, Truth

_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def robots_txt(truth: Truth) -> str | None:
    """Return the text of robots.txt, None when the site has none."""
    site = truth.site
    if site.robots is RobotsRule.NONE:
        return None
    lines = ["User-agent: *"]
    lines += [f"Disallow: {path}" for path in site.disallowed] or ["Disallow:"]
    if site.crawl_delay_s is not None:
        lines.append(f"Crawl-delay: {site.crawl_delay_s}")
    if site.robots is RobotsRule.SOME:
        lines += ["", "User-agent: BadBot", "Disallow: /"]
    if site.has_sitemap and site.robots is not RobotsRule.FORBID_ALL:
        lines += ["", f"Sitemap: https://{site.host}/sitemap.xml"]
    return "\n".join(lines) + "\n"


def is_disallowed(truth: Truth, path: str) -> bool:
    """Say whether robots.txt forbids a path to everybody."""
    return any(path.startswith(rule) for rule in truth.site.disallowed)


def sitemap(truth: Truth, path: str) -> str | None:
    """Return the XML of a sitemap or sitemap index, None when there is none at that path."""
    site = truth.site
    if not site.has_sitemap:
        return None
    posts = [url for page, url in site.paths.items() if page.startswith("news.")]
    pages = [url for page, url in site.paths.items() if not page.startswith("news.")]
    if not site.has_sitemap_index:
        return _url_set(truth, pages + posts) if path == "/sitemap.xml" else None
    match path:
        case "/sitemap.xml":
            parts = "".join(
                f"<sitemap><loc>https://{site.host}/sitemap-{part}.xml</loc></sitemap>"
                for part in ("pages", "news")
            )
            return f"{_XML_HEAD}<sitemapindex {_NAMESPACE}>{parts}</sitemapindex>\n"
        case "/sitemap-pages.xml":
            return _url_set(truth, pages)
        case "/sitemap-news.xml":
            return _url_set(truth, posts)
    return None


def _url_set(truth: Truth, paths: list[str]) -> str:
    site = truth.site
    urls = "".join(
        f"<url><loc>https://{site.host}{path}</loc>"
        f"<lastmod>{site.last_modified[:10]}</lastmod></url>\n"
        for path in paths
    )
    return f"{_XML_HEAD}<urlset {_NAMESPACE}>\n{urls}</urlset>\n"
