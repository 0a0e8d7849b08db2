"""The command unit and the units' front ends in the timing model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
SKIPPED = 1  # START that is skipped, or tokens of the job before, to its tokens; these, to the next word
RELAYED = 2  # words in a relay
REQUESTS = 4  # parts of the fetch queue, each filled by one request


class Fetch:
    """Program words on their way: requests of a quarter of the fetch queue, each made when its quarter is empty.

    Attributes
    ----------
    taken : list of int
        When beats so far went from the fetch queue into the register behind it.
    answered : Signal
        There are more beats.
    check : callable
        Words can go on: called before ``answered`` is fired.
    """

    def __init__(self, machine: Machine, reads: ReadMaster, check: Callable[[], None]):
        self.machine, self.reads, self.check = machine, reads, check
        self.per_beat = machine.bus // 8
        self.chunk = max(16, 1024 // machine.bus) // REQUESTS  # beats per request
        self.unread = -(-len(machine.order) // self.per_beat)  # beats not requested
        self.address = 0
        self.taken: list[int] = []
        self._beats: list[int] = []  # when they are at the output of the queue
        self._empty: int | None = -1  # from when on the register takes a beat, if that is known
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
        self._beats.extend(time + QUEUE for time in times)
        self._take()
        self.check()
        self.answered.fire()

    def empty(self, time: int) -> None:
        """The last word of a beat leaves the register, which takes the next beat."""
        self._empty = time
        self._take()

    def _take(self) -> None:
        number = len(self.taken)
        if self._empty is None or number == len(self._beats):
            return
        self.taken.append(max(self._beats[number], self._empty))
        self._empty = None
        if (number + 1) % self.chunk == 0:
            self.machine.kernel.schedule(self.taken[-1] + 1 + REQUEST, self._ask())


class Decoder:
    """Forwards one word a cycle to the queue of its unit; :meth:`run` is its process.

    A word that waits for room in a queue does not hold up at once what is behind it, so that is worked out as soon as
    it is known, by :meth:`check`.
    """

    def __init__(self, machine: Machine, reads: ReadMaster, fronts: Mapping[isa.Unit, FrontEnd]):
        self.machine, self.fronts = machine, fronts
        self._fetch = Fetch(machine, reads, self.check)
        self._checked: list[int] = []  # when words went into the relay behind the check
        self._left: list[int] = []  # when they left it

    def check(self) -> None:
        """Words go into the relay, which holds two, as far as it is known when."""
        checked, left, taken, per_beat = self._checked, self._left, self._fetch.taken, self._fetch.per_beat
        for number in range(len(checked), min(len(left) + RELAYED, len(self.machine.order))):
            beat, place = divmod(number, per_beat)
            if beat == len(taken):
                return
            time = max(checked[-1] + 1 if number else 0, left[number - RELAYED] + 1 if number >= RELAYED else 0)
            checked.append(max(time, taken[beat] + 1))
            if place == per_beat - 1:
                self._fetch.empty(checked[-1])

    def run(self) -> Process:
        """All words."""
        machine, depth = self.machine, self.machine.cfg.control.queue_words
        sent = dict.fromkeys(machine.words, 0)
        time, cause = -1, Cause(0, None)
        for index, entry in enumerate(machine.order):
            while len(self._checked) == index:
                yield self._fetch.answered
            before, time = time, max(self._checked[index] + CHECK, time + 1)
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
                self.fronts[unit].pop()
            self._left.append(time)
            self.check()
        machine.idle = max(machine.idle, time + 1)


class FrontEnd:
    """A unit's front end; :meth:`run` is its process.

    Attributes
    ----------
    ended : bool
        All words are executed, and the engine has all jobs.
    """

    def __init__(self, machine: Machine, unit: isa.Unit):
        self.machine, self.unit = machine, unit
        self.ended = False
        self._executed: list[int] = []
        self._latest: int | None = None  # the last job that the engine took
        self._decisions = 0  # that are used up

    def pop(self) -> None:
        """Words go from the queue into the relay at the head, which holds two, as far as it is known when."""
        machine, executed = self.machine, self._executed
        words, popped = machine.words[self.unit], machine.popped[self.unit]
        for number in range(len(popped), min(len(executed) + RELAYED, len(words))):
            time = words[number].time
            if time is None:
                break
            if number:
                time = max(time, popped[-1] + 1)
            if number >= RELAYED:
                time = max(time, executed[number - RELAYED] + 1)
            popped.append(time)
            machine.begun[self.unit].append(self._latest)
            machine.room[self.unit].fire()
            machine.arrived[self.unit].fire()

    def _execute(self, time: int) -> None:
        """The next word is executed."""
        self._executed.append(time)
        self.pop()

    def run(self) -> Process:
        """Go through the words, and hand each job to the engine when that can take it."""
        machine, unit = self.machine, self.unit
        kernel, popped, engine = machine.kernel, machine.popped[unit], machine.engines[unit]
        left = free = -1  # when the word before was executed, and from when on the next may be
        cause = Cause(0, None)
        for number, word in enumerate(machine.words[unit]):
            while word.time is None or len(popped) == number:
                yield machine.arrived[unit]
            if word.time + HEAD > max(left + 1, free):
                cause = word.cause
            left = max(popped[number] + HEAD, left + 1, free)
            if word.job is None and not word.waits:
                self._execute(left)
                continue
            if left > kernel.now:
                yield left
            while any(machine.semaphores[s] < n for s, n in word.waits):
                yield machine.tokens[unit]
                cause = Cause(kernel.cycle, machine.given[unit])
            decision = None
            if word.job is not None and word.job.predicated:
                while len(machine.decisions) == self._decisions:
                    yield machine.decided
                decision = machine.decisions[self._decisions]
                if decision.time > kernel.now:
                    yield decision.time
                    cause = Cause(decision.time, decision.job)
                self._decisions += word.job.last
            for s, n in word.waits:
                machine.semaphores[s] -= n
            left = kernel.cycle
            if word.job is None:
                left += LOOK
                free = left + SETTLED
                self._execute(left)
                continue
            self._execute(left)
            if decision is not None and not decision.execute:
                while machine.undone[unit]:
                    yield machine.finished[unit]
                time = max(left + SKIPPED, kernel.cycle)
                machine.tell(word.job, decision.job, time)
                free = time + SKIPPED
                machine.idle = max(machine.idle, free)
                continue
            yield left + OFFER
            while not engine.accepts(word.job):
                yield machine.progress[unit]
                cause = Cause(kernel.cycle, self._latest)
            self._latest, free = word.job.index, kernel.cycle + 1
            machine.causes[self._latest] = cause
            machine.undone[unit] += 1
            engine.take(word.job)
        self.ended = True
