"""The format of run-length compressed elements: what a word in DRAM looks like.

A *pair* is a run of zeros and the element behind it, its level; a word holds several pairs. ``docs/numerics.md``
defines the order of pairs, runs that are too long for a pair, and what the end of a block looks like.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """Widths of a compressed word.

    Attributes
    ----------
    run_bits : int
        Width of a run; a pair holds at most ``2**run_bits - 1`` zeros before its level.
    level_bits : int
        Width of an element.
    word_bits : int
        Width of a word.
    pairs : int
        Pairs per word; 0 for as many as leave one bit for the terminator.

    Raises
    ------
    ValueError
        When a width is not positive, or the pairs do not fit the word.
    """

    run_bits: int
    level_bits: int
    word_bits: int = 64
    pairs: int = 0

    def __post_init__(self) -> None:
        if min(self.run_bits, self.level_bits, self.word_bits) < 1:
            raise ValueError(f"run, level and word bits must be positive, not {self}")
        if self.pairs == 0:
            object.__setattr__(self, "pairs", (self.word_bits - 1) // self.pair_bits)
        if not 1 <= self.pairs * self.pair_bits <= self.word_bits:
            raise ValueError(f"a word of {self.word_bits} bits has no room for {self.pairs} pairs of {self.pair_bits}")

    @property
    def pair_bits(self) -> int:
        """Width of a pair: the run in the low bits, the level above."""
        return self.run_bits + self.level_bits

    @property
    def longest_run(self) -> int:
        """Zeros that a pair can hold before its level."""
        return (1 << self.run_bits) - 1

    @property
    def terminated(self) -> bool:
        """Whether the highest bit of a word is free to mark the last word of a block."""
        return self.pairs * self.pair_bits < self.word_bits

    def worst_words(self, elements: int) -> int:
        """Words that ``elements`` elements take at most: a pair for each."""
        return -(-elements // self.pairs)

    def expected_words(self, elements: int, zeros: float) -> float:
        """Words that ``elements`` elements take on average if a share of them, anywhere, is zero."""
        longest = self.longest_run + 1
        per_element = 1 / longest if zeros >= 1 else (1 - zeros) / (1 - zeros**longest)
        return elements * per_element / self.pairs


EYERISS = Format(5, 16)
"""Three pairs and a terminator in 64 bits."""

EYERISS_V2 = Format(4, 8)
"""Eight bits of level."""

SCNN = Format(4, 16)
"""Sixteen bits of level, runs of up to 15 zeros."""

EIE = Format(4, 4)
"""Indices into a codebook; runs end with each column."""
