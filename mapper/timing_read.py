"""The read master in the timing model: bursts of program and LOAD, in order, a limited number of them in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from mapper.kernel import Process, Signal
from mapper.timing_bus import bursts
from mapper.timing_machine import Machine

ADDRESS = 1  # burst chosen, to its address on the bus
SPLIT = 1  # row, to its first burst


class Reader(Protocol):
    """Who reads: LOAD."""

    ready: int | None
    """When the next burst can be chosen; None if there is none."""

    def issue(self) -> int:
        """Its burst is chosen in this cycle; returns the cycle in which its last beat is taken."""


class ReadMaster:
    """Chooses a burst per cycle, the program's first; :meth:`run` is its process.

    Attributes
    ----------
    work : Signal
        There may be another burst.
    gate, left : int
        First cycle in which the next beat can be taken; when the last one leaves the relay.
    load : Reader
    commands : callable
        Told the cycles in which the beats of a burst of the program leave the relay.
    """

    def __init__(self, machine: Machine):
        self.machine, bus = machine, machine.cfg.bus
        self.most, self.limit = bus.max_read_burst, bus.reads_in_flight
        self.in_flight: deque[int] = deque()  # last beats of the latest bursts
        self.work = Signal(machine.kernel)
        self.gate = self.left = 0
        self.load: Reader | None = None
        self.commands: Callable[[list[int]], None] = lambda times: None
        self._requests: deque[tuple[int, int]] = deque()
        self._bursts: Iterator[tuple[int, int, int]] = iter(())
        self._beats = 0  # of the command burst to be chosen next; 0: there is none
        self._ready = 0  # when it can be chosen

    def request(self, address: int, size: int) -> None:
        """Part of a program, asked for in this cycle."""
        self._requests.append((address, size))
        if not self._beats:
            self._next_request()
        self.work.fire()

    def _next_request(self) -> None:
        address, size = self._requests.popleft()
        self._bursts = bursts(address, size, self.machine.bus, self.most)
        self._next_burst()

    def _next_burst(self) -> None:
        self._ready = self.machine.kernel.cycle + SPLIT
        self._beats = next(self._bursts, (0, 0, 0))[1]
        if not self._beats and self._requests:
            self._next_request()

    def run(self) -> Process:
        """One burst after the other."""
        kernel, load, in_flight = self.machine.kernel, self.load, self.in_flight
        if load is None:
            raise ValueError("a read master needs its rows")
        earliest = 0
        while True:
            if len(in_flight) == self.limit:
                earliest = max(earliest, in_flight.popleft() + 1)
            if earliest > kernel.now:
                yield earliest
            while True:
                now = kernel.cycle
                if self._beats and self._ready <= now:
                    in_flight.append(self._command())
                    break
                if load.ready is not None and load.ready <= now:
                    in_flight.append(load.issue())
                    break
                if self._beats or load.ready is not None:
                    yield now + 1
                else:
                    yield self.work
            earliest = now + 1

    def _command(self) -> int:
        """The burst of the program that is chosen in this cycle; returns the cycle of its last beat."""
        dram, beats, times = self.machine.dram, self._beats, []
        start = dram.read(beats, self.machine.kernel.cycle + ADDRESS)
        for beat in range(beats):
            taken = max(self.gate, dram.offered(start, beat))
            self.gate = max(taken, self.left) + 1
            self.left = self.gate
            times.append(self.left)
        self._next_burst()
        self.commands(times)
        return taken
