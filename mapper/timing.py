"""Cycles of a program, from its commands and tokens, without simulating cycle by cycle.

Every unit is a process that goes through its own commands; jobs take the time their counts say, bursts share the DRAM
in the order of their addresses, and semaphores tie the units together exactly as in the hardware.  The constants below are
pipeline depths of the RTL in cycles; ``tests/system`` holds the result against measured cycles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import floor, prod

from dataflows import isa
from dataflows.vocabulary import Dim
from mapper.compile import Program
from mapper.kernel import Kernel, Process, Signal
from mapper.loads import SEGMENTS
from mapper.program import Job

FETCH_BEGIN = 3  # start to the first command request on the bus
FETCH_AGAIN = 3  # last word of a quarter of the fetch queue decoded, to the next request on the bus
DECODE = 3  # command beat on the bus to its first word at the decoder's output
QUEUE = 2  # through a queue
REQUEST = 3  # LOAD job taken, to its first request on the bus
WRITTEN = 3  # last beat on the bus, to the tokens of its LOAD job
FILLED = 4  # LOAD job of fill bytes taken, to its first write
ROWS_AHEAD = 2  # rows of a LOAD job between address generator and bus
LOADS_OPEN = 5  # LOAD jobs taken whose last segment is not open yet
SUMS_OPEN = 2  # ACC jobs taken and not done
VECTORS_OPEN = 2  # VECTOR jobs taken and not done
STREAM = 4  # address of an operand word, to that word at the array
STREAM_DEPTH = 5  # operand words between address and array
GRID = 3  # word at the array to its sum, beside one cycle per row and column
SUMMED = 2  # sum out of the array, to the tokens of its ACC job
LANES = 15  # address of a vector word, to that word at STORE
PACK = 4  # vector word at STORE, to the address of the burst it completes
RECORD = 12  # last completion, to "done", beside the beats and the latency of its record


@dataclass(frozen=True)
class Span:
    """One job on the timeline: from the cycle its engine took it to the cycle its tokens are there."""

    unit: isa.Unit
    layer: int
    job: int
    start: int
    end: int
    note: str


@dataclass
class Prediction:
    """Cycles of a program; ``layer_end`` and the traffic are by schedule index."""

    cycles: int = 0
    layer_end: dict[int, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    dram_read_bytes: dict[int, int] = field(default_factory=dict)
    dram_write_bytes: dict[int, int] = field(default_factory=dict)


@dataclass
class _Word:
    """A command word of one unit; ``time`` is when it is at the head of an empty queue."""

    waits: list[tuple[int, int]]
    job: Job | None = None
    time: float | None = None


def _fills(job: Job) -> bool:
    """Whether a LOAD job makes its own bytes."""
    return bool(job.registers["destination"].get("fill"))


def _starts(job: Job, base: int) -> Iterator[int]:
    """Addresses of a job's rows."""
    a, b, c = (job.registers[n] for n in ("row_a", "row_b", "row_c"))
    address = base
    for _ in range(c["count"]):
        for _ in range(b["count"]):
            for _ in range(a["count"]):
                yield address
                address += a["step"]
            address += b["step"] - a["step"]
        address += c["step"] - b["step"]


