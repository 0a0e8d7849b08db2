"""The write master in the timing model: addresses of complete bursts, their data, their responses, marks."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_bus import QUEUE
from mapper.timing_machine import Machine

ADDRESS = 1  # burst chosen, to its address on the bus
RESPONSE = 1  # response on the bus, to what it ends
AFTER_READS = 0.5  # of the addresses in a cycle the read is served first


class Burst(NamedTuple):
    """A burst whose last beat enters the data queue at ``time``; the job it ends, if any, and when that was taken."""

    time: int
    beats: int
    job: Job | None = None
    taken: int = 0
    record: bool = False


class WriteMaster:
    """Sends bursts as they are complete; :meth:`run` is its process.

    Attributes
    ----------
    wake : Signal
        Something has happened to a burst.
    open : int
        Jobs that are taken, and whose responses (and records) have not all come.
    records : deque of cycles
        When records of the mark table are there.
    """

    def __init__(self, machine: Machine):
        self.machine, bus = machine, machine.cfg.bus
        self.limit = bus.writes_in_flight
        self.wake, self._complete = Signal(machine.kernel), Signal(machine.kernel)
        self.open = 0
        self.records: deque[int] = deque()
        self._room = 2 * bus.max_write_burst + 2  # beats of the data queue
        self._leaving: deque[int] = deque()  # when beats leave it that make room
        self._bursts: deque[Burst] = deque()  # no address yet
        self._marked: deque[Burst] = deque()  # those of them that end marked jobs
        self._response = -1  # the last one

    def room(self) -> int | None:
        """When the next beat can enter the data queue; None if that is not known."""
        if self._room:
            self._room -= 1
            return 0
        return self._leaving.popleft() + 1 if self._leaving else None

    def send(self, burst: Burst) -> None:
        """A burst is complete."""
        self._bursts.append(burst)
        if burst.job is not None and burst.job.mark:
            self._marked.append(burst)
        self._complete.fire()

    def record_unknown(self, time: int) -> bool:
        """Whether a record may be there at ``time`` of which nothing is known; ``wake`` fires when that changes."""
        if not self._marked:
            return False
        burst = self._marked[0]
        after = ADDRESS + burst.beats + self.machine.dram.latency + RESPONSE + QUEUE  # burst chosen, to its record
        if max(burst.time + QUEUE, self.machine.kernel.cycle) + after > time:
            return False
        self.machine.at(time - after + 1, self.wake)
        return True

    def run(self) -> Process:
        """One burst after the other."""
        dram, bursts = self.machine.dram, self._bursts
        in_flight: deque[int] = deque()  # responses to the latest bursts
        chosen = data = -1
        while True:
            while not bursts:
                yield self._complete
            burst = bursts[0]
            chosen = max(chosen + 1, burst.time + QUEUE)
            if len(in_flight) == self.limit:
                chosen = max(chosen, in_flight.popleft() + 1)
            yield chosen + AFTER_READS
            bursts.popleft()
            times = dram.write(burst.beats, max(chosen + ADDRESS, data) + 1)
            data = times[-1]
            self._leaving.extend(times)
            self._response = max(data + dram.latency, self._response + 1)
            in_flight.append(self._response)
            self._respond(burst, self._response)
            self.wake.fire()

    def _respond(self, burst: Burst, time: int) -> None:
        """The response to a burst comes at ``time``."""
        job, machine = burst.job, self.machine
        if job is not None and job.mark:
            machine.result.layer_end[job.layer] = time
        time += RESPONSE
        if job is not None:
            machine.give(job, burst.taken, time + 1)
            if job.mark:
                self._marked.popleft()
                self.records.append(time + QUEUE)
                machine.at(time + QUEUE, self.wake)
        if burst.record or (job is not None and not job.mark):

            def closed() -> Process:
                self.open -= 1
                machine.progress[isa.Unit.STORE].fire()
                return
                yield

            machine.idle = max(machine.idle, time + 1)
            machine.kernel.schedule(time + 1, closed())
