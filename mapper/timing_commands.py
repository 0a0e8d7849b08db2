"""The command unit and the units' front ends in the timing model."""

from __future__ import annotations

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.timing_bus import QUEUE
from mapper.timing_machine import Cause, Machine
from mapper.timing_read import ReadMaster

BEAT = 1 + QUEUE  # command beat on the bus, to the output of its queue
REQUESTS = 4  # parts of the fetch queue, each filled by one request


class Fetch:
    """Program words on their way: requests of a quarter of the fetch queue, each made when its quarter is empty.

    ``beats`` are the cycles in which the beats so far are at the output of the fetch queue.
    """

    def __init__(self, machine: Machine, reads: ReadMaster):
        self.machine, self.reads = machine, reads
        self.per_beat = machine.bus // 8
        self.chunk = max(16, 1024 // machine.bus) // REQUESTS  # beats per request
        self.unread = -(-len(machine.order) // self.per_beat)  # beats not requested
        self.address = self.taken = 0
        self.beats: list[int] = []
        self.answered = Signal(machine.kernel)
        reads.commands = self._answer
        for _ in range(REQUESTS):
            machine.kernel.schedule(0, self._ask())

    def _ask(self) -> Process:
        """Ask for the next beats, now."""
        beats = min(self.chunk, self.unread)
        if beats:
            self.unread -= beats
            self.reads.request(self.address, beats * self.machine.bus)
            self.address += beats * self.machine.bus
        return
        yield

    def _answer(self, times: list[int]) -> None:
        """Beats on the bus at ``times``."""
        self.beats.extend(time + BEAT for time in times)
        self.answered.fire()

    def take(self, time: int) -> None:
        """A beat leaves the queue."""
        self.taken += 1
        if self.taken % self.chunk == 0:
            self.machine.kernel.schedule(time + 1, self._ask())


def decode(machine: Machine, reads: ReadMaster) -> Process:
    """Forward one word a cycle to the queue of its unit."""
    fetch, depth = Fetch(machine, reads), machine.cfg.control.queue_words
    sent = dict.fromkeys(machine.words, 0)
    time, cause = -1, Cause(0, None)
    for index, entry in enumerate(machine.order):
        beat, place = divmod(index, fetch.per_beat)
        before, time = time, time + 1
        if place == 0:
            while beat >= len(fetch.beats):
                yield fetch.answered
            if fetch.per_beat == 1:
                time = max(time, fetch.beats[beat])
            else:  # into the register that holds the words of a beat, with the last word of the one before
                out = max(fetch.beats[beat], before)
                fetch.take(out)
                time = max(time, out + 1)
            if time > before + 1:
                cause = Cause(time, None)
        if entry is not None:
            unit, word = entry
            if sent[unit] >= depth:
                popped = machine.popped[unit]
                while len(popped) <= sent[unit] - depth:
                    yield machine.room[unit]
                if popped[sent[unit] - depth] >= time:
                    time = popped[sent[unit] - depth] + 1
                    cause = Cause(time, machine.begun[unit][sent[unit] - depth])
            sent[unit] += 1
            word.time, word.cause = time + QUEUE, cause
            machine.arrived[unit].fire()
        if fetch.per_beat == 1:
            fetch.take(time)
    machine.idle = max(machine.idle, time + 1)


def front(machine: Machine, unit: isa.Unit) -> Process:
    """A unit's front end: goes through its words, and hands each job to the engine when that can take it."""
    kernel, popped, engine = machine.kernel, machine.popped[unit], machine.engines[unit]
    time, cause, latest = -1, Cause(0, None), None
    for word in machine.words[unit]:
        while word.time is None:
            yield machine.arrived[unit]
        time += 1
        if word.time > time:
            time, cause = word.time, word.cause
        if word.job is not None or word.waits:
            if time > kernel.now:
                yield time
            while any(machine.semaphores[s] < n for s, n in word.waits):
                yield machine.tokens[unit]
                cause = Cause(kernel.cycle, machine.given[unit])
            while word.job is not None and not engine.accepts(word.job):
                yield machine.progress[unit]
                cause = Cause(kernel.cycle, latest)
            time = kernel.cycle
            for s, n in word.waits:
                machine.semaphores[s] -= n
        if word.job is not None:
            latest = word.job.index
            machine.causes[latest] = cause
        popped.append(time)
        machine.begun[unit].append(latest)
        machine.room[unit].fire()
        if word.job is not None:
            engine.take(word.job)
