"""The turner in the timing model: accumulators that hold pixels of one channel, on their way to the lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

Pixels = Iterator[tuple[int, bool]]
"""When each leaves, and whether it is wanted."""


class Turner:
    """Blocks of ``lanes`` reads become as many pixels, wanted or not.

    Pixels of a block leave one per cycle until the next block begins, then one with each of its reads.

    Attributes
    ----------
    next : int
        When the next pixel leaves, if no block begins before.
    last : int
        When the last one left.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.next, self.last = 0, -1
        self._came = 0  # reads of the block that comes
        self._pixels: deque[bool] = deque()  # those inside of the block that leaves: wanted?

    @property
    def alone(self) -> bool:
        """Whether pixels leave by themselves."""
        return bool(self._pixels) and not self._came

    def settle(self, time: int) -> Pixels:
        """Pixels that leave up to ``time`` by themselves."""
        while self.alone and self.next <= time:
            self.last = self.next
            yield self.next, self._pixels.popleft()
            self.next += 1

    def read(self, time: int, wanted: range) -> Pixels:
        """A read at ``time`` of a block of which some pixels are ``wanted``; the pixels that have left by then."""
        if not self._came:
            yield from self.settle(time)
        elif self._pixels:
            self.last = time
            yield time, self._pixels.popleft()
        self._came += 1
        if self._came == self.lanes:
            self._came, self.next = 0, time + 1
            self._pixels = deque(pixel in wanted for pixel in range(self.lanes))
