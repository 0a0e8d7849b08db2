"""The command unit and the units' front ends in the timing model."""

from __future__ import annotations

from collections import deque
from math import floor

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.timing_machine import Machine, Word

FETCH_BEGIN = 3  # start to the first command request on the bus
FETCH_AGAIN = 3  # last word of a quarter of the fetch queue decoded, to the next request on the bus
DECODE = 3  # command beat on the bus to its first word at the decoder's output
QUEUE = 2  # through a queue
REQUESTS = 4  # parts of the fetch queue, each filled by one request


class Fetch:
    """Program words on their way: requests of a quarter of the fetch queue, each made when its quarter is empty."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.per_beat = machine.bus // 8
        self.most = max(16, 1024 // machine.bus) // REQUESTS  # beats per request
        self.chunk = self.most * self.per_beat
        self.unread = -(-len(machine.order) // self.per_beat)  # beats not requested
        self.ready: deque[float] = deque()  # when the first beat of each request is there
        self.answered = Signal(machine.kernel)
        for i in range(REQUESTS):
            self.request(FETCH_BEGIN + i)

    def request(self, time: float) -> None:
        """Ask for the next beats at ``time``."""

        def ask() -> Process:
            yield time
            beats = min(self.most, self.unread)
            if beats:
                self.unread -= beats
                dram = self.machine.dram
                first, last = dram.serve(beats, self.machine.kernel.now)
                self.ready.append(max(dram.read_end + 1, first + dram.latency))
                dram.read_end = max(dram.read_end + beats, last + dram.latency)
                self.answered.fire()

        self.machine.kernel.schedule(self.machine.kernel.now, ask())

    def empties(self, index: int) -> bool:
        """Whether a quarter of the queue is empty after word ``index``; a beat of several words leaves it early."""
        held = self.per_beat if self.per_beat > 1 else 0
        return (index + 1 + held) % self.chunk == 0


def decode(machine: Machine) -> Process:
    """Forward one word a cycle to the queue of its unit."""
    kernel, fetch = machine.kernel, Fetch(machine)
    forwarded = dict.fromkeys(isa.Unit, 0)
    time = ready = 0.0
    for index, entry in enumerate(machine.order):
        if index % fetch.chunk == 0:
            while not fetch.ready:
                yield fetch.answered
            ready = fetch.ready.popleft()
        beat = floor(index % fetch.chunk // fetch.per_beat * max(machine.dram.cost, 1))
        time = max(time + 1, ready + beat + DECODE)
        if entry is not None:
            unit, word = entry
            while forwarded[unit] - machine.popped[unit] >= machine.cfg.control.queue_words:
                yield machine.room
                time = max(time, kernel.now + 1)
            if kernel.now < time:
                yield time
            word.time = time + QUEUE
            forwarded[unit] += 1
            machine.arrived.fire()
        if fetch.empties(index):
            fetch.request(max(time, kernel.now) + FETCH_AGAIN)


def front(machine: Machine, unit: isa.Unit) -> Process:
    """A unit's front end: goes through its words, and hands each job to the engine when that can take it."""
    for word in machine.words[unit]:
        yield from _pop(machine, unit, word)
        if word.job is not None:
            machine.opened[unit].append((word.job, machine.kernel.now))
            machine.progress.fire()
        yield machine.kernel.now + 1


def _pop(machine: Machine, unit: isa.Unit, word: Word) -> Process:
    """Until a word has arrived, its tokens are there and the engine takes its job; takes tokens and word."""
    while word.time is None:
        yield machine.arrived
    if word.time > machine.kernel.now:
        yield word.time
    while any(machine.semaphores[s] < n for s, n in word.waits):
        yield machine.tokens
    if word.job is not None:
        while not machine.ready(unit, word.job):
            yield machine.progress
        machine.take(unit, word.job)
    for s, n in word.waits:
        machine.semaphores[s] -= n
    machine.popped[unit] += 1
    machine.room.fire()
