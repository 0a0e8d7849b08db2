"""A small discrete-event kernel: processes are generators that yield a time to resume at, or a signal to wait for."""

from __future__ import annotations

import heapq
from collections.abc import Generator

Process = Generator["float | Signal", None, None]


class Signal:
    """Something processes wait for; firing resumes all of them, who then look whether it was for them."""

    def __init__(self, kernel: Kernel):
        self._kernel = kernel
        self._waiting: list[Process] = []

    def fire(self) -> None:
        """Resume everyone who waits, at the present time."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for process in waiting:
                self._kernel.schedule(self._kernel.now, process)

    def add(self, process: Process) -> None:
        """Let a process wait."""
        self._waiting.append(process)


class Kernel:
    """Runs processes in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Process]] = []
        self._count = 0

    @property
    def cycle(self) -> int:
        """The present cycle."""
        return int(self.now)

    def schedule(self, time: float, process: Process) -> None:
        """Resume ``process`` at ``time``."""
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, process))

    def run(self) -> None:
        """Until nothing is left to do."""
        heap = self._heap
        while heap:
            self.now, _, process = heapq.heappop(heap)
            for wanted in process:
                if isinstance(wanted, Signal):
                    wanted.add(process)
                    break
                if heap and heap[0][0] <= wanted:
                    self.schedule(max(wanted, self.now), process)
                    break
                # Nobody else is due before: the process goes on without a detour through the heap.
                if wanted > self.now:
                    self.now = wanted
