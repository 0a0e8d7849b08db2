"""Jobs on the bus: the rows of a job, the bursts of a row, and the DRAM that serves them in order."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, prod

from mapper.loads import ROWS
from mapper.nests import addresses
from mapper.program import Job

PAGE = 4096
"""No burst crosses a multiple of this address (AXI4)."""


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
        self.latency = latency
        self.cost = bus / bytes_per_cycle  # cycles per beat
        self.free = 0.0  # when another beat can be served
        self.read_end = 0.0  # last beat on the read channel

    def serve(self, beats: int, earliest: float) -> tuple[int, int]:
        """Append a burst; returns the cycles in which its first and its last beat are served."""
        start = max(self.free, earliest)
        self.free = start + beats * self.cost
        return floor(start), floor(start + (beats - 1) * self.cost)
