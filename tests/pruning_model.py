"""Functional model of importance and selections, from the register documentation; plain integers."""

from __future__ import annotations

import numpy as np

from dataflows import isa
from dataflows.config import Config

LIMIT = 1 << 40


class PruningModel:
    """Accumulators of tokens and heads, and numbers of those that are left.

    Attributes
    ----------
    importance : sums of tokens (False) and heads (True), by place
    numbers : what stood at each place as the network began
    """

    def __init__(self, cfg: Config, rng: np.random.Generator):
        sizes = {False: cfg.attention.row_elements, True: 64}
        self.importance = {kind: rng.integers(0, LIMIT, size).tolist() for kind, size in sizes.items()}
        self.numbers = {kind: rng.integers(0, 1 << 16, size).tolist() for kind, size in sizes.items()}

    def observe_row(self, codes: list[int], *, fresh: bool) -> None:
        """Probabilities of a row of softmax."""
        total = sum(codes)
        bits = total.bit_length()
        inverse = (2 ** (bits + 23) - 1) // total >> 8 if total else 0
        for place, code in enumerate(codes):
            before = 0 if fresh else self.importance[False][place]
            self.importance[False][place] = before + (code * inverse >> max(bits - 1, 0))
            assert self.importance[False][place] < LIMIT, "importance overflows"

    def observe_head(self, job: dict, codes: list[int]) -> None:
        """Elements of output words of a head."""
        register = job["importance"]
        total = sum(abs(code - job["requantize"]["zero"]) for code in codes)
        assert total < 1 << 28, "magnitudes overflow"
        before = 0 if register["fresh"] else self.importance[True][register["head"]]
        self.importance[True][register["head"]] = before + total * register["factor"]
        assert self.importance[True][register["head"]] < LIMIT, "importance overflows"

    def select(self, job: dict, lists: np.ndarray) -> None:
        """Lists of what stays, as bytes of LOAD's memory; importance and numbers move together."""
        kind = job["mode"]["kind"] == isa.Rows.SELECT_HEADS
        count, keep, place = (job["select"][name] for name in ("count", "keep", "place"))
        importance, numbers = self.importance[kind], self.numbers[kind]
        assert 1 <= keep <= count <= len(importance), "a selection beyond the accumulators"
        assert 2 * (place + 2 * keep) <= len(lists), "lists beyond their memory"
        ranked = sorted(range(count), key=lambda j: (-importance[j], j))
        stay = sorted(ranked[:keep])
        left = [j if job["importance"]["fresh"] else numbers[j] for j in stay]
        self.importance[kind][:keep] = [importance[j] for j in stay]
        self.numbers[kind][:keep] = left
        lists[2 * place : 2 * (place + 2 * keep)] = np.array(stay + left, "<u2").view(np.uint8)
