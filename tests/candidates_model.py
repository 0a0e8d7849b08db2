"""Functional model of the search of candidates, from the register documentation; plain integers."""

from __future__ import annotations

import numpy as np

from dataflows.config import Config


class CandidatesModel:
    """Sorted columns as LOAD has written them, and how many candidates searches have found.

    Attributes
    ----------
    memory : bytes of the columns
    found : of the last search of each slot
    """

    def __init__(self, cfg: Config, rng: np.random.Generator):
        self.cfg = cfg
        self.columns = cfg.attention.candidate_columns
        self.memory = rng.integers(0, 256, self.columns * cfg.candidate_column_bytes, np.uint8)
        self.found = rng.integers(0, cfg.candidates, 2).tolist()

    def column(self, number: int, keys: int) -> list[tuple[int, int]]:
        """Entries (element, key) of a column."""
        size = 2 if self.cfg.candidates <= 256 else 4
        start = number * self.cfg.candidate_column_bytes
        raw = [int.from_bytes(self.memory[start + i * size :][:size].tobytes(), "little") for i in range(keys)]
        return [((word & 255 ^ 128) - 128, word >> 8) for word in raw]

    def search(self, job: dict, query: list[int], lists: np.ndarray) -> None:
        """The list of a query's candidates, their number in front of it."""
        keys, steps, place = (job["select"][name] for name in ("count", "keep", "place"))
        assert 1 <= keys <= self.cfg.candidates and len(query) <= self.columns, "more than the columns hold"
        assert steps >= 1, "a search without steps"
        query = [(element & 255 ^ 128) - 128 for element in query]
        columns = [self.column(d, keys) for d in range(len(query))]
        assert all(sorted(key for _, key in column) == list(range(keys)) for column in columns), "no sorted columns"
        scores = [0] * keys
        for sign in (1, -1):
            left = [c if (q >= 0) == (sign > 0) else c[::-1] for c, q in zip(columns, query, strict=True)]
            left = [list(c) for c in left]
            for _ in range(steps):
                ends = [(sign * -query[d] * c[-1][0], c[-1][1], d) for d, c in enumerate(left) if c]
                product, key, d = min(ends, default=(0, 0, 0))
                if product >= 0:
                    break
                scores[key] -= sign * product
                left[d].pop()
        found = [key for key in range(keys) if scores[key] > 0]
        self.found[job["values"]["slot"]] = len(found)
        listed = [max(1, len(found)), *(found or [0])]
        assert 2 * (place + len(listed)) <= len(lists), "lists beyond their memory"
        lists[2 * place : 2 * (place + len(listed))] = np.array(listed, "<u2").view(np.uint8)
