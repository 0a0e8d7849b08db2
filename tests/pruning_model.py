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
    columns : of a head, sums or largest probabilities by key
    flags : keys of a head that stay
    """

    def __init__(self, cfg: Config, rng: np.random.Generator):
        sizes = {False: cfg.attention.row_elements, True: 64}
        self.importance = {kind: rng.integers(0, LIMIT, size).tolist() for kind, size in sizes.items()}
        self.numbers = {kind: rng.integers(0, 1 << 16, size).tolist() for kind, size in sizes.items()}
        self.columns = rng.integers(0, LIMIT, sizes[False]).tolist()
        self.flags = (rng.random(sizes[False]) < 0.5).tolist()

    def observe_row(self, codes: list[int], *, fresh: bool) -> None:
        """Probabilities of a row of softmax."""
        for place, probability in enumerate(_probabilities(codes)):
            before = 0 if fresh else self.importance[False][place]
            self.importance[False][place] = before + probability
            assert self.importance[False][place] < LIMIT, "importance overflows"

    def observe_columns(self, register: dict, codes: list[int], *, first: bool) -> None:
        """Probabilities of a row of a head."""
        for key, probability in enumerate(_probabilities(codes)):
            before = 0 if first and register["fresh"] else self.columns[key]
            self.columns[key] = max(before, probability) if register["largest"] else before + probability
            assert self.columns[key] < LIMIT, "columns overflow"

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

    def select_values(self, job: dict, lists: np.ndarray) -> None:
        """The list of a head's keys that stay, its length in front of it, and their flags."""
        count, keep, place = (job["select"][name] for name in ("count", "keep", "place"))
        assert 1 <= count <= len(self.columns), "a selection beyond the columns"
        columns = self.columns[:count]
        if job["values"]["by_floor"]:
            stay = [key for key in range(count) if columns[key] > job["values"]["floor"]]
        else:
            assert 1 <= keep <= count, "more values than there are"
            stay = sorted(sorted(range(count), key=lambda key: (-columns[key], key))[:keep])
        left = [self.numbers[False][key] for key in stay] if job["values"]["numbered"] else stay
        listed = [max(1, len(stay)), *(left or [0])]
        assert 2 * (place + len(listed)) <= len(lists), "lists beyond their memory"
        self.flags[:count] = [key in stay for key in range(count)]
        lists[2 * place : 2 * (place + len(listed))] = np.array(listed, "<u2").view(np.uint8)

    def packed(self, row: list[int], count: int) -> list[int]:
        """Elements of a row that stay, and zeros."""
        left = [e & 127 for e, stays in zip(row, self.flags[: len(row)], strict=True) if stays]
        assert count >= 1 and len(left) <= count, "elements would be lost"
        return left + [0] * (count - len(left))


def _probabilities(codes: list[int]) -> list[int]:
    """Of a row of numerators, with 16 fraction bits."""
    total = sum(codes)
    bits = total.bit_length()
    inverse = (2 ** (bits + 23) - 1) // total >> 8 if total else 0
    return [code * inverse >> max(bits - 1, 0) for code in codes]
