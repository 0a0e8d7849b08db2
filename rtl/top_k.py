"""Top-k engine: quick-select over lists in memory, then the original order again through a comparison."""

from enum import IntEnum

from amaranth import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.top_k import prefix_latency
from rtl.sampled_list import SampledList
from rtl.skew import delay
from rtl.zero_eliminator import ZeroEliminator


class Phase(IntEnum):
    """What the engine is doing."""

    IDLE = 0
    LOAD = 1
    ROUND = 2
    WALK = 3
    OUTPUT = 4


class Source(IntEnum):
    """Which list is read."""

    VALUES = 0
    LOW = 1
    HIGH = 2


def index_bits(length: int) -> int:
    """Width of the index of one of ``length`` values."""
    return max(1, (length - 1).bit_length())


def selection_ports(shape: Shape, parallel: int, length: int, **job) -> dict:
    """Ports of what keeps the ``k`` largest of up to ``length`` values, ``parallel`` a word: see :class:`TopK`.

    ``job``: shapes of what a job says besides.
    """
    word, number = data.ArrayLayout(shape, parallel), range(length + 1)
    return {
        "job": In(stream.Signature(data.StructLayout({"length": number, "k": number, **job}))),
        "i": In(stream.Signature(word)),
        "o": Out(stream.Signature(data.StructLayout({
            "values": word,
            "indices": data.ArrayLayout(index_bits(length), parallel),
            "count": range(parallel + 1),
            "last": 1,
        }))),
    }  # fmt: skip


