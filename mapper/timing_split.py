"""Rows of STORE jobs in the timing model: address generator, splitter, and the relay in front of the packer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dataflows import isa
from mapper.loads import ROWS
from mapper.program import Job
from mapper.timing_bus import bursts, iterations, row_starts
from mapper.timing_machine import Machine
from mapper.timing_words import Row

FIRST_ROW = 1  # job taken, to its first row
SPLIT = 1  # row, to its first burst
RELAY = 1  # word or burst into its relay, to its step in the packer
RELAYED = 2  # of them in a relay


def pitch(job: Job) -> int:
    """Bytes that a STORE job moves on per token of the position."""
    return job.registers.get("mode", {}).get("pitch", 0)


class StoreJob:
    """A job that has been taken, and its rows that the splitter has not."""

    def __init__(self, job: Job, taken: int, position: int):
        self.job, self.taken = job, taken
        self.row_bytes, self.rows = job.registers["row"]["bytes"], iterations(job, ROWS)
        self.bytes = self.row_bytes * self.rows
        self.starts = row_starts(job, job.registers["target"]["address"] + position * pitch(job))


class Part(NamedTuple):
    """A burst on its way to the packer: when it can be packed, what it covers, whether it ends its row and its job."""

    ready: int
    address: int
    beats: int
    size: int
    ends_row: bool
    store: StoreJob
    ends_job: bool


class Splitter:
    """Rows of the jobs become bursts, as far as the relay behind has room; ``parts`` are those in it.

    ``begin`` is told of each row.
    """

    def __init__(self, machine: Machine, begin: Callable[[Row], None]):
        self.machine, self.most = machine, machine.cfg.bus.max_write_burst
        self.progress = machine.progress[isa.Unit.STORE]
        self.begin, self.parts = begin, deque[Part]()
        self.free: int | None = 0  # from when on the address generator takes a job
        self._waiting: StoreJob | None = None  # in the address generator
        self._store: StoreJob | None = None  # whose rows are split
        self._bursts: Iterator[tuple[int, int, int]] = iter(())  # behind the one at the output
        self._burst: tuple[int, int, int] | None = None
        self._end = 0  # of the row
        self._ready = 0  # when its first burst can leave
        self._left = -1  # when the last burst has
        self._places = deque([0] * RELAYED)  # from when on there is room in the relay

    def take(self, job: Job) -> None:
        """A job, when the address generator is free."""
        self._waiting, self.free = StoreJob(job, self.machine.kernel.cycle, self.machine.position), None
        self._split()

    def pop(self, time: int) -> None:
        """The oldest burst is packed: its last step is at ``time``."""
        self.parts.popleft()
        self._places.append(time + 1)
        self._split()

    def _split(self) -> None:
        while self._burst is not None or self._next_row():
            if self._burst is None or self._store is None or not self._places:
                return
            address, beats, size = self._burst
            self._left = max(self._left + 1, self._ready, self._places.popleft())
            ends, last = address + size == self._end, not self._store.rows
            self.parts.append(Part(self._left + RELAY, address, beats, size, ends, self._store, ends and last))
            self._burst = next(self._bursts, None)

    def _next_row(self) -> bool:
        """The next row of the job, or of the one after it, goes to the splitter; False if there is none."""
        time = self._left
        if self._store is None or not self._store.rows:
            self._store, self._waiting = self._waiting, None
            if self._store is None:
                return False
            time = max(time, self._store.taken + FIRST_ROW)
        store = self._store
        store.rows -= 1
        start = next(store.starts)
        self.begin(Row(time, store.row_bytes, store.job))
        self._end, self._ready = start + store.row_bytes, time + SPLIT
        self._bursts = bursts(start, store.row_bytes, self.machine.bus, self.most)
        self._burst = next(self._bursts)
        if not store.rows:
            self.free = time
            self.machine.at(time, self.progress)
        return True
