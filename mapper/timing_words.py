"""Where the words of STORE come from in the timing model: VECTOR, or row by row it or the row engine."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from mapper.kernel import Signal
from mapper.program import Job
from mapper.timing_row_engine import RowEngine
from mapper.timing_vector import Lanes
from mapper.timing_vector_job import of_rows

KNOWN = 1  # row to the splitter, to its first word


class Row(NamedTuple):
    """A row of DRAM that goes to the splitter at ``time``."""

    time: int
    size: int
    job: Job


class Words:
    """Words for STORE, in order.

    Parameters
    ----------
    lanes : Lanes
    engine : RowEngine or None
    wake : Signal
        Fired when there may be more words.
    """

    def __init__(self, lanes: Lanes, engine: RowEngine | None, wake: Signal):
        self.lanes, self.engine = lanes, engine
        lanes.wake = wake
        if engine:
            engine.wake = wake
        self._rows: deque[Row] = deque()  # their words are not all taken
        self._taken = 0  # bytes of the first one that are

    def begin(self, row: Row) -> None:
        """A row goes to the splitter. Where there are two sources, its words are taken only then."""
        if self.engine:
            self._rows.append(row)

    def read(self) -> None:
        """Find out about more words, as far as they follow from what is known."""
        if self.engine:
            self.engine.work()
        else:
            self.lanes.read()

    def _source(self) -> Lanes | RowEngine:
        return self.engine if self.engine and of_rows(self._rows[0].job) else self.lanes

    def offered(self) -> int | None:
        """From when on the next word can be taken, if that is known."""
        if not self.engine:
            return self.lanes.offered()
        if not self._rows:
            return None
        offered = self._source().offered()
        return None if offered is None else max(offered, self._rows[0].time + KNOWN)

    def next_word(self) -> tuple[int, int]:
        """Bytes of the next word, and its job."""
        size, job = self._source().next_word()
        self._taken += size
        return size, job

    def pop(self, time: int) -> None:
        """The next word is taken at ``time``."""
        self._source().pop(time)
        if not self.engine:
            return
        if self._taken == self._rows[0].size:
            self._taken = 0
            self._rows.popleft()
        self.engine.work()
