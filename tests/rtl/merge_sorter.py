"""A sorter to compare the top-k engine with: Batcher's odd-even networks, as many values per cycle."""

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, wiring

from rtl.memory import BankMemory
from rtl.skew import delay
from rtl.top_k import index_bits, selection_ports

LEVELS = 5
"""Comparators one behind the other between two registers: what a merger of 2 * 16 has in its loop."""


def merging(first: int, last: int, stride: int = 1):
    """Pairs (lower lane, higher lane) that merge the two sorted halves of lanes ``first`` to ``last``."""
    if 2 * stride < last - first:
        yield from merging(first, last, 2 * stride)
        yield from merging(first + stride, last, 2 * stride)
        yield from ((lane, lane + stride) for lane in range(first + stride, last - stride, 2 * stride))
    else:
        yield first, first + stride


def sorting(first: int, last: int):
    """Pairs that sort lanes ``first`` to ``last``, a power of two of them."""
    if last > first:
        middle = (first + last) // 2
        yield from sorting(first, middle)
        yield from sorting(middle + 1, last)
        yield from merging(first, last)


def levels_of(pairs) -> list[list[tuple[int, int]]]:
    """Pairs in levels, each as early as it can be."""
    depth: dict[int, int] = {}
    levels: list[list[tuple[int, int]]] = []
    for low, high in pairs:
        level = max(depth.get(low, 0), depth.get(high, 0))
        depth[low] = depth[high] = level + 1
        levels += [[]] * (level + 1 - len(levels))
        levels[level] = [*levels[level], (low, high)]
    return levels


def exchange(m, keys, pairs, name: str, registered: bool = False):
    """Keys after comparators that put the greater of each pair on its lower lane; a register per ``LEVELS`` levels."""
    levels = levels_of(pairs)
    for number, level in enumerate(levels):
        keys = list(keys)
        for low, high in level:
            swap = Signal(name=f"{name}_swap_{number}_{low}")
            upper, lower = (Signal(len(keys[low]), name=f"{name}_{number}_{lane}") for lane in (low, high))
            m.d.comb += [
                swap.eq(keys[low] < keys[high]),
                upper.eq(Mux(swap, keys[high], keys[low])),
                lower.eq(Mux(swap, keys[low], keys[high])),
            ]
            keys[low], keys[high] = upper, lower
        if registered and ((number + 1) % LEVELS == 0 or number + 1 == len(levels)):
            keys = [delay(m, key, 1, f"{name}_late_{number}_{lane}") for lane, key in enumerate(keys)]
    return keys


