"""A folder of real HTML files as the pages of the sites.

Each (domain, page) has one file by hash. A file is kept as two compressed segments, before and
after the place where the site's navigation goes; its bytes are otherwise untouched, whatever
charset they are in.
"""

import gzip
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sandbox.compression import Segment, deflate
from sandbox.draw import Draw
from sandbox.mistakes import UsageMistake

_SUFFIXES = (".html", ".htm", ".html.gz", ".htm.gz")
_KEPT_FILES = 4096
_BODY = re.compile(rb"<body(?:\s[^>]*)?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CorpusPage:
    """One file, cut where the navigation goes."""

    before: Segment
    after: Segment


class Corpus:
    """All HTML files under a folder, read when they are first needed."""

    def __init__(self, folder: Path, seed: int) -> None:
        if not folder.is_dir():
            raise UsageMistake(
                f"the corpus folder {folder} does not exist; give --corpus a folder of HTML files"
            )
        self._files = sorted(
            path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES)
        )
        if not self._files:
            raise UsageMistake(
                f"the corpus folder {folder} has no .html, .htm or .gz of these below it; "
                "give --corpus a folder of HTML files"
            )
        self._draw = Draw(seed, "corpus")
        self._page = lru_cache(maxsize=_KEPT_FILES)(_read_page)

    def page(self, domain: str, page: str) -> CorpusPage:
        """Return the file that plays one page of one site.

        Raises:
            OSError: the file has become unreadable since the start, or is not gzip as named.
        """
        return self._page(self._draw.pick(f"{domain}/{page}", self._files))


def _read_page(path: Path) -> CorpusPage:
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        data = gzip.decompress(data)
    match = _BODY.search(data)
    cut = match.end() if match else len(data)
    return CorpusPage(deflate(data[:cut]), deflate(data[cut:]))
