"""The STORE unit in the timing model: words become beats, beats become bursts."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_machine import Machine
from mapper.timing_split import RELAY, RELAYED, Part, Splitter, pitch
from mapper.timing_words import Words
from mapper.timing_write import Burst, WriteMaster

JOBS = 32  # open jobs
PLACED = 2  # job with a pitch offered, to its address


class Packer:
    """Engine of STORE; :meth:`run` is the process that packs its words.

    A step takes a word, or a piece of one where words are wider than the bus, or sends what is left of a row. Words
    come through a relay. Between bursts, records of the mark table go first.
    """

    def __init__(self, machine: Machine, words: Words, master: WriteMaster):
        self.machine, self.words, self.master = machine, words, master
        self.most = machine.cfg.bus.max_write_burst
        self.piece = min(machine.cfg.vector_word_bytes, machine.bus)
        self.wake = master.wake
        self._splitter = Splitter(machine, words.begin)
        self._placed = -1, 0  # the last job with a pitch that was offered, and when its address is known
        self._step = -1  # the last one
        self._full = False  # it has made a beat, which is not known to have entered the data queue
        self._entered = -1  # when the last beat has entered it
        self._cut = self._job = 0  # bytes of the present word that are not in the relay (0: it has not begun), its job
        self._came = -1  # when the last piece came into the relay
        self._pieces: deque[tuple[int, int, int]] = deque()  # in the relay: when they can be packed, bytes, job
        self._source = 0  # the job whose words are packed
        self._places = deque([0] * RELAYED)  # from when on there is room in it

    # -- front end, words ----------------------------------------------------------------------

    def accepts(self, job: Job) -> bool:
        """Whether the last row of the job before has gone to the splitter, and not too many jobs are open."""
        free, now = self._splitter.free, self.machine.kernel.cycle
        if pitch(job) and self._placed[0] != job.index:
            self._placed = job.index, now + PLACED
            self.machine.at(now + PLACED, self.machine.progress[isa.Unit.STORE])
        if pitch(job) and now < self._placed[1]:
            return False
        return self.master.open < JOBS and free is not None and free <= now

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        self.master.open += 1
        self._splitter.take(job)
        self.wake.fire()

    def _relay(self) -> None:
        """Words come into the relay, as far as they and its room are known."""
        words = self.words
        words.read()
        while self._places:
            time = self._came + 1
            if not self._cut:
                offered = words.offered()
                if offered is None:
                    return
                time = max(time, offered)
                self._cut, self._job = words.next_word()
            time = max(time, self._places.popleft())
            size = min(self._cut, self.piece)
            self._pieces.append((time + RELAY, size, self._job))
            self._came = time
            self._cut -= size
            if not self._cut:
                words.pop(time)

    # -- packing -------------------------------------------------------------------------------

    def run(self) -> Process:
        """All rows."""
        parts, written = self._splitter.parts, self.machine.result.dram_write_bytes
        have = 0  # bytes of the row that are taken, from the burst on
        while True:
            while not parts:
                yield from self._pause(border=True)
            part = parts[0]
            have = (yield from self._pack(part, have)) - part.size
            if part.ends_row:
                have = 0
            self._splitter.pop(self._step)
            while self._full and not self._enters():
                yield from self._pause(border=False)
            if not part.ends_job:
                self.master.send(Burst(self._entered, part.beats))
                continue
            store = part.store
            self.master.send(Burst(self._entered, part.beats, store.job, store.taken))
            self.machine.sources[store.job.index] = self._source
            written[store.job.layer] = written.get(store.job.layer, 0) + store.bytes

    def _pack(self, part: Part, have: int) -> Generator[float | Signal, None, int]:
        """Steps of a burst, of which ``have`` bytes are taken; returns how many are in the end."""
        bus, pieces, master = self.machine.bus, self._pieces, self.master
        records = master.records
        for beat in range(part.beats):
            need, border = min((beat + 1) * bus - part.address % bus, part.size), beat == 0
            flush = have >= need
            while flush or have < need:
                while self._full and not self._enters():
                    yield from self._pause(border=False)
                if not (flush or pieces):
                    self._relay()
                    if not pieces:
                        yield from self._pause(border=border)
                        continue
                time = self._step + 1
                if time < self._entered:
                    time = self._entered
                if not flush and time < pieces[0][0]:
                    time = pieces[0][0]
                if time < part.ready:
                    time = part.ready
                if border and (records or master.record_unknown(time)):
                    if not records:
                        yield from self._pause(border=False)
                        continue
                    if records[0] <= time:
                        yield from self._record()
                        continue
                self._step = time
                if flush:
                    break
                _, size, self._source = pieces.popleft()
                have += size
                self._places.append(time + 1)
                self._relay()
            self._full = True
        return have

    def _enters(self) -> bool:
        """Whether it is known when the last beat enters the data queue, where the next step is to find it."""
        room = self.master.room()
        if room is None:
            return False
        self._entered, self._full = max(self._step + 1, room), False
        return True

    def _record(self) -> Process:
        """A record of the mark table, as one burst if that may be so long."""
        ready, beats = self.master.records.popleft(), max(1, isa.MARK_BYTES // self.machine.bus)
        for beat in range(beats):
            while self._full and not self._enters():
                yield from self._pause(border=False)
            self._step = max(self._step + 1, self._entered, ready)
            self._full = True
            if beats > self.most or beat == beats - 1:
                while self._full and not self._enters():
                    yield from self._pause(border=False)
                length = 1 if beats > self.most else beats
                self.master.send(Burst(self._entered, length, record=beat == beats - 1))

    def _pause(self, *, border: bool) -> Process:
        """Do what does not depend on the packer, then wait for something to happen.

        At the ``border`` of bursts, records go while no word is there.
        """
        records = self.master.records
        self._relay()
        if border and records and records[0] <= self.machine.kernel.now:
            yield from self._record()
        else:
            yield self.wake
