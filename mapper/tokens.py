"""Dependencies between jobs become tokens of semaphores.

A unit takes and finishes its jobs in order.  So of all jobs of one unit that a job must come after, only the last
counts, and not even that one if an earlier job of the same unit has waited for it already.  What is left are edges from
a giver to a taker, and each is one token of the semaphore of that ordered pair of units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil

from dataflows import isa
from dataflows.config import Config
from mapper.program import Job

CHANNELS = (
    (isa.Unit.LOAD, isa.Unit.INPUT),
    (isa.Unit.INPUT, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.WEIGHT),
    (isa.Unit.WEIGHT, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.VECTOR),
    (isa.Unit.VECTOR, isa.Unit.LOAD),
    (isa.Unit.ACC, isa.Unit.VECTOR),
    (isa.Unit.VECTOR, isa.Unit.ACC),
    (isa.Unit.STORE, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.STORE),
    (isa.Unit.LOAD, isa.Unit.SPARSE),
    (isa.Unit.SPARSE, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.ROWS),
    (isa.Unit.ROWS, isa.Unit.LOAD),
    (isa.Unit.ROWS, isa.Unit.VECTOR),
    (isa.Unit.VECTOR, isa.Unit.ROWS),
)
"""Pairs of units whose jobs wait for each other: (unit that gives, unit that takes)."""

LIMIT = (1 << isa.SEMAPHORE_BITS) - 1
"""Most tokens a semaphore holds."""

BEYOND_QUEUE = 4
"""Command words of a unit that may be on their way beside those in its queue."""

Channels = tuple[tuple[isa.Unit, isa.Unit], ...]

Edges = list[list[tuple[int, int]]]
"""For each semaphore (giver, taker) as job numbers, both ascending."""


def channels_of(cfg: Config) -> Channels:
    """Channels of a configuration, those of units that it has: the number of a semaphore is the position here."""
    there = isa.units(cfg)
    return tuple(pair for pair in CHANNELS if there.keys() >= set(pair))


def assign(
    jobs: Sequence[Job], needs: Sequence[set[int]], queue_words: int, channels: Channels = CHANNELS
) -> None:
    """Set ``waits`` and ``gives`` of all jobs.

    Parameters
    ----------
    jobs : sequence of Job
        In program order, numbered by position.
    needs : sequence of set of int
        For each job the earlier jobs that must be done before it starts.
    queue_words : int
        Command words per queue: how far units can be apart.
    channels : tuple
        Semaphores of the configuration.
    """
    edges = thin(jobs, find_edges(jobs, needs, channels), queue_words, channels)
    for semaphore, pairs in enumerate(edges):
        for giver, taker in pairs:
            jobs[giver].gives.add(semaphore)
            jobs[taker].waits.append((semaphore, 1))


def find_edges(jobs: Sequence[Job], needs: Sequence[set[int]], channels: Channels = CHANNELS) -> Edges:
    """Edges that imply all others."""
    number = {pair: semaphore for semaphore, pair in enumerate(channels)}
    edges: Edges = [[] for _ in channels]
    for job, before in zip(jobs, needs, strict=True):
        latest: dict[isa.Unit, int] = {}
        for other in before:
            unit = jobs[other].unit
            if unit is not job.unit:
                latest[unit] = max(other, latest.get(unit, other))
        for unit, other in latest.items():
            pairs = edges[number[unit, job.unit]]
            if not pairs or pairs[-1][0] < other:
                pairs.append((other, job.index))
    return edges


def most_tokens(
    jobs: Sequence[Job], edges: Edges, queue_words: int, channels: Channels = CHANNELS
) -> list[list[int]]:
    """For each semaphore, and each edge of it, the most tokens it can hold when that one has been given.

    An upper bound over all timings: it counts as taken only what certainly is.  When a job starts, so have the jobs of
    its unit before it, all that had started before the jobs it waited for, and, because the decoder stops at a full
    queue, all but the last few jobs before it in the program.
    """
    giving: list[list[int]] = [[] for _ in jobs]
    for pairs in edges:
        for giver, taker in pairs:
            giving[taker].append(giver)
    started: list[list[int]] = []  # for each job the last job of each unit that has started when it starts
    order: dict[isa.Unit, list[int]] = {unit: [] for unit in isa.Unit}
    apart = queue_words + BEYOND_QUEUE
    for job in jobs:
        known = [earlier[-apart - 1] if len(earlier) > apart else -1 for earlier in order.values()]
        if order[job.unit]:
            known = list(map(max, known, started[order[job.unit][-1]]))
        for giver in giving[job.index]:
            known = list(map(max, known, started[giver]))
        known[job.unit] = job.index
        started.append(known)
        order[job.unit].append(job.index)
    held = []
    for (_, unit), pairs in zip(channels, edges, strict=True):
        takers = [taker for _, taker in pairs]
        held.append([i + 1 - bisect_right(takers, started[giver][unit]) for i, (giver, _) in enumerate(pairs)])
    return held


def thin(jobs: Sequence[Job], edges: Edges, queue_words: int, channels: Channels = CHANNELS) -> Edges:
    """The edges, fewer where a semaphore could overflow otherwise."""
    while True:
        held = most_tokens(jobs, edges, queue_words, channels)
        full = [semaphore for semaphore, counts in enumerate(held) if max(counts, default=0) > LIMIT]
        if not full:
            return edges
        thinned = [merge(*pair) for pair in zip(edges, held, strict=True)]
        if thinned == edges:
            giver, taker = (unit.name for unit in channels[full[0]])
            most = max(held[full[0]])
            raise AssertionError(f"the semaphore from {giver} to {taker} may have to hold {most} tokens, not {LIMIT}")
        edges = thinned


def merge(pairs: list[tuple[int, int]], held: list[int]) -> list[tuple[int, int]]:
    """Fewer edges of a semaphore that could overflow: neighbours become one from the later giver to the earlier taker.

    The taker then waits a little longer than it must.  It is still later in the program than what it waits for.
    """
    size = ceil(max(held, default=0) / LIMIT)  # edges that become one
    if size <= 1:
        return pairs
    crowded = [False] * len(pairs)
    for i, count in enumerate(held):
        if count > LIMIT:
            crowded[i + 1 - count : i + 1] = [True] * count
    merged: list[tuple[int, int]] = []
    together = 0  # edges in the last of ``merged``, 0 if it must stay as it is
    for (giver, taker), many in zip(pairs, crowded, strict=True):
        if many and 0 < together < size and giver < merged[-1][1]:
            merged[-1] = (giver, merged[-1][1])
            together += 1
        else:
            merged.append((giver, taker))
            together = int(many)
    return merged