class MergeSorter(wiring.Component):
    """Sorts a list of values, a word of ``parallel`` per cycle, and gives the first k with their indices.

    Words are sorted as they come, then merged in passes over the whole list. A pass reads pairs of runs, one from each
    of two memories, into one merger, and writes longer runs to two other memories in turn. The merger takes the next
    word of the run whose next word begins with the greater key, merges it with what it kept, gives the greater half
    and keeps the other. The last pass goes to the output and ends with the k-th value.

    A key is a value with its index, so that of equal values the first is the greatest. Values leave in descending
    order: the original order would take one more pass.

    Parameters
    ----------
    parallel, length, bits : int
        As of :class:`rtl.top_k.TopK`; ``length`` is ``parallel`` times a power of two, at least 8. Values have no sign.

    Members
    -------
    job, i, o
        As of :class:`rtl.top_k.TopK`; lists have ``length`` values, k is at least 1.

    Source
    ------
    Batcher, Sorting networks and their applications, AFIPS 1968: odd-even merge.
    """

    def __init__(self, parallel: int, length: int, bits: int):
        self.parallel, self.length, self.bits = parallel, length, bits
        self.depth = length // parallel
        if self.depth < 8 or self.depth & self.depth - 1 or length % parallel:
            raise ValueError(f"length must be {parallel} times a power of two, at least 8, not {length}")
        self.index_bits = index_bits(length)
        self.shape = Shape(bits)
        super().__init__(selection_ports(self.shape, parallel, length))

    def elaborate(self, platform):
        m = Module()
        lanes = self.parallel
        key_bits = self.bits + self.index_bits
        word = data.ArrayLayout(unsigned(key_bits), lanes)
        runs = [self._memory(m, f"run_{number}", word) for number in range(4)]  # two are read, two are written
        busy, left = Signal(), Signal.like(self.job.payload.k, reset_less=True)
        loading, passing = Signal(), Signal()
        m.d.comb += [self.job.ready.eq(~busy), self.i.ready.eq(loading)]

        # Sorted words, to the first two memories in turn.
        number = Signal(range(self.depth))
        keys = []
        for lane in range(lanes):
            index = Signal(self.index_bits, name=f"index_{lane}")
            m.d.comb += index.eq(number * lanes + lane)
            keys.append(Cat(~index, self.i.payload[lane]))
        sorted_keys = exchange(m, keys, sorting(0, lanes - 1), "sort", registered=True)
        latency = -(-len(levels_of(sorting(0, lanes - 1))) // LEVELS)
        given = self.i.valid & self.i.ready
        sorted_valid, sorted_last = delay(
            m, Cat(given, given & (number == self.depth - 1)), latency, "sort_valids", reset_less=False
        )
        with m.If(given):
            m.d.sync += number.eq(number + 1)
            with m.If(number == self.depth - 1):
                m.d.sync += loading.eq(0)

        # A pass: heads of both runs are the words that the memories hold.
        side = Signal()  # which pair of memories is read
        run_bits = len(number) + 1
        run = Signal(run_bits, reset_less=True)  # words of a run
        counts = [Signal(run_bits, name=f"left_{place}", reset_less=True) for place in range(2)]  # of the two runs
        pointers = [Signal(range(self.depth), name=f"pointer_{place}", reset_less=True) for place in range(2)]
        total = Signal(run_bits, reset_less=True)  # words of the pass that are still to be read
        heads = [Signal(word, name=f"head_{place}") for place in range(2)]
        final = Signal()
        prime = Signal()  # the first words of a pass are read
        begin = Signal()
        m.d.comb += final.eq(run == self.depth >> 1)
        for place, head in enumerate(heads):
            m.d.comb += head.eq(Mux(side, runs[2 + place].read_data, runs[place].read_data))
        held = Signal(word, reset_less=True)
        holds = Signal()
        free = Signal()
        take, first, flush = Signal(), Signal(), Signal()
        second = Signal()
        m.d.comb += [
            free.eq(~final | ~self.o.valid | self.o.ready),
            first.eq((counts[0] == run) & (counts[1] == run)),
            take.eq(passing & (total != 0) & free),
            flush.eq(passing & holds & free & (first | (total == 0))),
            second.eq((counts[0] == 0) | (counts[1] != 0) & (heads[0][0] < heads[1][0])),
        ]
        taken = Signal(word)
        m.d.comb += taken.eq(Mux(second, heads[1], heads[0]))
        merged = exchange(m, [*held, *taken], merging(0, 2 * lanes - 1), "merge")
        with m.If(take):
            m.d.sync += [total.eq(total - 1), holds.eq(1)]
            m.d.sync += held.eq(Mux(first, taken, Cat(*merged[lanes:])))
            for place, (count, pointer) in enumerate(zip(counts, pointers, strict=True)):
                with m.If(second == place):
                    m.d.sync += [count.eq(count - 1), pointer.eq(pointer + 1)]
            with m.If(counts[0] + counts[1] == 1):
                m.d.sync += [count.eq(run) for count in counts]
        with m.Elif(flush):
            m.d.sync += holds.eq(0)
        emitted = Signal()
        result = Signal(word, reset_less=True)
        result_valid = Signal()
        m.d.comb += emitted.eq(flush | take & ~first)
        with m.If(free):
            m.d.sync += [result_valid.eq(emitted & ~final), result.eq(Mux(flush, held, Cat(*merged[:lanes])))]
            m.d.sync += self.o.valid.eq(emitted & final & busy & (left != 0))
            with m.If(emitted & final):
                m.d.sync += [
                    self.o.payload.count.eq(Mux(left < lanes, left, lanes)),
                    self.o.payload.last.eq(left <= lanes),
                    left.eq(Mux(left < lanes, 0, left - lanes)),
                ]

        # Passes follow each other: the first words of the next are read while the last of this one leaves.
        longer = Signal.like(run)
        m.d.comb += [begin.eq(sorted_last | take & (total == 1) & ~final), longer.eq(Mux(run == 0, 1, run << 1))]
        m.d.sync += prime.eq(begin)
        with m.If(prime):
            m.d.sync += [passing.eq(1), total.eq(self.depth), holds.eq(0), side.eq(~side), run.eq(longer)]
            m.d.sync += [count.eq(longer) for count in counts]
            m.d.sync += [pointer.eq(1) for pointer in pointers]
        for place, memory in enumerate(runs):
            own = place & 1
            m.d.comb += [
                memory.read_enable.eq(((side ^ prime) == place >> 1) & (prime | take & (second == own))),
                memory.read_address.eq(Mux(prime, 0, pointers[own])),
            ]

        # Writing: sorted words in turn, merged runs in turn.
        written = Signal(range(2 * self.depth), reset_less=True)
        target, target_side = Signal(), Signal()
        late_run = delay(m, run, 1, "late_run")  # of the pass that the result is of
        late_side = delay(m, side, 1, "late_side")
        writes = sorted_valid | result_valid
        m.d.comb += [
            target.eq(Mux(sorted_valid, written[0], (written & late_run << 1).any())),
            target_side.eq(Mux(sorted_valid, 0, ~late_side)),
        ]
        with m.If(writes):
            m.d.sync += written.eq(Mux(written == self.depth - 1, 0, written + 1))
        places = [Signal(range(self.depth), name=f"place_{place}", reset_less=True) for place in range(2)]
        for own, place in enumerate(places):
            with m.If(writes & (target == own)):
                m.d.sync += place.eq(place + 1)
            with m.If(writes & (written == self.depth - 1)):
                m.d.sync += place.eq(0)
        for place, memory in enumerate(runs):
            m.d.comb += [
                memory.write_enable.eq(writes & (target == place & 1) & (target_side == place >> 1)),
                memory.write_address.eq(places[place & 1]),
                memory.write_data.eq(Mux(sorted_valid, Cat(*sorted_keys), result)),
            ]

        for lane in range(lanes):
            m.d.comb += self.o.payload.indices[lane].eq(~result[lane][: self.index_bits])
            m.d.comb += self.o.payload.values[lane].eq(result[lane][self.index_bits :])
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [busy.eq(1), loading.eq(1), left.eq(self.job.payload.k), written.eq(0)]
            m.d.sync += [run.eq(0), side.eq(1)]  # the first pass reads what was sorted: runs of a word
            m.d.sync += [place.eq(0) for place in places]
        with m.If(self.o.valid & self.o.ready & self.o.payload.last):
            m.d.sync += [busy.eq(0), passing.eq(0)]
        return m

    def _memory(self, m, name, word):
        """Half of a list."""
        word_bytes = -(-word.size // 8)
        m.submodules[name] = memory = BankMemory(word_bytes, self.depth // 2, word_bytes)
        return memory
