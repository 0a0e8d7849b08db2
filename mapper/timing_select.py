"""Selections in the timing model: when nothing is added up any more, and how long one takes whose data is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dataflows import isa, top_k
from mapper.program import Job
from mapper.timing_array import TREE_RADIX
from mapper.timing_gather import Lists
from mapper.timing_pack import Eliminator

READ = 2  # selection taken, to the first word that the top-k engine loads
SEEN = 2  # word read in the last pass, to the eliminator
ELEMENT = 2  # cycles of an element that stays, for its two lists; of keys there is one list
CLOSED = 2  # last key listed, to the end as others see it: the length is written between; else one cycle
OBSERVED = 15  # row divided, to the first of its words that are added
SPACING = 3  # words between reading and writing an accumulator, at least
SETTLED = 6  # last word of a row added, to when nothing is under way any more
HEAD_SEEN = 2  # last word of a head out, to when others see that it is to be added
HEAD_READ = 7  # the same to reading its accumulator, beside the adder tree
HEAD_ADDING = 2  # that, to the last cycle in which it is added

NAMES = {
    isa.Rows.SELECT_TOKENS: "tokens", isa.Rows.SELECT_HEADS: "heads", isa.Rows.SELECT_VALUES: "values",
}  # fmt: skip
"""Kinds of selections."""

Observed = Mapping[str, Sequence[NDArray[np.int64]]]
"""What selections choose from, by kind and in their order: importance or probabilities, (count,) each."""


class Quiet:
    """What is added up beside the row engine: rows of probabilities, in two banks, and heads."""

    def __init__(self, lanes: int):
        self._tree = sum(TREE_RADIX**stage < lanes for stage in range(lanes))
        self._banks = {"importance": -SETTLED, "values": -SETTLED}  # when the last row of a bank has had its cycles
        self._heads = deque[tuple[int, int]](maxlen=8)  # first and last cycles in which one is added

    def row(self, job: Job, divided: int, blocks: int) -> None:
        """A row of softmax is divided."""
        for name, ended in self._banks.items():
            if job.registers.get(name, {}).get("observe"):
                self._banks[name] = max(divided + OBSERVED, ended) + max(blocks, SPACING)

    def head(self, job: Job, time: int) -> None:
        """The last word of a job leaves VECTOR."""
        if not job.registers.get("importance", {}).get("observe"):
            return
        read = time + self._tree + HEAD_READ
        if self._heads:
            read = max(read, self._heads[-1][1] + 1)
        self._heads.append((time + HEAD_SEEN, read + HEAD_ADDING))

    def since(self, now: int) -> int:
        """From when on nothing is added, ``now`` or later, as far as that is known."""
        time = max(now, *(ended + SETTLED for ended in self._banks.values()))
        for first, last in self._heads:
            if first <= time <= last:
                time = last + 1
        return time


class Selections:
    """Selections one after the other.

    Parameters
    ----------
    observed : mapping
        See :data:`Observed`; what is missing is random, all different, and above a floor.
    lanes : int
    lists : Lists
        Where their lists are written, as far as they are known.

    Attributes
    ----------
    kept : list of int
        How many elements of a row stay, by word, as the last selection of keys says.
    """

    def __init__(self, observed: Observed, lanes: int, lists: Lists):
        self._values = {name: iter(values) for name, values in observed.items()}
        self._lanes, self._lists = lanes, lists
        self._numbers: dict[isa.Rows, NDArray[np.int64]] = {}  # of tokens and heads that are left
        self.kept: list[int] = []

    def take(self, job: Job, taken: int) -> int:
        """A selection is taken at ``taken``; returns when it is done."""
        kind, fields = isa.Rows(job.registers["mode"]["kind"]), job.registers["select"]
        count, keep, lanes = fields["count"], fields["keep"], self._lanes
        of_keys = kind is isa.Rows.SELECT_VALUES
        limit = job.registers["values"] if of_keys else {}
        each = ELEMENT if not of_keys or limit.get("numbered") else 1
        values = next(self._values.get(NAMES[kind], iter(())), None)
        if values is None and not limit.get("by_floor"):
            stays = np.isin(np.arange(count), np.random.default_rng(count).permutation(count)[:keep])
            done = taken + top_k.mean_cycles(count, keep, lanes) + each * keep + CLOSED - (not of_keys)
        else:
            selecting = 0
            if values is None:
                stays = np.ones(count, bool)
            elif limit.get("by_floor"):
                stays = np.asarray(values > limit["floor"], bool)
            else:
                found = top_k.select(values, keep, lanes)
                stays, selecting = top_k.kept(values, keep, found), found.cycles
            begin = taken + READ + top_k.words(count, lanes) + selecting
            done = self._last_pass(stays, begin, each) - (not of_keys)
        self._write(job, kind, stays, known=values is not None)
        return done

    def _last_pass(self, stays: NDArray[np.bool_], begin: int, each: int) -> int:
        """When a selection of keys is done whose last pass begins to read at ``begin``."""
        lanes, time, done, free = self._lanes, begin + SEEN, begin, 0
        eliminator = Eliminator(lanes, begin)
        for start in range(0, len(stays), lanes):
            eliminator.enter(time, int(stays[start : start + lanes].sum()), last=start + lanes >= len(stays))
            while eliminator.o:
                word = eliminator.o[0]
                taken = max(word.time, free)
                eliminator.take(taken)
                free = taken + 1 + each * word.count
                done = free - 1 + CLOSED
            assert eliminator.entered is not None
            time = eliminator.entered + 1
        return done

    def _write(self, job: Job, kind: isa.Rows, stays: NDArray[np.bool_], *, known: bool) -> None:
        """Lists: of keys one with its length, 0 in it if it is empty; of others places and numbers, where known."""
        place, keys = job.registers["select"]["place"], np.flatnonzero(stays)
        values = self._lists.values
        if kind is isa.Rows.SELECT_VALUES:
            padded = np.pad(stays, (0, -len(stays) % self._lanes))
            self.kept = padded.reshape(-1, self._lanes).sum(axis=1).tolist()
            numbers = self._numbers.get(isa.Rows.SELECT_TOKENS) if job.registers["values"].get("numbered") else None
            listed = (keys if numbers is None else numbers[keys]).tolist()
            values[place : place + 1 + max(1, len(listed))] = [max(1, len(listed)), *(listed or [0])]
        elif known:
            fresh = job.registers["importance"]["fresh"]
            numbers = self._numbers[kind] = keys if fresh else self._numbers[kind][keys]
            values[place : place + 2 * len(keys)] = [*keys, *numbers]
