"""Command streams of a schedule: one, or one for every stretch of layers between layers on the host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Layer
from mapper.builder import Builder
from mapper.candidates import Search
from mapper.context import Context
from mapper.pipeline import Ring, Step, run
from mapper.placement import PAGE
from mapper.program import Job, encode
from mapper.sparse_plan import SparseJob

WORD_BYTES = 8
"""Bytes of a command word."""


class Entry(Protocol):
    """What the schedule says of a layer."""

    @property
    def index(self) -> int:
        """Number of its steps."""

    @property
    def layer(self) -> Layer:
        """What is computed."""


@dataclass(frozen=True)
class Stream:
    """Words at byte ``offset`` of the region of programs, jobs, what those of the sparse and the row engine go through.

    ``layers`` are the numbers of its layers. Jobs are counted on from stream to stream.
    """

    offset: int
    words: NDArray[np.uint64]
    jobs: list[Job]
    sparse: dict[int, SparseJob]
    searches: dict[int, Search]
    layers: tuple[int, ...]

    @property
    def end(self) -> int:
        """Byte behind its last word."""
        return self.offset + self.words.nbytes


def assemble(
    context: Context, steps: Sequence[Step], stretches: Sequence[Sequence[int]], rings: Callable[[], dict[str, Ring]],
    keeps: bool,
) -> list[Stream]:  # fmt: skip
    """Emit the steps of every stretch of layers into a stream of its own; on chip nothing is left from one to the next.

    Parameters
    ----------
    stretches
        Numbers of layers.
    rings
        Makes the memories, empty.
    keeps
        Whether VECTOR writes the operand buffer, too.
    """
    found: list[Stream] = []
    count = 0
    for layers in stretches:
        context.builder = Builder(context.cfg)
        context.builder.keeps = keeps
        there = set(layers)
        run([step for step in steps if step.layer in there], rings())
        jobs, sparse = context.builder.finish(), context.builder.sparse
        for job in jobs:
            job.index += count
        offset = -(-found[-1].end // PAGE) * PAGE if found else 0
        walks = {index + count: walk for index, walk in sparse.items()}
        searches = {index + count: search for index, search in context.builder.searches.items()}
        found.append(Stream(offset, encode(context.cfg, jobs), jobs, walks, searches, tuple(layers)))
        count += len(jobs)
    return found


def stretches(schedule: Sequence[Entry], host: Collection[str]) -> list[list[int]]:
    """Numbers of the layers between those on the host, which are called by their names; all of them if none is."""
    if not host:
        return [[entry.index for entry in schedule]]
    return [
        [entry.index for entry in entries]
        for on_host, entries in groupby(schedule, lambda entry: entry.layer.name in host) if not on_host
    ]  # fmt: skip
