"""Deterministic chance: the same seed, subject and label always give the same value.

Every value has a label of its own instead of a place in a sequence, so that a new field in the
truth leaves all the older ones as they were. Nothing here knows what is being drawn.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")
_ALL_BITS = (1 << 64) - 1
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


class Draw:
    """Draw values for one subject (a domain, a fault rule) under one seed."""

    __slots__ = ("_base",)

    def __init__(self, seed: int, subject: str) -> None:
        digest = hashlib.blake2b(f"{seed}\0{subject}".encode(), digest_size=8).digest()
        self._base = int.from_bytes(digest, "big")

    def bits(self, label: str) -> int:
        """Return 64 evenly spread bits for a label.

        The finaliser is splitmix64's: a cryptographic hash for each label made drawing a company
        several times as dear, and a crawl draws tens of thousands.
        """
        mixed = (self._base ^ crc32(label.encode()) * 0x9E3779B97F4A7C15) & _ALL_BITS
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _ALL_BITS
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _ALL_BITS
        return mixed ^ mixed >> 31

    def share(self, label: str) -> float:
        """Return a number in [0, 1)."""
        return (self.bits(label) >> 11) / (1 << 53)

    def chance(self, label: str, share: float) -> bool:
        """Say yes for that share of all subjects."""
        return self.share(label) < share

    def number(self, label: str, low: int, high: int) -> int:
        """Return a whole number between low and high, both included."""
        return low + self.bits(label) % (high - low + 1)

    def pick(self, label: str, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.bits(label) % len(options)]

    def several(self, label: str, options: Sequence[T], count: int) -> list[T]:
        """Return `count` different options, fewer when there are not so many, in a drawn order."""
        bits = self.bits(label)
        left = list(options)
        chosen: list[T] = []
        while left and len(chosen) < count:
            bits, index = divmod(bits, len(left))
            chosen.append(left.pop(index))
        return chosen

    def filled(self, label: str, template: str) -> str:
        """Return the template with each `#` as a digit and each `@` as a letter."""
        bits = self.bits(label)
        # By places to fill and not by length: two templates for one number must agree.
        if template.count("#") + template.count("@") > 12:
            bits |= self.bits(label + "+") << 64
        out = []
        for sign in template:
            if sign == "#":
                bits, digit = divmod(bits, 10)
                out.append(str(digit))
            elif sign == "@":
                bits, letter = divmod(bits, len(_LETTERS))
                out.append(_LETTERS[letter])
            else:
                out.append(sign)
        return "".join(out)