def _bursts(start: int, size: int, bus: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Bursts of one row as (address, beats, bytes): limited by length and by 4 kB pages."""
    while size > 0:
        part = min(size, most * bus - start % bus, 4096 - start % 4096)
        yield start, (start + part - 1) // bus - start // bus + 1, part
        start, size = start + part, size - part


def _pieces(position: int, size: int, segment: int, offset: int, bus: int) -> int:
    """Writes for ``size`` bytes from ``position`` in a job's byte stream: cut at beats and at segments."""
    beats = (offset + size - 1) // bus + 1
    if segment % bus == 0 and (offset - position) % bus == 0:
        return beats  # all segment borders are beat borders
    first, last = position // segment + 1, (position + size - 1) // segment
    return beats + sum((offset + k * segment - position) % bus != 0 for k in range(first, last + 1))


class _Machine:
    """State shared by the processes."""

    def __init__(self, program: Program, latency: int, bytes_per_cycle: float):
        self.program, self.cfg = program, program.cfg
        self.latency, self.bus = latency, program.cfg.bus_bytes
        self.cost = self.bus / bytes_per_cycle  # cycles of the DRAM per beat
        self.kernel = Kernel()
        self.result = Prediction()
        self.free = 0.0  # when the DRAM can serve another beat
        self.read_end = self.write_end = 0.0  # last beat on the read channel; last piece written by LOAD
        self.semaphores = [0] * self.cfg.control.semaphores
        self.tokens = Signal(self.kernel)
        self.room = Signal(self.kernel)
        self.arrived = Signal(self.kernel)
        self.progress = Signal(self.kernel)
        self.words: dict[isa.Unit, list[_Word]] = {u: [] for u in isa.Unit}
        self.popped = dict.fromkeys(isa.Unit, 0)
        self.order = list(self._split())
        self.in_flight = self.open_loads = self.open_sums = self.open_vectors = 0
        self.issuing = False
        self.opened: dict[isa.Unit, deque[tuple[Job, float]]] = {u: deque() for u in isa.Unit}  # taken by the engine

    def _split(self) -> Iterator[tuple[isa.Unit, _Word] | None]:
        """Command words in program order, each with its unit (None: a word of no unit)."""
        jobs = iter(self.program.jobs)
        for raw in (int(w) for w in self.program.words):
            op, unit = raw >> 60, raw >> 56 & 15
            if op in (isa.Op.HASH, isa.Op.END):
                yield None
                continue
            word = _Word([])
            if op == isa.Op.WAIT:
                word.waits = [(raw >> 48 & 255, raw & 0xFFFF)]
            elif op == isa.Op.START:
                word.waits = [(s, 1) for s in range(16) if raw >> s & 1]
                word.job = next(jobs)
            self.words[isa.Unit(unit)].append(word)
            yield isa.Unit(unit), word

    def serve(self, beats: int, earliest: float) -> tuple[float, float]:
        """Put a burst into the DRAM's order; when its first and when its last beat is served."""
        start = max(self.free, earliest)
        self.free = start + beats * self.cost
        return floor(start), floor(start + (beats - 1) * self.cost)

    def give(self, job: Job, taken: float, done: float) -> None:
        """Tokens of a job that was taken at ``taken`` and is done at ``done``; they can be taken one cycle later."""
        self.result.spans.append(Span(job.unit, job.layer, job.index, int(taken), int(done), job.note))

        def later() -> Process:
            yield done + 1
            for s in job.gives:
                self.semaphores[s] += 1
            self.tokens.fire()

        self.kernel.schedule(self.kernel.now, later())

    # -- commands -------------------------------------------------------------------------------

    def decode(self) -> Process:
        """Fetch the program, four requests ahead, and forward one word a cycle to the unit's queue."""
        k, per_beat = self.kernel, self.bus // 8
        beats = max(16, 1024 // self.bus) // 4
        chunk = beats * per_beat
        requests: deque[float] = deque()
        left, unread = -(-len(self.order) // chunk), -(-len(self.order) // per_beat)
        counts = dict.fromkeys(isa.Unit, 0)
        time = ready = 0.0
        for index, entry in enumerate(self.order):
            if index % chunk == 0:
                wanted = 4 if index == 0 else 1
                for i in range(min(wanted, left)):
                    yield (FETCH_BEGIN + i) if index == 0 else time + FETCH_AGAIN
                    first, last = self.serve(min(beats, unread), k.now)
                    requests.append(max(self.read_end + 1, first + self.latency))
                    self.read_end = max(self.read_end + min(beats, unread), last + self.latency)
                    unread -= min(beats, unread)
                left -= wanted
                ready = requests.popleft()
            beat = floor(index % chunk // per_beat * max(self.cost, 1))
            time = max(time + 1, ready + beat + DECODE)
            if entry is None:
                continue
            unit, word = entry
            while counts[unit] - self.popped[unit] >= self.cfg.control.queue_words:
                yield self.room
                time = max(time, k.now + 1)
            if k.now < time:
                yield time
            word.time = time + QUEUE
            counts[unit] += 1
            self.arrived.fire()

    def pop(self, unit: isa.Unit, word: _Word) -> Process:
        """Until a word has arrived, its tokens are there and the engine takes its job; takes tokens and word."""
        while word.time is None:
            yield self.arrived
        if word.time > self.kernel.now:
            yield word.time
        while any(self.semaphores[s] < n for s, n in word.waits):
            yield self.tokens
        while word.job is not None and not self.ready(unit, word.job):
            yield self.progress
        if word.job is not None:
            self.open_loads += unit is isa.Unit.LOAD
            self.open_sums += unit is isa.Unit.ACC
            self.open_vectors += unit is isa.Unit.VECTOR
            self.issuing |= unit is isa.Unit.LOAD and not _fills(word.job)
        for s, n in word.waits:
            self.semaphores[s] -= n
        self.popped[unit] += 1
        self.room.fire()

    def front(self, unit: isa.Unit) -> Process:
        """A unit's front end: goes through its words, and hands each job to the engine when that can take it."""
        words, k = self.words[unit], self.kernel
        for word in words:
            yield from self.pop(unit, word)
            if word.job is not None:
                self.opened[unit].append((word.job, k.now))
                self.progress.fire()
            yield k.now + 1

    def ready(self, unit: isa.Unit, job: Job) -> bool:
        """Whether a unit's engine takes a job."""
        match unit:
            case isa.Unit.LOAD:
                return self.open_loads < LOADS_OPEN and (_fills(job) or not self.issuing)
            case isa.Unit.ACC:
                return self.open_sums < SUMS_OPEN
            case isa.Unit.VECTOR:
                return self.open_vectors < VECTORS_OPEN
            case _:
                return not self.opened[unit]

    # -- units ----------------------------------------------------------------------------------

    def load(self) -> Process:
        """Jobs of LOAD, from the front end to addresses and data."""
        while True:
            while not self.opened[isa.Unit.LOAD]:
                yield self.progress
            job, taken = self.opened[isa.Unit.LOAD].popleft()
            if _fills(job):
                segments = prod(job.registers[n]["count"] for n in SEGMENTS)
                pieces = -(-job.registers["segment"]["bytes"] // self.bus)
                before = self.write_end
                self.write_end = max(self.write_end, taken + FILLED - 1) + segments * pieces
                self.move_up(before if segments == 1 else self.write_end - pieces)
                self.give(job, taken, self.write_end + WRITTEN)
            else:
                yield from self.issue(job, taken)

    def issue(self, job: Job, taken: float) -> Process:
        """Requests of one LOAD job; the front end goes on meanwhile."""
        k, most, r = self.kernel, self.cfg.bus, job.registers
        size, segment = r["row"]["bytes"], r["segment"]["bytes"]
        rows = list(_starts(job, r["source"]["address"]))
        early = len(rows) <= ROWS_AHEAD  # the next job is taken when the last row is on its way to the bus
        if early:
            yield taken + len(rows)
            self.issued()
        yield taken + REQUEST
        position = moved = 0
        segments = prod(r[n]["count"] for n in SEGMENTS)
        if segments == 1:  # it opens when the job before has ended
            self.move_up(self.write_end)
        for row, start in enumerate(rows):
            if row == len(rows) - 1 - ROWS_AHEAD and not early:
                self.issued()
            for address, beats, part in _bursts(start, size, self.bus, most.max_read_burst):
                while self.in_flight >= most.reads_in_flight:
                    yield self.progress
                self.in_flight += 1
                _, last = self.serve(beats, k.now)
                pieces = _pieces(position, part, segment, address % self.bus, self.bus)
                self.write_end = max(max(self.write_end, self.read_end) + pieces, last + self.latency)
                self.read_end = self.write_end
                k.schedule(k.now, self.landed(self.write_end))
                position += part
                moved += beats * self.bus
                yield k.now + 1
        if segments > 1:
            self.move_up(self.write_end - -(-segment // self.bus))
        self.give(job, taken, self.write_end + WRITTEN)
        reads = self.result.dram_read_bytes
        reads[job.layer] = reads.get(job.layer, 0) + moved

    def landed(self, time: float) -> Process:
        """A read burst's last beat, at ``time``, makes room for another burst in flight."""
        yield time
        self.in_flight -= 1
        self.progress.fire()

    def issued(self) -> None:
        """The address side of LOAD can take another job."""
        self.issuing = False
        self.progress.fire()

    def move_up(self, time: float) -> None:
        """The last segment of a LOAD job opens at ``time``: the next job moves up, and one more can be taken."""

        def later() -> Process:
            yield time + 2
            self.open_loads -= 1
            self.progress.fire()

        self.kernel.schedule(self.kernel.now, later())

    def array(self) -> Process:
        """INPUT jobs, and with them the array: tiles of stationary words and of moving words."""
        k, cfg, flow = self.kernel, self.cfg, self.cfg.dataflow
        rows, cols = cfg.array.rows, cfg.array.cols
        depth = GRID + rows + cols + (cols if flow.output_transposed else 0) + (0 if flow.temporal is not Dim.REDUCTION else rows)
        loaded = tile = entered = -1.0  # last stationary word, first moving word of a tile, last moving word: when they entered
        while True:
            while not all(self.opened[u] for u in (isa.Unit.INPUT, isa.Unit.WEIGHT, isa.Unit.ACC)):
                yield self.progress
            job, taken = self.opened[isa.Unit.INPUT][0]
            weight, weight_taken = self.opened[isa.Unit.WEIGHT][0]
            acc, acc_taken = self.opened[isa.Unit.ACC].popleft()
            inputs = prod(job.registers[n]["count"] for n in flow.input_nest.levels)
            weights = prod(weight.registers[n]["count"] for n in flow.weight_nest.levels)
            inner = prod(job.registers[n]["count"] for n in flow.input_nest.levels[: flow.input_nest.inner])
            if flow.temporal is Dim.REDUCTION:
                start = max(taken, weight_taken, k.now - STREAM) + 1 + STREAM
                start = max(start, entered + 1)
                entered = start + inputs - 1
                input_done = weight_done = max(entered - STREAM, max(taken, weight_taken) + 1) + 1
            else:
                input_moves = flow.temporal is Dim.PIXEL
                moving = inner if input_moves else weight.registers["word"]["count"]
                still = rows if input_moves else cols
                tiles = inputs // inner if input_moves else weights // moving
                still_from, moving_from = (weight_taken, taken) if input_moves else (taken, weight_taken)
                stationary: list[float] = []
                ready_still, ready_moving = still_from + 1 + STREAM, max(moving_from + 1 + STREAM, k.now)
                for _ in range(tiles):
                    begin = max(tile, loaded + 1, ready_still)
                    stationary.append(begin)
                    loaded = begin + still - 1
                    tile = max(entered + 1, loaded + 1, ready_moving)
                    entered = tile + moving - 1
                total = tiles * still
                ahead = total - 1 - STREAM_DEPTH  # the word that must have entered before the last address
                last = still_from + total
                if ahead >= 0:
                    last = max(last, stationary[ahead // still] + ahead % still + 1)
                still_done = last + 1
                moving_done = max(moving_from + tiles * moving, entered - STREAM) + 1
                input_done, weight_done = (moving_done, still_done) if input_moves else (still_done, moving_done)
            first, second = sorted([(weight_done, 0), (input_done, 1)])
            for time, which in (first, second):
                if time - 1 > k.now:
                    yield time - 1
                self.opened[isa.Unit.INPUT if which else isa.Unit.WEIGHT].popleft()
                self.progress.fire()
                if which:
                    self.give(job, taken, time)
                else:
                    self.give(weight, weight_taken, time)
            summed = entered + depth + SUMMED
            self.give(acc, acc_taken, summed)
            k.schedule(k.now, self._close_acc(summed))

    def _close_acc(self, time: float) -> Process:
        yield time - SUMMED
        self.open_sums -= 1
        self.progress.fire()

    def store(self) -> Process:
        """STORE jobs and the vector words they consume: bursts, write responses, marks."""
        k, most = self.kernel, self.cfg.bus
        word = address = write = 0.0  # times of the last vector word, write address and write beat
        waiting: deque[tuple[float, int]] = deque()  # (last beat, beats) of bursts in the data queue
        capacity = 2 * most.max_write_burst + 2
        while True:
            while not (self.opened[isa.Unit.STORE] and self.opened[isa.Unit.VECTOR]):
                yield self.progress
            job, taken = self.opened[isa.Unit.STORE].popleft()
            vector, since = self.opened[isa.Unit.VECTOR].popleft()
            self.progress.fire()
            r, v = job.registers, vector.registers
            taps = v["operand_tap_a"]["count"] * v["operand_tap_b"]["count"] if v["mode"].get("from_operand") else 1
            blocks, tail = v["param"]["blocks"], v["param"]["tail"]
            per_pixel = (blocks - 1) * self.cfg.lanes + tail
            cycles = max(taps, -(-self.cfg.lanes // self.bus))  # per vector word
            word = max(word, since + LANES)
            total = r["row"]["bytes"] * prod(r[n]["count"] for n in ("row_a", "row_b", "row_c"))
            moved = 0
            done = 0.0

            def words_before(position: int, per_pixel: int = per_pixel, blocks: int = blocks) -> int:
                """Vector words that hold the first ``position`` bytes."""
                pixels, rest = divmod(position, per_pixel)
                return pixels * blocks + -(-rest // self.cfg.lanes)

            for start in _starts(job, r["target"]["address"]):
                for _, beats, part in _bursts(start, r["row"]["bytes"], self.bus, most.max_write_burst):
                    words = words_before(moved + part) - words_before(moved)
                    moved += part
                    word += words * cycles
                    while sum(b for _, b in waiting) + beats > capacity:
                        leaves, _ = waiting.popleft()
                        word = max(word, leaves)
                    if moved == total:
                        if word + 1 > k.now:
                            yield word + 1
                        self.open_vectors -= 1
                        self.give(vector, since, word + 1)
                        self.progress.fire()
                    address = max(word + PACK, address + 1)
                    if address > k.now:
                        yield address
                    while waiting and waiting[0][0] <= k.now:
                        waiting.popleft()
                    first, _ = self.serve(beats, max(address + 1, write + 1))
                    write = max(first, floor(self.free - self.cost)) if self.cost > 1 else first + beats - 1
                    waiting.append((write, beats))
                    done = write + self.latency + 1
            writes = self.result.dram_write_bytes
            writes[job.layer] = writes.get(job.layer, 0) + moved
            self.give(job, taken, done)
            if job.mark:
                self.result.layer_end[job.layer] = int(done) - 1
            self.result.cycles = int(done) + self.latency + RECORD + isa.MARK_BYTES // self.bus


def predict(program: Program, latency: int, bytes_per_cycle: float) -> Prediction:
    """Timeline of a program on a DRAM of fixed latency and bandwidth.

    Parameters
    ----------
    program : Program
    latency : int
        Cycles from a read address to its first data, and from the last write data to the response.
    bytes_per_cycle : float
        Shared by reads and writes.
    """
    machine = _Machine(program, latency, bytes_per_cycle)
    processes = [machine.decode(), machine.load(), machine.array(), machine.store()]
    for process in processes + [machine.front(unit) for unit in isa.Unit]:
        machine.kernel.schedule(0, process)
    machine.kernel.run()
    left = [u.name for u in isa.Unit if machine.popped[u] < len(machine.words[u])]
    if left:
        raise AssertionError(f"the program would never end: {', '.join(left)} wait for ever")
    return machine.result
