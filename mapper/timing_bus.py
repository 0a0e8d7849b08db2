"""Jobs on the bus: the rows of a job, the bursts of a row, and the DRAM that serves them in order."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import prod

from mapper.loads import ROWS
from mapper.nests import addresses
from mapper.program import Job

PAGE = 4096
"""No burst crosses a multiple of this address (AXI4)."""

QUEUE = 2
"""Cycles through a queue."""


def iterations(job: Job, levels: tuple[str, ...]) -> int:
    """How often the innermost of some loop levels runs."""
    return prod(job.registers[name]["count"] for name in levels)


def row_starts(job: Job, base: int) -> Iterator[int]:
    """Byte addresses of a LOAD or STORE job's rows in order, ``base`` the first."""
    return addresses(job.registers, ROWS, base)


def bursts(start: int, size: int, bus: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Bursts of a row of ``size`` bytes from address ``start``, as (address, beats, bytes).

    ``bus`` is bytes per beat, ``most`` beats per burst; a burst also ends where a page ends.
    """
    while size > 0:
        part = min(size, most * bus - start % bus, PAGE - start % PAGE)
        yield start, (start + part - 1) // bus - start // bus + 1, part
        start, size = start + part, size - part


def pieces(position: int, size: int, segment: int, offset: int, bus: int) -> int:
    """Writes to an on-chip memory for one burst: its bytes are cut at beats and at segments.

    The burst carries ``size`` bytes from ``position`` of the job's byte stream; its first byte is byte ``offset`` of
    its beat. ``segment`` is the length of all segments, ``bus`` that of a beat, in bytes.
    """
    beats = (offset + size - 1) // bus + 1
    if segment % bus == 0 and (offset - position) % bus == 0:
        return beats  # all segment borders are beat borders
    first, last = position // segment + 1, (position + size - 1) // segment
    return beats + sum((offset + k * segment - position) % bus != 0 for k in range(first, last + 1))


class Dram:
    """A memory of fixed latency and bandwidth that serves whole bursts in the order of their addresses.

    A beat takes ``bus / bytes_per_cycle`` cycles of its time; time not used is not saved up. All in integers: a beat
    costs ``cost`` parts of a cycle of ``rate`` parts.

    Parameters
    ----------
    bus : int
        Bytes per beat.
    latency : int
        Cycles from an address to its first data, and from the last write data to the response.
    bytes_per_cycle : float
        Bandwidth of reads and writes together.
    """

    def __init__(self, bus: int, latency: int, bytes_per_cycle: float):
        exact = Fraction(bytes_per_cycle).limit_denominator(1 << 16)
        self.latency = latency
        self.rate, self.cost = exact.numerator, bus * exact.denominator
        self.slow = self.cost >= self.rate  # at most a beat per cycle
        self._free = 0  # when the next beat can be served, in parts

    def read(self, beats: int, address: int) -> int:
        """Append a read burst whose address is taken in cycle ``address``; returns its start, in parts of a cycle.

        Its beat i can be taken from cycle :meth:`offered` (start, i) on.
        """
        start = max(self._free, address * self.rate)
        self._free = start + beats * self.cost
        return start

    def offered(self, start: int, beat: int) -> int:
        """Cycle in which a beat of a read burst is on the bus, if the ones before have been taken."""
        return (start + beat * self.cost) // self.rate + self.latency

    def write(self, beats: int, earliest: int) -> list[int] | range:
        """Append a write burst that may begin in cycle ``earliest``; returns the cycles of its beats.

        All its data is there; at most one beat per cycle.
        """
        rate, cost = self.rate, self.cost
        first = max(earliest, self._free // rate)
        start = max(self._free, first * rate)
        if not self.slow:
            self._free = max(start + beats * cost, (first + beats - 1) * rate + cost)
            return range(first, first + beats)
        self._free = start + beats * cost
        if cost == rate:
            return range(first, first + beats)
        return [(start + i * cost) // rate for i in range(beats)]
