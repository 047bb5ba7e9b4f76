"""Main text of annotated articles: this extractor beside trafilatura and resiliparse.

Run: python -m benchmarks.main_text [DATA_FOLDER] [--rounds N]

Four-word shingles against the annotated text, macro averages over all articles and over each half
(see `extraction_quality`); CPU of the thread, each article's best of N rounds, all extractors on
one article after another, so that a busy machine slows all of them. `whole page` is all that
`extract_page` does, contacts and names included; `main text alone` what of it leads to the text.

trafilatura is no requirement of the project: `python -m pip install trafilatura lxml_html_clean`
adds it for this comparison; without it, its rows are left out.
"""

import argparse
import gzip
import importlib
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text
from selectolax.lexbor import LexborHTMLParser

from benchmarks.extraction_quality import half_of, score
from resources.core.extract import decode, extract_page
from resources.core.extract.blocks import joined
from resources.core.extract.main_text import main_blocks
from resources.core.extract.markup_guard import make_parsable
from resources.core.extract.models import MAX_TEXT_CHARS
from resources.core.extract.walk import Walk

Extractor = Callable[[bytes], str]


def whole_page(body: bytes) -> str:
    """Extract everything, and return the main text."""
    return extract_page(body, "https://www.example.com/").text


def main_text_alone(body: bytes) -> str:
    """Do only what leads to the main text."""
    tree = LexborHTMLParser(make_parsable(decode(body)[0]))
    walk = Walk()
    if tree.root is not None:
        walk.run(tree.root)
    return joined(main_blocks(walk.blocks, walk.boxes), MAX_TEXT_CHARS)


def resiliparse(body: bytes) -> str:
    """Return resiliparse's main content, without links, forms and comments."""
    text: str = extract_plain_text(
        decode(body)[0], main_content=True, alt_texts=False, links=False, comments=False
    )
    return text


def extractors() -> dict[str, Extractor]:
    """Return what is compared, by name; trafilatura where it is installed."""
    chosen: dict[str, Extractor] = {
        "this, whole page": whole_page,
        "this, main text alone": main_text_alone,
        "resiliparse": resiliparse,
    }
    if importlib.util.find_spec("trafilatura") is None:
        print("trafilatura is not installed; see the head of this file")
        return chosen
    trafilatura = importlib.import_module("trafilatura")

    def default(body: bytes) -> str:
        return trafilatura.extract(body, include_comments=False) or ""

    def fast(body: bytes) -> str:
        return trafilatura.extract(body, include_comments=False, fast=True) or ""

    return {**chosen, "trafilatura": default, "trafilatura, fast": fast}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half", choices=("dev", "sealed", "both"), default="both")
    arguments = parser.parse_args()
    folder = arguments.data / "articles"
    if not folder.is_dir():
        print(f"skipped: no articles in {arguments.data}")
        return
    truth = json.loads((folder / "ground-truth.json").read_text())
    compared = extractors()
    scores: dict[str, list[tuple[str, tuple[float, float, float]]]] = {}
    seconds = dict.fromkeys(compared, 0.0)
    keys = [key for key in truth if arguments.half in ("both", half_of(key))]
    for key in keys:
        body = gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes())
        best = dict.fromkeys(compared, float("inf"))
        texts: dict[str, str] = {}
        for _ in range(arguments.rounds):
            for name, extract in compared.items():
                start = time.thread_time()
                texts[name] = extract(body)
                best[name] = min(best[name], time.thread_time() - start)
        for name, text in texts.items():
            seconds[name] += best[name]
            scores.setdefault(name, []).append(
                (half_of(key), score(truth[key]["articleBody"], text))
            )
    for name, each in scores.items():
        halves = ", ".join(
            f"{half} {mean_f1([found for of, found in each if of == half]):.3f}"
            for half in sorted({half for half, _ in each})
        )
        columns = zip(*[found for _, found in each], strict=True)
        precision, recall, f1 = (sum(column) / len(each) for column in columns)
        print(
            f"{name:<24} P {precision:.3f}  R {recall:.3f}  F1 {f1:.3f}  ({halves})   "
            f"{seconds[name] * 1_000 / len(keys):.2f} ms"
        )


def mean_f1(scores: list[tuple[float, float, float]]) -> float:
    """Return the mean of the third value."""
    return sum(f1 for _, _, f1 in scores) / len(scores)


if __name__ == "__main__":
    main()
