"""The command unit and the units' front ends in the timing model."""

from __future__ import annotations

from collections import deque
from math import floor

from dataflows import isa
from mapper.kernel import Process
from mapper.timing_machine import Machine, Word

FETCH_BEGIN = 3  # start to the first command request on the bus
FETCH_AGAIN = 3  # last word of a quarter of the fetch queue decoded, to the next request on the bus
DECODE = 3  # command beat on the bus to its first word at the decoder's output
QUEUE = 2  # through a queue
REQUESTS = 4  # parts of the fetch queue, each filled by one request


def decode(machine: Machine) -> Process:
    """Fetch the program, some requests ahead, and forward one word a cycle to the queue of its unit."""
    kernel, dram, words = machine.kernel, machine.dram, machine.order
    per_beat = machine.bus // 8
    most = max(16, 1024 // machine.bus) // REQUESTS  # beats per request
    chunk = most * per_beat
    requests: deque[float] = deque()  # when the first beat of each open request is there
    left, unread = -(-len(words) // chunk), -(-len(words) // per_beat)  # requests and beats to come
    forwarded = dict.fromkeys(isa.Unit, 0)
    time = ready = 0.0
    for index, entry in enumerate(words):
        if index % chunk == 0:
            wanted = REQUESTS if index == 0 else 1
            for i in range(min(wanted, left)):
                yield FETCH_BEGIN + i if index == 0 else time + FETCH_AGAIN
                beats = min(most, unread)
                first, last = dram.serve(beats, kernel.now)
                requests.append(max(dram.read_end + 1, first + dram.latency))
                dram.read_end = max(dram.read_end + beats, last + dram.latency)
                unread -= beats
            left -= wanted
            ready = requests.popleft()
        beat = floor(index % chunk // per_beat * max(dram.cost, 1))
        time = max(time + 1, ready + beat + DECODE)
        if entry is None:
            continue
        unit, word = entry
        while forwarded[unit] - machine.popped[unit] >= machine.cfg.control.queue_words:
            yield machine.room
            time = max(time, kernel.now + 1)
        if kernel.now < time:
            yield time
        word.time = time + QUEUE
        forwarded[unit] += 1
        machine.arrived.fire()


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
