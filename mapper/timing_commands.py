"""The command unit and the units' front ends in the timing model."""

from __future__ import annotations

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.timing_bus import QUEUE
from mapper.timing_machine import Cause, Machine
from mapper.timing_read import ReadMaster

REQUEST = 2  # start, or room for a request, to the request
CHECK = 1  # word out of the register that holds its beat, to its way into the queue of its unit
HEAD = 1  # word out of a queue, to its execution
OFFER = 1  # START with its tokens, to its job
LOOK = 1  # tokens there, to their WAIT
SETTLED = 2  # WAIT, to the next word
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
            machine.kernel.schedule(REQUEST, self._ask())

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
        self.beats.extend(time + QUEUE for time in times)
        self.answered.fire()

    def take(self, time: int) -> None:
        """A beat leaves the queue."""
        self.taken += 1
        if self.taken % self.chunk == 0:
            self.machine.kernel.schedule(time + 1 + REQUEST, self._ask())


def decode(machine: Machine, reads: ReadMaster) -> Process:
    """Forward one word a cycle to the queue of its unit."""
    fetch, depth = Fetch(machine, reads), machine.cfg.control.queue_words
    sent = dict.fromkeys(machine.words, 0)
    before = time = checked = -1
    cause = Cause(0, None)
    for index, entry in enumerate(machine.order):
        beat, place = divmod(index, fetch.per_beat)
        previous, checked = checked, max(checked + 1, before + 1)  # the relay behind the check holds two words
        before = time
        if place == 0:
            while beat >= len(fetch.beats):
                yield fetch.answered
            # Into the register that holds the words of a beat, with the last word of the one before.
            out = max(fetch.beats[beat], previous)
            fetch.take(out)
            checked = max(checked, out + 1)
        time = max(checked + CHECK, before + 1)
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
    machine.idle = max(machine.idle, time + 1)


def front(machine: Machine, unit: isa.Unit) -> Process:
    """A unit's front end: goes through its words, and hands each job to the engine when that can take it."""
    kernel, popped, engine = machine.kernel, machine.popped[unit], machine.engines[unit]
    taken = before = left = -1  # the word before out of the queue; the one before it, and itself, executed
    free = -1  # from when on the next may be executed
    cause, latest = Cause(0, None), None
    for word in machine.words[unit]:
        while word.time is None:
            yield machine.arrived[unit]
        taken = max(word.time, taken + 1, before + 1)  # the relay at the head holds two words
        popped.append(taken)
        machine.begun[unit].append(latest)
        machine.room[unit].fire()
        if word.time + HEAD > max(left + 1, free):
            cause = word.cause
        before, left = left, max(taken + HEAD, left + 1, free)
        if word.job is None and not word.waits:
            continue
        if left > kernel.now:
            yield left
        while any(machine.semaphores[s] < n for s, n in word.waits):
            yield machine.tokens[unit]
            cause = Cause(kernel.cycle, machine.given[unit])
        for s, n in word.waits:
            machine.semaphores[s] -= n
        left = kernel.cycle
        if word.job is None:
            left += LOOK
            free = left + SETTLED
            continue
        yield left + OFFER
        while not engine.accepts(word.job):
            yield machine.progress[unit]
            cause = Cause(kernel.cycle, latest)
        latest, free = word.job.index, kernel.cycle + 1
        machine.causes[latest] = cause
        engine.take(word.job)
