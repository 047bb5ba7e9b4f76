"""How the commands put things for a person: times, text from outside, and one JSON object.

Text from sites and lists is never trusted on a terminal: control characters would move the cursor
or change colours, and square brackets are markup to `rich`. Not here: what is said.
"""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape

MOST_CHARS = 200
_WIDTH_WITHOUT_TERMINAL = 160
# Control, format (bidirectional overrides among them), surrogates, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def console() -> Console:
    """Where results are printed; wide enough for paths and URLs where no terminal limits it."""
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(highlight=False, width=width, emoji=False)


def plain(value: object, most: int = MOST_CHARS) -> str:
    """Foreign text on one line: without control characters, and cut.

    >>> plain("Acme\\x1b[31m\\nGmbH")
    'Acme [31m GmbH'
    """
    text = str(value)[: most * 4]
    text = "".join(" " if unicodedata.category(c) in _UNPRINTABLE else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def safe(value: object, most: int = MOST_CHARS) -> str:
    """Foreign text for a rich markup string."""
    return escape(plain(value, most))


def moment(at: float, now: float) -> str:
    """A time of the past or future in local words: with the date only where it is another day.

    Args:
        at: Epoch seconds.
        now: Epoch seconds.
    """
    local, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    form = "%H:%M:%S" if local.date() == today.date() else "%Y-%m-%d %H:%M:%S"
    return local.strftime(form)


def until(at: float, now: float) -> str:
    """How long a wait still is.

    >>> until(190.0, 10.0), until(5.0, 10.0), until(10.4, 10.0)
    ('in 3 min', 'now', 'in 1 s')
    """
    return "now" if at <= now else f"in {span(at - now)}"


def span(seconds: float) -> str:
    """A duration in its largest sensible unit.

    >>> span(0.2), span(95), span(5400), span(200_000)
    ('1 s', '95 s', '90 min', '2 days')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} days"


def iso(at: float | None) -> str | None:
    """A time for scripts: ISO 8601 in UTC; None stays None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def size(count: int) -> str:
    """Bytes for a person.

    >>> size(900), size(38_000), size(2_500_000)
    ('900 B', '38 kB', '2.5 MB')
    """
    if count < 1_000:
        return f"{count} B"
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def many(count: int, word: str) -> str:
    """A count with its noun.

    >>> many(1, "row"), many(2, "batch")
    ('1 row', '2 batches')
    """
    ending = "es" if word.endswith(("s", "ch")) else "s"
    return f"{count} {word}" if count == 1 else f"{count} {word}{ending}"


def print_json(value: Any) -> None:
    """Print one JSON object on one line, as the last line of stdout."""
    sys.stdout.write(orjson.dumps(value, default=_as_text).decode() + "\n")
    sys.stdout.flush()


def _as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {type(value)}")
