"""Cycles of a program, from its commands and tokens, without simulating cycle by cycle.

Every unit is a process that goes through its own commands; jobs take the time their counts say, bursts share the DRAM
in the order of their addresses, and semaphores tie the units together exactly as in the hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, prod

from dataflows import isa
from dataflows.vocabulary import Dim
from mapper.compile import Program
from mapper.kernel import Kernel, Process, Signal
from mapper.program import Job

BEGIN = 12  # from the start bit to the first command request
ISSUE = 2  # from a job being taken to its first row request
READ = 3  # from a beat on the bus to its bytes in a buffer
FILL = 3  # from a stream's job to its first word at the array
SUMS = 5  # from the last operand word entering to the sums in the accumulator, beside the array's skew
VECTOR = 18  # from a vector job to its first word in the store unit
PACK = 5  # from a word in the store unit to its burst's address
DONE = 2  # from the last event of a job to its tokens being there


@dataclass(frozen=True)
class Span:
    """One job on the timeline, in cycles from the start."""

    unit: isa.Unit
    layer: int
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
    """A command word of one unit; ``time`` is when it reached the unit's queue."""

    waits: list[tuple[int, int]]
    job: Job | None = None
    time: float | None = None


def _starts(job: Job, base: int, names: tuple[str, ...]) -> Iterator[int]:
    a, b, c = (job.registers[n] for n in names)
    address = base
    for _ in range(c["count"]):
        for _ in range(b["count"]):
            for _ in range(a["count"]):
                yield address
                address += a["step"]
            address += b["step"] - a["step"]
        address += c["step"] - b["step"]


def _bursts(start: int, size: int, bus: int, most: int) -> Iterator[tuple[int, int]]:
    """Bursts of one row as (beats, bytes): limited by length and by 4 kB pages."""
    while size > 0:
        room = min(most * bus - start % bus, 4096 - start % 4096)
        part = min(size, room)
        yield (start + part - 1) // bus - start // bus + 1, part
        start, size = start + part, size - part


