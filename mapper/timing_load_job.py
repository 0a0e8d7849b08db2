"""A LOAD job in the timing model: the rows that it asks for, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dataflows import isa
from mapper.loads import ROWS, SEGMENTS
from mapper.program import Job
from mapper.timing_bus import iterations, row_starts
from mapper.timing_gather import Lists, gathered

FIRST_ROW = 1  # job taken, to its first row
START = 9  # gathered job taken, to the first address by its list; then one per cycle


def fills(job: Job) -> bool:
    """Whether a LOAD job makes its own bytes."""
    return bool(job.registers["destination"].get("fill"))


def writes_list(job: Job) -> bool:
    """Whether a LOAD job writes to the lists."""
    return bool(job.registers["destination"].get("target") == isa.Target.INDEX)


class LoadJob:
    """A job on its way: what the address side has yet to ask for, and what the data side has yet to write.

    Attributes
    ----------
    taken : int
    segment, segments : int
        Bytes and number of segments; the last one begins at byte ``last`` of the job.
    halves : bool
        Each byte that is read becomes two that are written.
    position : int
        Bytes to be written of those that are asked for.
    operands : bool
        They go to the operand buffer.
    rows : int
        Rows that are not asked for, of the present nest.
    nests : deque
        Addresses of the rows of the nests behind that; only a gathered job has several, one for each index.
    earliest : int
        When the first row of the nest can go to the splitter.
    """

    def __init__(self, job: Job, taken: int, lists: Lists):
        self.job, self.taken = job, taken
        self.segment = job.registers["segment"]["bytes"]
        self.segments = iterations(job, SEGMENTS[:-1]) * lists.limited(job, SEGMENTS[-1])["count"]
        self.last = self.segment * (self.segments - 1)
        self.position = self.beats = 0
        self.halves = bool(job.registers.get("gather", {}).get("nibbles"))
        self.operands = job.registers["destination"].get("target") == isa.Target.OPERAND
        if not fills(job):
            self.row_bytes, self.earliest = job.registers["row"]["bytes"], taken + FIRST_ROW
            self.rows = self._per_nest = iterations(job, ROWS)
            self.nests: deque[Iterator[int]] = deque()
            if gathered(job):
                self.rows = self._per_nest = iterations(job, ROWS[:-1])
                self.nests.extend(lists.starts(job))
                self._listed = taken + START
            else:
                self.starts = row_starts(job, job.registers["source"]["address"])

    def parts(self, offset: int, size: int, bus: int) -> Iterator[int]:
        """Bytes of a beat that are written, one beat after the other; ``size`` of it are there from ``offset`` on."""
        if not self.halves:
            yield size
            return
        lower = max(0, min(bus, 2 * (offset + size)) - 2 * offset)
        yield from (part for part in (lower, 2 * size - lower) if part)

    def next_nest(self, free: int) -> int:
        """Rows by the next index follow, when the address generator is ``free``; returns when it takes them."""
        time = max(free, self._listed)
        self._listed += 1
        self.rows, self.starts, self.earliest = self._per_nest, self.nests.popleft(), time + FIRST_ROW
        return time
