"""Run-length compression of zeros: words of elements become pairs in 64-bit words, and back."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.run_length import Format
from rtl.shared import shared

LENGTH_BITS = 24
"""Elements of a block."""


def elements_layout(form: Format, lanes: int) -> data.StructLayout:
    """A word of elements: ``data[:count]`` is valid, ``count`` at least 1; ``last`` ends the block."""
    return data.StructLayout({
        "data": data.ArrayLayout(unsigned(form.level_bits), lanes), "count": range(lanes + 1), "last": 1,
    })


def pairs_layout(form: Format) -> data.StructLayout:
    """One pair, or two where ``both`` is set; ``last`` ends the block."""
    pair = data.StructLayout({"run": form.run_bits, "level": form.level_bits})
    return data.StructLayout({"first": pair, "second": pair, "both": 1, "last": 1})


def packed_layout(form: Format) -> data.StructLayout:
    """One word as it lies in DRAM; ``last`` ends the block."""
    return data.StructLayout({"bits": form.word_bits, "last": 1})


@shared("form", "lanes")
class PairFinder(wiring.Component):
    """Finds the next two elements that are no zeros, and counts the zeros before them.

    Parameters
    ----------
    form : Format
    lanes : int
        Elements of a word.

    Members
    -------
    zero : In(level_bits)
        The element that runs are made of; constant within a block.
    i : In(stream of elements_layout)
    close : In(1)
        With ``i``: the run ends with this word though the block does not (the end of a column).
    o : Out(stream of pairs_layout)

    Timing
    ------
    Two pairs per cycle, one if its run is as long as can be; a word without any takes one cycle. The first pair one
    cycle after its word.
    """

    def __init__(self, form: Format, lanes: int):
        self.form = form
        self.lanes = lanes
        super().__init__({
            "zero": In(form.level_bits),
            "i": In(stream.Signature(elements_layout(form, lanes))),
            "close": In(1),
            "o": Out(stream.Signature(pairs_layout(form))),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, longest = self.lanes, self.form.longest_run
        # The open word: levels that are still to come, and where the elements begin that are.
        open_ = Signal()
        word = Signal(data.ArrayLayout(unsigned(self.form.level_bits), lanes), reset_less=True)
        pending = Signal(lanes, reset_less=True)
        start = Signal(range(lanes + 1), reset_less=True)
        count = Signal(range(lanes + 1), reset_less=True)
        last = Signal(reset_less=True)
        run = Signal(self.form.run_bits)  # zeros before ``start``

        # The next two levels: as one bit each, where they are (or else the end of the word), and what they are.
        places, levels, found, rest = [], [], [], pending
        for n in range(2):
            one = Signal(lanes, name=f"level_bit_{n}")
            place = Signal(range(lanes + 1), name=f"place_{n}")
            level = Signal(self.form.level_bits, name=f"level_{n}")
            there = Signal(name=f"found_{n}")
            m.d.comb += [
                one.eq(rest & (~rest + 1)),
                there.eq(rest != 0),
                place.eq(_either(Mux(one[i], i, 0) for i in range(lanes)) | Mux(there, 0, count)),
                level.eq(_either(Mux(one[i], word[i], 0) for i in range(lanes))),
            ]
            places.append(place)
            levels.append(level)
            found.append(there)
            rest = rest & ~one
            if n == 0:
                after_one = rest
        total = Signal(range(longest + lanes + 1))
        full = Signal()  # more zeros than a pair holds: its level is a zero too
        between = Signal(range(lanes + 1))  # zeros between the two levels
        both = Signal()
        behind = Signal(range(lanes + 1))  # elements behind the last level that goes
        complete = Signal()  # nothing of the word is left but zeros that the run can count
        step = Signal()
        left = Signal(lanes)
        end = Signal(range(lanes + 2))
        out = self.o.payload
        m.d.comb += [
            total.eq(run + (places[0] - start)[: len(places[0])]),
            full.eq(total > longest),
            between.eq((places[1] - places[0] - 1)[: len(between)]),
            both.eq(found[1] & ~full & (lanes - 2 <= longest or between <= longest)),
            left.eq(Mux(both, rest, after_one)),
            end.eq(Mux(both, places[1], places[0]) + found[0]),
            behind.eq(count - end),
            complete.eq(~full & (left == 0) & (lanes <= longest or behind <= longest)),
            self.o.valid.eq(open_ & (full | found[0])),
            out.first.run.eq(Mux(full, longest, total)),
            out.first.level.eq(Mux(full, self.zero, levels[0])),
            out.second.run.eq(between),
            out.second.level.eq(levels[1]),
            out.both.eq(both),
            out.last.eq(last & complete),
            step.eq(open_ & (self.o.ready | ~(full | found[0]))),
            self.i.ready.eq(~open_ | (step & complete)),
        ]
        with m.If(step):
            m.d.sync += open_.eq(~complete)
            with m.If(full):
                m.d.sync += [start.eq(start + (longest + 1 - run)), run.eq(0)]
            with m.Else():
                m.d.sync += [start.eq(end), pending.eq(left), run.eq(total)]
                with m.If(found[0]):
                    m.d.sync += run.eq(Mux(complete, behind, 0))
        with m.If(self.i.valid & self.i.ready):
            new = self.i.payload
            ends = Signal()
            m.d.comb += ends.eq(self.close | new.last)
            m.d.sync += [open_.eq(1), word.eq(new.data), count.eq(new.count), last.eq(new.last), start.eq(0)]
            m.d.sync += pending.eq(Cat(
                (new.count > i) & ((new.data[i] != self.zero) | (ends & (new.count == i + 1))) for i in range(lanes)
            ))
        return m


@shared("form")
class PairPacker(wiring.Component):
    """Puts pairs into words, the first into the lowest bits.

    Members
    -------
    i : In(stream of pairs_layout)
    o : Out(stream of packed_layout)
        A block's last word ends with zeros where it is not full, and with the terminator.

    Timing
    ------
    Two pairs per cycle; a word leaves one cycle after its last pair, two if this was a second one and began the word.

    Raises
    ------
    ValueError
        When a word holds one pair only.
    """

    def __init__(self, form: Format):
        if form.pairs < 2:
            raise ValueError(f"PairPacker form must have at least 2 pairs per word, not {form.pairs}")
        self.form = form
        super().__init__({
            "i": In(stream.Signature(pairs_layout(form))),
            "o": Out(stream.Signature(packed_layout(form))),
        })

    def elaborate(self, platform):
        m = Module()
        form, new = self.form, self.i.payload
        slot = Signal(range(form.pairs + 1))  # pairs of the open word
        held = Signal(form.pair_bits * form.pairs, reset_less=True)  # these
        ended = Signal()  # the open word is the block's last
        bits = Signal(form.word_bits)
        carried = Signal()  # the second pair begins another word
        complete = Signal()
        room = Signal()
        send = Signal()
        first, second = Signal(form.pair_bits), Signal(form.pair_bits)
        with m.Switch(slot):
            for n in range(form.pairs):
                with m.Case(n):
                    below = n * form.pair_bits
                    more = second if n + 1 < form.pairs else Const(0, 0)
                    m.d.comb += bits.eq(Cat(held[:below], first, more))
        m.d.comb += [
            first.eq(new.first.as_value()),
            second.eq(Mux(new.both, new.second.as_value(), 0)),
            carried.eq(new.both & (slot == form.pairs - 1)),
            complete.eq(new.last | (slot + new.both >= form.pairs - 1)),
            room.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~ended & (room | ~complete)),
            send.eq((self.i.valid & complete & ~ended | ended) & room),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(bits), slot.eq(Mux(complete, 0, slot + 1 + new.both))]
            with m.If(carried):
                m.d.sync += [held.eq(second), slot.eq(1), ended.eq(new.last)]
        with m.If(send):
            final = Signal()
            m.d.comb += final.eq(ended | (new.last & ~carried))
            m.d.sync += [self.o.valid.eq(1), self.o.p.last.eq(final)]
            m.d.sync += self.o.p.bits.eq(Mux(ended, held[: form.pair_bits], bits))
            if form.terminated:
                m.d.sync += self.o.p.bits[-1].eq(final)
            with m.If(ended):
                m.d.sync += [ended.eq(0), slot.eq(0)]
        return m


class Encoder(wiring.Component):
    """Compresses blocks of elements, as ``docs/numerics.md`` defines it.

    Parameters
    ----------
    form : Format
    lanes : int
        Elements of a word that comes in.

    Members
    -------
    zero, i, close : as in PairFinder
    o : Out(stream of packed_layout)

    Timing
    ------
    Two elements that are no zeros per cycle, or ``2**run_bits`` zeros, or a word of nothing but zeros. A word leaves
    two or three cycles after its last element came.
    """

    latency = 2

    def __init__(self, form: Format, lanes: int):
        self.form = form
        self.lanes = lanes
        super().__init__({
            "zero": In(form.level_bits),
            "i": In(stream.Signature(elements_layout(form, lanes))),
            "close": In(1),
            "o": Out(stream.Signature(packed_layout(form))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.finder = finder = PairFinder(self.form, self.lanes)
        m.submodules.packer = packer = PairPacker(self.form)
        wiring.connect(m, wiring.flipped(self.i), finder.i)
        wiring.connect(m, finder.o, packer.i)
        wiring.connect(m, packer.o, wiring.flipped(self.o))
        m.d.comb += [finder.zero.eq(self.zero), finder.close.eq(self.close)]
        return m


@shared("form", "lanes")
class Decoder(wiring.Component):
    """Restores the elements of compressed blocks.

    Parameters
    ----------
    form : Format
    lanes : int
        Most elements of a word that leaves.

    Members
    -------
    length : In(24)
        Elements of a block, at least 1; sampled with the block's first word.
    zero : In(level_bits)
        The element that runs are made of; constant within a block.
    i : In(stream of word_bits)
        A block's first word is taken only when the elements of the block before it have left.
    o : Out(stream of elements_layout)

    Timing
    ------
    Two cycles from a word to its first elements. Each cycle gives as many pairs of the word as have ``lanes`` elements
    together, or ``lanes`` zeros; so a word per cycle where there are few zeros.
    """

    latency = 2

    def __init__(self, form: Format, lanes: int):
        self.form = form
        self.lanes = lanes
        super().__init__({
            "length": In(LENGTH_BITS),
            "zero": In(form.level_bits),
            "i": In(stream.Signature(unsigned(form.word_bits))),
            "o": Out(stream.Signature(elements_layout(form, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        form, lanes, out = self.form, self.lanes, self.o.payload
        begun = Signal()  # in a block
        left = Signal(LENGTH_BITS, reset_less=True)  # elements of it
        held = Signal()  # a word is open
        slots = Signal(range(form.pairs + 1), reset_less=True)  # pairs of it that are left
        bits = Signal(form.pairs * form.pair_bits, reset_less=True)  # these, the next one lowest

        room = Signal(range(lanes + 1))  # elements that can leave in this cycle
        m.d.comb += room.eq(Mux(left < lanes, left, lanes))
        fits, reaches = self._elaborate_pairs(m, bits, slots, room)
        count = Signal(range(lanes + 1))
        chosen, rest, fewer = lanes, bits, slots  # after the pairs that fit
        for n, (fit, reach) in enumerate(zip(fits, reaches, strict=True)):
            chosen = Mux(fit, reach, chosen)
            rest = Mux(fit, bits[(n + 1) * form.pair_bits :], rest)
            fewer = Mux(fit, slots - (n + 1), fewer)
        last = Signal()
        step = Signal()
        used = Signal()  # nothing of the word is left
        final = Signal(len(slots))
        m.d.comb += [
            count.eq(chosen),
            final.eq(fewer),
            last.eq(left == count),
            step.eq(held & (~self.o.valid | self.o.ready)),
            used.eq(last | (final == 0)),
            self.i.ready.eq(Mux(begun, ~held | (step & used & ~last), ~self.o.valid)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(1), out.count.eq(count), out.last.eq(last), left.eq(left - count)]
            for i in range(lanes):
                element = self.zero
                for n, (fit, reach) in enumerate(zip(fits, reaches, strict=True)):
                    element = Mux(fit & (reach == i + 1), self._level(bits, n), element)
                m.d.sync += out.data[i].eq(element)
            m.d.sync += [held.eq(~used), bits.eq(rest), slots.eq(final)]
            with m.If(~fits[0]):
                m.d.sync += bits[: form.run_bits].eq(bits[: form.run_bits] - lanes)
            with m.If(last):
                m.d.sync += begun.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(1), begun.eq(1), slots.eq(form.pairs), bits.eq(self.i.payload)]
            with m.If(~begun):
                m.d.sync += left.eq(self.length)
        return m

    def _elaborate_pairs(self, m, bits, slots, room):
        """For each pair of the word: whether it leaves, and how many elements leave with it and those before it."""
        form = self.form
        fits, reaches = [], []
        for n in range(form.pairs):
            run = bits.word_select(n, form.pair_bits)[: form.run_bits]
            reach = Signal(range(((n + 1) << form.run_bits) + 1), name=f"reach_{n}")
            fit = Signal(name=f"fit_{n}")
            m.d.comb += [
                reach.eq((reaches[-1] if n else 0) + run + 1),
                fit.eq((reach <= room) & (slots > n)),
            ]
            fits.append(fit)
            reaches.append(reach)
        return fits, reaches

    def _level(self, bits, n):
        """Level of pair ``n``."""
        return bits.word_select(n, self.form.pair_bits)[self.form.run_bits :]


def _either(values):
    """Bitwise OR of values of which one at most is not zero."""
    result = 0
    for value in values:
        result |= value
    return result
