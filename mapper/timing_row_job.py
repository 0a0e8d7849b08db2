"""Jobs of the row engine in the timing model, and the room that its words and rows take."""

from __future__ import annotations

from collections import deque

from dataflows.isa import Rows
from mapper.program import Job


def alone(job: Job) -> bool:
    """Whether a job of ROWS has the engine alone: it selects, or packs."""
    return bool(job.registers["mode"]["kind"] >= Rows.SELECT_TOKENS)


def packs(job: Job) -> bool:
    """Whether a job of ROWS packs rows."""
    return bool(job.registers["mode"]["kind"] == Rows.PACK)


def searches(job: Job) -> bool:
    """Whether the row of a job of ROWS is a query that searches."""
    return bool(job.registers["mode"]["kind"] == Rows.SEARCH)


class Room:
    """Places of which each is taken, and free again in the cycle after something."""

    def __init__(self, places: int):
        self.places = places
        self._freed: deque[int] = deque()

    def __bool__(self) -> bool:
        """Whether it is known when the next place is free."""
        return bool(self.places or self._freed)

    def take(self) -> int:
        """The next place is taken; returns from when on it is free."""
        if self.places:
            self.places -= 1
            return 0
        return self._freed.popleft() + 1

    def free(self, time: int) -> None:
        """A place is given back at ``time``."""
        self._freed.append(time)


class RowJob:
    """A job that has been taken: what has to be collected, emitted, and to leave.

    Attributes
    ----------
    bytes, transfers : (int, int)
        Of a word, and of the last word of a row: bytes, and how often VECTOR brings a part of it.
    begun : int or None
        When it was, if that is known.
    coming, earliest : int
        Parts of the next word that have not come, once there is room for it, and from when on there is.
    scaled : int
        When its last row scale is there, and its decision is taken.
    """

    def __init__(self, job: Job, taken: int, lanes: int):
        self.job, self.taken = job, taken
        mode = job.registers["mode"]
        self.softmax = mode["kind"] == Rows.SOFTMAX
        self.decides = self.softmax and bool(mode.get("decide"))
        self.blocks, self.bytes = mode["blocks"], (lanes, mode["tail"])
        self.transfers = self.bytes if mode.get("column") else (1, 1)
        words = self.blocks * job.registers["count"]["rows"]
        self.uncollected = self.unread = self.unsent = words
        self.begun: int | None = None
        self.scaled = self.coming = self.earliest = 0

    def last(self, left: int) -> bool:
        """Whether the next word is the last of its row, where so many are left of the job."""
        return self.blocks == 1 or left % self.blocks == 1