class _Machine:
    """State shared by the processes."""

    def __init__(self, program: Program, latency: int, bytes_per_cycle: float):
        self.program, self.cfg = program, program.cfg
        self.latency, self.bus = latency, program.cfg.bus_bytes
        self.cost = self.bus / bytes_per_cycle  # cycles of the DRAM per beat
        self.kernel = Kernel()
        self.result = Prediction()
        self.free = 0.0  # when the DRAM can serve another burst
        self.semaphores = [0] * self.cfg.control.semaphores
        self.tokens = Signal(self.kernel)
        self.room = Signal(self.kernel)
        self.arrived = Signal(self.kernel)
        self.progress = Signal(self.kernel)
        self.words: dict[isa.Unit, list[_Word]] = {u: [] for u in isa.Unit}
        self.popped = dict.fromkeys(isa.Unit, 0)
        self.order = list(self._split())

    def _split(self) -> Iterator[tuple[isa.Unit, _Word] | None]:
        """Command words in program order, each to its unit (None: a word of no unit)."""
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

    # -- bus ------------------------------------------------------------------------------------

    def serve(self, beats: int, earliest: float) -> tuple[float, float]:
        """Put a burst into the DRAM's order: when its first beat is served, and when the DRAM is free again."""
        start = max(self.free, earliest)
        self.free = start + beats * self.cost
        return start, self.free

    # -- processes ------------------------------------------------------------------------------

    def decode(self) -> Process:
        """Fetch the program in requests of a quarter of the fetch queue and forward one word a cycle."""
        k, per_beat = self.kernel, self.bus // 8
        chunk = max(16, 1024 // self.bus) // 4 * per_beat
        arrival: deque[float] = deque()
        time = float(BEGIN)
        for index, entry in enumerate(self.order):
            if index % chunk == 0:
                yield time
                while len(arrival) < 1 or (index == 0 and len(arrival) < 3):
                    start, _ = self.serve(chunk // per_beat, k.now)
                    arrival.append(start + self.latency + 3)
                ready = arrival.popleft()
                start, _ = self.serve(chunk // per_beat, k.now)
                arrival.append(start + self.latency + 3)
            time = max(time + 1, ready + index % chunk / per_beat * max(self.cost, 1))
            if entry is None:
                continue
            unit, word = entry
            depth = self.cfg.control.queue_words
            position = word_index = self._forwarded(unit)
            while word_index - self.popped[unit] >= depth:
                yield self.room
                time = max(time, k.now)
            if k.now < time:
                yield time
            word.time = time + 2
            self._count[unit] = position + 1
            self.arrived.fire()

    _count: dict[isa.Unit, int]

    def _forwarded(self, unit: isa.Unit) -> int:
        return self._count.setdefault(unit, 0)

    def front(self, unit: isa.Unit) -> Iterator[tuple[Job | None, list[tuple[int, int]], _Word]]:
        """Words of a unit as (job or None, waits, word)."""
        for word in self.words[unit]:
            yield word.job, word.waits, word

    def reach(self, unit: isa.Unit, word: _Word) -> Process:
        """Until the word has arrived and its tokens are there; takes them and the word."""
        k = self.kernel
        while word.time is None:
            yield self.arrived
        if word.time > k.now:
            yield word.time
        while any(self.semaphores[s] < n for s, n in word.waits):
            yield self.tokens
        for s, n in word.waits:
            self.semaphores[s] -= n
        self.popped[unit] += 1
        self.room.fire()

    def give(self, job: Job, time: float) -> None:
        """Tokens of a finished job, there at ``time``."""

        def later() -> Process:
            yield time
            for s in job.gives:
                self.semaphores[s] += 1
            self.tokens.fire()

        self.kernel.schedule(self.kernel.now, later())

    def span(self, job: Job, start: float, end: float) -> None:
        """Note a job on the timeline."""
        self.result.spans.append(Span(job.unit, job.layer, int(start), int(end), job.note))

    def load(self) -> Process:
        """Addresses of LOAD jobs: rows to bursts, one a cycle, within the limit of bursts in flight."""
        k, bus = self.kernel, self.cfg.bus
        queue: deque[tuple[Job, float, int, float, bool] | None] = deque()
        self.in_flight, self.open_jobs = 0, 0
        filled = Signal(k)
        k.schedule(0, self.load_back(queue, filled))
        for job, _, word in self.front(isa.Unit.LOAD):
            yield from self.reach(isa.Unit.LOAD, word)
            if job is None:
                yield k.now + 1
                continue
            while self.open_jobs >= 4:
                yield self.progress
            self.open_jobs += 1
            r = job.registers
            if r["destination"].get("fill"):
                count = prod(r[n]["count"] for n in ("segment_a", "segment_b", "segment_c"))
                pieces = count * ceil(r["segment"]["bytes"] / self.bus)
                queue.append((job, k.now + ISSUE, pieces, 0.0, True))
                filled.fire()
                yield k.now + 1
                continue
            yield k.now + ISSUE
            segments = prod(r[n]["count"] for n in ("segment_a", "segment_b", "segment_c"))
            rows = prod(r[n]["count"] for n in ("row_a", "row_b", "row_c"))
            moved = 0
            total = rows * r["row"]["bytes"]
            extra = 0.0 if segments <= rows else (segments - rows) / total  # pieces beyond one a beat
            starts = _starts(job, r["source"]["address"], ("row_a", "row_b", "row_c"))
            for row, start in enumerate(starts):
                bursts = list(_bursts(start, r["row"]["bytes"], self.bus, bus.max_read_burst))
                for i, (beats, size) in enumerate(bursts):
                    while self.in_flight >= bus.reads_in_flight:
                        yield self.progress
                    self.in_flight += 1
                    first, _ = self.serve(beats, k.now + 1)
                    moved += beats * self.bus
                    last = row == rows - 1 and i == len(bursts) - 1
                    end = first + self.latency + (beats - 1) * self.cost
                    queue.append((job, end, beats, size * extra, last))
                    filled.fire()
                    yield k.now + 1
            reads = self.result.dram_read_bytes
            reads[job.layer] = reads.get(job.layer, 0) + moved

    def load_back(self, queue: deque, filled: Signal) -> Process:
        """Data of LOAD jobs into the memories, in order."""
        k, start, current = self.kernel, None, None
        while True:
            while not queue:
                yield filled
            job, end, beats, extra, last = queue.popleft()
            if current is not job:
                start, current = max(k.now, end - beats), job
            done = max(end, k.now + beats) + extra
            if done > k.now:
                yield done
            if not job.registers["destination"].get("fill"):
                self.in_flight -= 1
                self.progress.fire()
            if last:
                self.open_jobs -= 1
                self.progress.fire()
                self.span(job, start, k.now)
                self.give(job, k.now + READ + DONE)

    def weight(self) -> Process:
        """WEIGHT jobs: announced to the array process, which paces them."""
        yield from self._stream(isa.Unit.WEIGHT)

    def acc(self) -> Process:
        """ACC jobs: opened one ahead."""
        yield from self._stream(isa.Unit.ACC)

    def _stream(self, unit: isa.Unit) -> Process:
        k, ahead = self.kernel, {isa.Unit.WEIGHT: 1, isa.Unit.ACC: 2}[unit]
        for job, _, word in self.front(unit):
            yield from self.reach(unit, word)
            if job is None:
                yield k.now + 1
                continue
            while len(self.opened[unit]) >= ahead:
                yield self.progress
            self.opened[unit].append((job, k.now))
            self.progress.fire()
            yield k.now + 1

    opened: dict[isa.Unit, deque[tuple[Job, float]]]

    def array(self) -> Process:
        """INPUT jobs, and with them the array: tiles of stationary words and moving words."""
        k, cfg, flow = self.kernel, self.cfg, self.cfg.dataflow
        rows, cols = cfg.array.rows, cfg.array.cols
        depth = rows + cols + SUMS + (cols if flow.output_transposed else 0)
        loaded = 0.0  # when the last stationary word entered
        last_tile = 0.0  # when the current tile's first moving word entered
        entered = 0.0  # when the array can take another moving word
        for job, _, word in self.front(isa.Unit.INPUT):
            yield from self.reach(isa.Unit.INPUT, word)
            if job is None:
                yield k.now + 1
                continue
            begun = k.now
            while not (self.opened[isa.Unit.WEIGHT] and self.opened[isa.Unit.ACC]):
                yield self.progress
            weight, weight_time = self.opened[isa.Unit.WEIGHT][0]
            total = prod(job.registers[n]["count"] for n in flow.input_nest.levels)
            weight_words = prod(weight.registers[n]["count"] for n in flow.weight_nest.levels)
            inner = prod(job.registers[n]["count"] for n in flow.input_nest.levels[:3])
            first = max(begun + FILL, entered)
            if flow.temporal is Dim.PIXEL:
                tiles, still, moving = total // inner, rows, inner
            elif flow.temporal is Dim.CHANNEL:
                moving = weight.registers["word"]["count"]
                tiles, still = weight_words // moving, cols
            else:
                tiles, still, moving = 1, 0, total
            ready = max(weight_time + FILL, loaded, last_tile if still else 0) + still
            start = max(first, ready)
            end = start + (tiles - 1) * max(moving, still) + moving
            last_tile = end - moving
            loaded = max(start, last_tile - max(moving, still) + still) if tiles > 1 else ready
            entered = end
            if loaded > k.now:
                yield loaded
            self.opened[isa.Unit.WEIGHT].popleft()
            self.progress.fire()
            self.give(weight, loaded + DONE)
            self.span(weight, ready - still, loaded)
            if end - FILL > k.now:
                yield end - FILL
            acc, _ = self.opened[isa.Unit.ACC].popleft()
            self.progress.fire()
            self.give(job, end - FILL + DONE)
            self.give(acc, end + depth + DONE)
            self.span(job, start, end)
            self.span(acc, start + depth, end + depth)

    def vector(self) -> Process:
        """VECTOR jobs: handed to the store process, which paces them."""
        k = self.kernel
        for job, _, word in self.front(isa.Unit.VECTOR):
            yield from self.reach(isa.Unit.VECTOR, word)
            if job is None:
                yield k.now + 1
                continue
            while len(self.words_due) >= 1:
                yield self.progress
            self.words_due.append((job, k.now))
            self.progress.fire()
            yield k.now + 1

    words_due: deque[tuple[Job, float]]

    def store(self) -> Process:
        """STORE jobs and the vector words they consume: bursts, write responses, marks."""
        k, bus = self.kernel, self.cfg.bus
        data = 0.0  # when the packed bytes of the burst at hand are there
        waiting: deque[tuple[float, int]] = deque()  # (when transferred, beats) of bursts in the data queue
        for job, _, word in self.front(isa.Unit.STORE):
            yield from self.reach(isa.Unit.STORE, word)
            if job is None:
                yield k.now + 1
                continue
            while not self.words_due:
                yield self.progress
            vector, since = self.words_due[0]
            mode, r = vector.registers["mode"], job.registers
            taps = 1
            if mode.get("from_operand"):
                taps = vector.registers["operand_tap_a"]["count"] * vector.registers["operand_tap_b"]["count"]
            blocks, tail = vector.registers["param"]["blocks"], vector.registers["param"]["tail"]
            pixel = (blocks - 1) * self.cfg.lanes + tail
            rate = blocks * taps / pixel  # cycles per byte
            data = max(data, since + VECTOR)
            begun, moved, end = data, 0, data
            for start in _starts(job, r["target"]["address"], ("row_a", "row_b", "row_c")):
                for beats, size in _bursts(start, r["row"]["bytes"], self.bus, bus.max_write_burst):
                    data += size * rate
                    while sum(b for _, b in waiting) + beats > 2 * bus.max_write_burst + 2:
                        time, _ = waiting.popleft()
                        data = max(data, time)
                    if data + PACK > k.now:
                        yield data + PACK
                    while waiting and waiting[0][0] <= k.now:
                        waiting.popleft()
                    _, end = self.serve(beats, k.now + 1)
                    end = max(end, k.now + 1 + beats)
                    waiting.append((end, beats))
                    moved += size
            self.words_due.popleft()
            self.progress.fire()
            writes = self.result.dram_write_bytes
            writes[job.layer] = writes.get(job.layer, 0) + moved
            finish = end + self.latency + 1
            self.give(job, finish + DONE)
            self.give(vector, data - VECTOR // 2 + DONE)
            self.span(vector, begun - VECTOR, data)
            self.span(job, begun, finish)
            if job.mark:
                self.result.layer_end[job.layer] = int(finish)
            self.result.cycles = max(self.result.cycles, int(finish) + self.latency + 20)


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
    machine._count = {}
    machine.opened = {isa.Unit.WEIGHT: deque(), isa.Unit.ACC: deque()}
    machine.words_due = deque()
    for process in (
        machine.decode, machine.load, machine.weight, machine.acc, machine.array, machine.vector, machine.store
    ):  # fmt: skip
        machine.kernel.schedule(0, process())
    machine.kernel.run()
    left = [u.name for u in isa.Unit if machine.popped[u] < len(machine.words[u])]
    if left:
        raise AssertionError(f"the program would never end: {', '.join(left)} wait for ever")
    return machine.result