class TopK(wiring.Component):
    """Gives the k largest of a list of values, in their original order, of equal ones those that come first.

    Values are loaded into a list. A round reads a list, compares each word with the pivot and lets two zero
    eliminators put what is less and what is greater into two other lists, one of which is the next round's; they are
    written over a list behind its reader. A list of one word is compared with its own elements, one per cycle.
    Then the values are read again: what is above the threshold goes through the eliminator to the output, and as many
    of those equal to it as are still missing.

    Parameters
    ----------
    parallel : int
        Values of a word, a power of two; as many comparators.
    length : int
        Most values of a job.
    bits : int
        Bits of a value.
    signed : bool
        Whether values are signed.
    floors : bool
        Whether jobs may say what is the largest value that is not given, instead of k.

    Members
    -------
    job : In(stream of {length, k})
        ``length`` is at least 1, ``k`` 0 to ``length``. Taken when the job before has given its last word. With
        ``floors`` also ``by_floor`` and ``floor``: all values above it are given, whatever k.
    i : In(stream of parallel values)
        ``ceil(length / parallel)`` words; in the last one the first values count.
    o : Out(stream of {values, indices, count, last})
        The first ``count`` of each word; all words but the last are full. There is always a last word, empty for k = 0
        and if what is kept ends with a full word.

    Timing
    ------
    :func:`dataflows.top_k.cycles` (:func:`~dataflows.top_k.floor_cycles` with a floor), to the cycle, while ``i`` is
    valid and ``o`` ready. Rounds never wait for either.

    Source
    ------
    Wang et al., SpAtten, HPCA 2021: top-k engine. Deviations: pivots by :func:`dataflows.top_k.pivot` instead of at
    random; lists that are written over in place instead of queues; a list of one word is not divided.
    """

    def __init__(self, parallel: int, length: int, bits: int, signed: bool = False, floors: bool = False):
        if length < 1:
            raise ValueError(f"TopK length must be at least 1, not {length}")
        self.parallel, self.length, self.bits, self.signed, self.floors = parallel, length, bits, signed, floors
        self.depth = -(-length // parallel)
        self.index_bits = index_bits(length)
        self.low = ZeroEliminator(parallel, max(bits, self.index_bits), length)
        self.high = ZeroEliminator(parallel, bits, length)
        self.shape = Shape(bits, signed)
        self.word = data.ArrayLayout(self.shape, parallel)
        floor = {"by_floor": 1, "floor": self.shape} if floors else {}
        super().__init__(selection_ports(self.shape, parallel, length, **floor))

    def elaborate(self, platform):
        m = Module()
        m.submodules.low, m.submodules.high = self.low, self.high
        lists = {source: SampledList(self.shape, self.parallel, self.depth) for source in Source}
        for source, words in lists.items():
            m.submodules[f"{source.name.lower()}_list"] = words

        phase = Signal(Phase)
        source = Signal(Source, reset_less=True)
        length, k = (Signal.like(self.job.payload.k, name=name, reset_less=True) for name in ("length", "k"))
        count, rank = (Signal.like(k, name=name, reset_less=True) for name in ("count", "rank"))  # of the present list
        pivot = Signal(self.shape, reset_less=True)
        none, every, given = k == 0, k == length, None
        at_once = none | every  # nothing is selected
        if self.floors:
            given = Signal(reset_less=True)  # the pivot of the last pass is that of the job
            none, every = none & ~given, every & ~given
            at_once |= given
        move = Signal()
        m.d.comb += [self.job.ready.eq(phase == Phase.IDLE), self.i.ready.eq(phase == Phase.LOAD)]

        # Words of the present list, as they are loaded or read.
        reading = Signal()
        number = Signal(range(self.depth), reset_less=True)
        lane_bits = exact_log2(self.parallel)
        top = Signal.like(count)
        step, ends = Signal(), Signal()
        m.d.comb += [
            top.eq(count - 1),
            ends.eq(number == top >> lane_bits),
            step.eq(Mux(phase == Phase.LOAD, self.i.valid, reading & move)),
        ]
        read = Signal()
        m.d.comb += read.eq(reading & move)
        with m.If(step):
            m.d.sync += number.eq(Mux(ends, 0, number + 1))
        with m.If(read & ends):
            m.d.sync += reading.eq(0)
        for place, words in lists.items():
            m.d.comb += [words.read.eq(read & (source == place)), words.read_address.eq(number)]
        self._load(m, lists[Source.VALUES], ends, top[:lane_bits])

        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [length.eq(self.job.payload.length), k.eq(self.job.payload.k), number.eq(0)]
            m.d.sync += [count.eq(self.job.payload.length), rank.eq(self.job.payload.k), phase.eq(Phase.LOAD)]
            if self.floors:
                m.d.sync += [given.eq(self.job.payload.by_floor), pivot.eq(self.job.payload.floor)]
        with m.If((phase == Phase.LOAD) & self.i.valid & ends):
            m.d.sync += [source.eq(Source.VALUES), reading.eq(1), phase.eq(self._way(count))]
            with m.If(at_once):
                m.d.sync += phase.eq(Phase.OUTPUT)

        # Seen: the word that has been read, and which of its elements are there. In a walk it stays.
        seen = Signal(self.word)
        seen_valid, seen_last = Signal(), Signal(reset_less=True)
        seen_number = Signal.like(number, reset_less=True)
        mask = Signal(self.parallel, reset_less=True)
        with m.Switch(source):
            for place, words in lists.items():
                with m.Case(place):
                    m.d.comb += seen.eq(words.read_data)
        with m.If(move):
            m.d.sync += seen_valid.eq(read)
        with m.If(read):
            m.d.sync += [seen_last.eq(ends), seen_number.eq(number)]
            m.d.sync += mask[0].eq(1)
            m.d.sync += [mask[lane].eq(~ends | (lane <= top[:lane_bits])) for lane in range(1, self.parallel)]

        # The pivot: chosen as a round begins to read; in a walk the next element in every cycle.
        compared = Signal(self.word, reset_less=True)  # in a walk the same word as seen, out of a register
        walking, walks = Signal(), Signal()
        place = Signal(lane_bits)
        element = Signal(self.shape)
        arrived = Signal()
        m.d.comb += walks.eq((phase == Phase.WALK) & (arrived | walking))
        m.d.sync += [arrived.eq(seen_valid), walking.eq(walks), place.eq(Mux(walks, place + 1, 0))]
        with m.Switch(place):
            for lane in range(self.parallel):
                with m.Case(lane):
                    m.d.comb += element.eq(compared[lane])
        with m.If(walks):
            m.d.sync += pivot.eq(element)
        with m.If((phase == Phase.ROUND) & reading & (number == 0)):
            m.d.sync += pivot.eq(self._choose(m, lists, source, count, rank))

        # Compared: less, equal, greater.
        judged, compared_valid = Signal(), Signal()  # a word of a walk, of a round or of the last pass
        compared_number, compared_last = Signal.like(number, reset_less=True), Signal(reset_less=True)
        less, equal, greater = (Signal(self.parallel, name=name, reset_less=True) for name in
                                ("less", "equal", "greater"))  # fmt: skip
        with m.If(move):
            m.d.sync += [compared_valid.eq(seen_valid & (phase != Phase.WALK)), judged.eq(walking)]
            with m.If(seen_valid):
                m.d.sync += [compared.eq(seen), compared_number.eq(seen_number), compared_last.eq(seen_last)]
            for lane in range(self.parallel):
                m.d.sync += [
                    less[lane].eq(mask[lane] & (seen[lane] < pivot)),
                    equal[lane].eq(self._equal(mask[lane] & (seen[lane] == pivot) & ~none & ~every, given)),
                    greater[lane].eq(mask[lane] & (every | (seen[lane] > pivot) & ~none)),
                ]
        in_round = Signal()
        m.d.comb += in_round.eq(compared_valid & (phase == Phase.ROUND))

        # Eliminators: lists of the next round, or in the last pass the values (high) and their indices (low).
        low, high, shown = self.low, self.high, Signal()
        last_pass = Signal()
        m.d.comb += [last_pass.eq(phase == Phase.OUTPUT), move.eq(~compared_valid | high.i.ready)]
        for side, keep in ((low, Mux(last_pass, greater, less)), (high, greater)):
            m.d.comb += [
                side.i.valid.eq(in_round | compared_valid & last_pass),
                side.i.payload.keep.eq(keep),
                side.i.payload.spare.eq(Mux(last_pass, equal, 0)),
                side.i.payload.last.eq(compared_last),
                side.o.ready.eq(~shown | self.o.ready),
            ]
        for lane in range(self.parallel):
            value = compared[lane].as_unsigned()
            m.d.comb += high.i.payload.data[lane].eq(value)
            m.d.comb += low.i.payload.data[lane].eq(Mux(last_pass, Cat(Const(lane, lane_bits), compared_number), value))
        for words, dense in ((lists[Source.LOW], low.o), (lists[Source.HIGH], high.o)):
            m.d.comb += [
                words.write.eq(dense.valid & ~shown),
                words.write_count.eq(dense.payload.count),
                words.write_last.eq(dense.payload.last),
            ]
            for lane in range(self.parallel):
                m.d.comb += words.write_data[lane].eq(dense.payload.data[lane][: self.bits])
        with m.If(compared_valid & last_pass):
            m.d.sync += shown.eq(1)
        m.d.comb += [
            self.o.valid.eq(high.o.valid & shown),
            self.o.payload.count.eq(high.o.payload.count),
            self.o.payload.last.eq(high.o.payload.last),
        ]
        for lane in range(self.parallel):
            m.d.comb += self.o.payload.values[lane].eq(high.o.payload.data[lane])
            m.d.comb += self.o.payload.indices[lane].eq(low.o.payload.data[lane])
        with m.If(self.o.valid & self.o.ready & self.o.payload.last):
            m.d.sync += [phase.eq(Phase.IDLE), shown.eq(0)]

        # Counts of a whole round, or of a word of a walk, and what follows from them.
        behind = prefix_latency(self.parallel)
        flags = delay(m, Cat(in_round, judged), behind, "counted_flags", reset_less=False)
        first, last = delay(m, Cat(compared_number == 0, compared_last), behind, "counted_ends")
        counted, walked = flags
        total_less, total_greater = (Signal.like(k, name=f"total_{name}", reset_less=True) for name in
                                     ("less", "greater"))  # fmt: skip
        decided = Signal()
        m.d.sync += decided.eq(counted & last | walked)
        with m.If(counted | walked):
            for total, side in ((total_less, low), (total_greater, high)):
                m.d.sync += total.eq(side.count + Mux(walked | first, 0, total))
        upper, found = Signal(), Signal()
        others = Signal.like(count)  # not less than the pivot
        chosen = Signal.like(count)
        m.d.comb += [
            others.eq(count - total_less),
            upper.eq(total_greater >= rank),
            found.eq(decided & ((phase == Phase.ROUND) | (phase == Phase.WALK)) & ~upper & (others >= rank)),
            chosen.eq(Mux(upper, total_greater, total_less)),
        ]
        for side in (low, high):
            m.d.comb += [side.allow.eq(found), side.allowed.eq(rank - total_greater)]
        compared_with = delay(m, pivot, 2 + behind, "pivots")
        with m.If(found):
            m.d.sync += [pivot.eq(compared_with), source.eq(Source.VALUES), count.eq(length)]
            m.d.sync += [phase.eq(Phase.OUTPUT), reading.eq(1)]
        with m.Elif(decided & (phase == Phase.ROUND)):
            m.d.sync += [source.eq(Mux(upper, Source.HIGH, Source.LOW)), count.eq(chosen), reading.eq(1)]
            m.d.sync += phase.eq(self._way(chosen))
            with m.If(~upper):
                m.d.sync += rank.eq(rank - others)
        return m

    def _equal(self, equal, given):
        """Whether an equal value may stay."""
        return equal if given is None else equal & ~given

    def _way(self, count):
        """How a list is selected from."""
        return Mux(count > self.parallel, Phase.ROUND, Phase.WALK)

    def _load(self, m, words, ends, top_lane):
        """Write what comes to the list of values."""
        m.d.comb += [
            words.write.eq(self.i.valid & self.i.ready),
            words.write_data.eq(self.i.payload),
            words.write_count.eq(Mux(ends, top_lane + 1, self.parallel)),
            words.write_last.eq(ends),
        ]

    def _choose(self, m, lists, source, count, rank):
        """The pivot of a round, from the samples of its list."""
        samples = Signal(data.ArrayLayout(self.shape, 3))
        with m.Switch(source):
            for place, words in lists.items():
                with m.Case(place):
                    m.d.comb += samples.eq(words.samples)
        a, b, c = samples
        ab, bc, ac = (Signal(name=f"{name}_sorted") for name in ("ab", "bc", "ac"))
        m.d.comb += [ab.eq(a > b), bc.eq(b > c), ac.eq(a > c)]
        high = Mux(ab, Mux(ac, a, c), Mux(bc, b, c))
        median = Mux(ab, Mux(bc, b, Mux(ac, c, a)), Mux(ac, a, Mux(bc, c, b)))
        low = Mux(ab, Mux(bc, c, b), Mux(ac, c, a))
        return Mux(rank << 2 < count, high, Mux(count - rank << 2 < count, low, median))
