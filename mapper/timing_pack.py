"""Packed rows in the timing model: the zero eliminator, and jobs of kind PACK (``rtl/row_packer.py``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflows.top_k import prefix_latency
from mapper.program import Job
from mapper.timing_vector import Lanes

ENDED = 1  # last word out, to the tokens

STANDS = 8
"""Stretches without a move that are remembered: words come later than those before."""


@dataclass
class _Word:
    """A word of input on its way: from when on it can move, and how often it has to, to where it is complete."""

    at: int
    moves: int
    kept: int
    last: bool


@dataclass(frozen=True)
class Dense:
    """A word of output, there from ``time`` on; ``last`` of its run. ``rest``: the second one of its word of input."""

    time: int
    count: int
    last: bool
    rest: bool = False


class Eliminator:
    """``rtl/zero_eliminator.py``: nothing in it moves while a word of output waits.

    Attributes
    ----------
    o : deque of Dense
        Words of output that have not been taken, as far as they are known. Only the time of the first one is.
    entered : int or None
        When the last word has moved in, if that is known.
    """

    def __init__(self, lanes: int, begin: int):
        self.lanes, self.o = lanes, deque[Dense]()
        self.entered: int | None = begin
        self._stages = prefix_latency(lanes) + 1
        self._words = deque[_Word]()  # that are not complete
        self._stands = deque[tuple[int, int]](maxlen=STANDS)  # first and last cycles in which nothing moved
        self._waits: int | None = None  # from when on nothing moves, until a word is taken
        self._used = 0

    def enter(self, time: int, kept: int, *, last: bool) -> None:
        """A word of which so many elements are kept is there from ``time`` on."""
        self.entered = None
        self._words.append(_Word(time, self._stages, kept, last))
        self._advance()

    def take(self, time: int) -> None:
        """The next word of output is taken at ``time``."""
        word, waits = self.o.popleft(), self._waits
        if waits is None:
            raise ValueError("no word to take")
        end = time if word.rest else time - 1
        if end >= waits:
            self._stands.append((waits, end))
        self._waits = None
        if self.o:  # the rest of the same word of input, or what that kept from coming
            self._waits = time + 1
            self.o[0] = replace(self.o[0], time=time + 1)
        self._advance()

    def _move(self, earliest: int) -> int | None:
        """The first cycle from ``earliest`` on in which something moves, if that is known."""
        for first, end in self._stands:
            if first <= earliest <= end:
                earliest = end + 1
        return None if self._waits is not None and earliest >= self._waits else earliest

    def _advance(self) -> None:
        """All moves that are known."""
        for word in self._words:
            while word.moves and (time := self._move(word.at)) is not None:
                if word.moves == self._stages and word is self._words[-1]:
                    self.entered = time
                word.at, word.moves = time + 1, word.moves - 1
            if not word.moves:
                self._complete(word)
        while self._words and not self._words[0].moves:
            self._words.popleft()

    def _complete(self, word: _Word) -> None:
        """A word is behind what waits of the ones before; the end of a run may make two words."""
        end = self._used + word.kept
        self._used = 0 if word.last else end % self.lanes
        if end < self.lanes and not word.last:
            return
        self._waits = word.at
        whole = end <= self.lanes
        self.o.append(Dense(word.at, min(end, self.lanes), last=word.last and whole))
        if word.last and not whole:
            self.o.append(Dense(word.at, end - self.lanes, last=True, rest=True))


class Packing:
    """A job of kind PACK: words that VECTOR sends, and those that leave.

    Parameters
    ----------
    job : Job
    taken : int
    lanes : Lanes
        Where words come from.
    width : int
        Elements of a word.
    kept : sequence of int
        Elements that stay, by word of a row.

    Attributes
    ----------
    ended : int or None
        When its tokens are given, as soon as that is known.
    source : int
        The job that the last word came from.
    """

    ended: int | None = None

    def __init__(self, job: Job, taken: int, lanes: Lanes, width: int, kept: Sequence[int]):
        self.job, self.taken, self.lanes, self.width = job, taken, lanes, width
        self._eliminator = Eliminator(width, taken + 1)
        self._kept, self._rows = kept, job.registers["count"]["rows"]
        self._coming = self._rows * len(kept)
        self._left = self._count = job.registers["values"]["count"]  # elements that have yet to leave, of a row
        self._filling = False
        self._free = taken + 1  # when the next thing can happen at the output
        self.source = job.index

    def work(self) -> None:
        """Take words from VECTOR, as far as it is known when."""
        eliminator = self._eliminator
        while self._coming and eliminator.entered is not None:
            offered = self.lanes.offered(rows=True)
            if offered is None:
                break
            time = max(offered, eliminator.entered)
            self.source = self.lanes.jobs[0].job.index
            self.lanes.pop(time)
            block = -self._coming % len(self._kept)
            self._coming -= 1
            eliminator.enter(time + 1, self._kept[block], last=block == len(self._kept) - 1)
            self._drop()

    def _drop(self) -> None:
        """Words behind the last element of their row are thrown away."""
        words = self._eliminator.o
        while words and not (self._filling or self._left):
            time, last = max(words[0].time, self._free), words[0].last
            self._eliminator.take(time)
            self._free = time + 1
            if last:
                self._end(time)

    def offered(self) -> int | None:
        """From when on the next word is at the output, if that is known."""
        words = self._eliminator.o
        if self.ended is not None or not (self._filling or words):
            return None
        return self._free if self._filling else max(words[0].time, self._free)

    def next_bytes(self) -> int:
        """Bytes of the next word."""
        return min(self._left, self.width)

    def pop(self, time: int) -> None:
        """The next word is taken at ``time``."""
        last, final = self._filling, self._left <= self.width
        self._free, self._left = time + 1, 0 if final else self._left - self.width
        if not self._filling:
            last = self._eliminator.o[0].last
            self._eliminator.take(time)
        self._filling = last and not final
        if last and final:
            self._end(time)
        self._drop()

    def _end(self, time: int) -> None:
        """A row ends."""
        self._left = self._count
        self._rows -= 1
        if not self._rows:
            self.ended = time + ENDED
