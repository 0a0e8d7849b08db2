"""Selection: the most important tokens or heads stay, and their numbers become lists for LOAD."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.pruning import IMPORTANCE_BITS, MAX_HEADS
from rtl.importance import accumulator_ports
from rtl.memory import BankMemory
from rtl.top_k import TopK

NUMBER_BITS = 16
FLOOR_BITS = 17


def select_layout(values: bool = False) -> data.StructLayout:
    """A selection: of ``count`` tokens (or ``heads``) the best ``keep``; ``place`` is the first index of its lists.

    ``fresh``: nothing has been selected before, so places are numbers. With ``values`` it may be one of keys of a head:
    then with ``by_floor`` what is above ``floor`` stays, and with ``numbered`` the list has their numbers as tokens.
    """
    more = {"values": 1, "by_floor": 1, "floor": FLOOR_BITS, "numbered": 1} if values else {}
    return data.StructLayout({
        "heads": 1, "fresh": 1, "count": NUMBER_BITS, "keep": NUMBER_BITS, "place": NUMBER_BITS, **more,
    })  # fmt: skip


def mask_ports(lanes: int, words: int) -> dict:
    """Writes to flags, a word of ``lanes`` of them: those of ``mask`` become ``mask_value``."""
    return {"mask": Out(lanes), "mask_word": Out(range(words)), "mask_value": Out(1)}


def entry_layout() -> data.StructLayout:
    """An entry of a list and its index."""
    return data.StructLayout({"index": NUMBER_BITS, "value": NUMBER_BITS})


class Selector(wiring.Component):
    """Keeps the most important, moves accumulators and numbers of what stays together, and writes two lists.

    ``list[place + i]`` is the place of the i-th that stays among those before, ``list[place + keep + i]`` its number as
    the network began with.

    A selection of keys, whose values count in a head, moves nothing and writes one list with its length in front:
    ``list[place]`` is the length, ``list[place + 1 + i]`` the i-th key. If none stays the length is 1, and key 0 in it.
    Besides flags say which keys stay. With ``numbered`` it has numbers, as the last selection of tokens has left them,
    in place of keys.

    Parameters
    ----------
    lanes : int
        Accumulators of a word, a power of two.
    words : int
        Words of tokens' accumulators.
    values : bool
        Whether there are selections of keys.

    Members
    -------
    job : In(stream of select_layout())
        ``1 <= keep <= count``; with ``by_floor`` ``keep`` has no meaning. Taken when the one before has written its
        last entry.
    tokens, heads : Out(accumulator_ports)
        The accumulators; nothing else uses them meanwhile.
    columns : Out(accumulator_ports)
        With ``values`` the accumulators of keys, which are only read.
    mask, mask_word, mask_value : Out(lanes), Out(range(words)), Out(1)
        With ``values`` writes of flags, see :func:`mask_ports`: all of ``count`` keys are cleared first.
    list : Out(stream of entry_layout())
    busy : Out(1)
        A job is open, from the cycle after it was taken to that in which its last word of output is used up.

    Timing
    ------
    The top-k engine's cycles (:func:`dataflows.top_k.cycles`, one more to load), except that an element of its output
    takes two cycles for its two entries, while ``list`` is ready. Of keys an element takes one cycle, and the length
    another one, behind them all; with ``numbered`` two.
    """

    def __init__(self, lanes: int, words: int, values: bool = False):
        self.lanes, self.words, self.values = lanes, words, values
        self.head_words = -(-MAX_HEADS // lanes)
        self.top_k = TopK(lanes, max(words, self.head_words) * lanes, IMPORTANCE_BITS, floors=values)
        super().__init__({
            **({"columns": Out(wiring.Signature(accumulator_ports(lanes, words)).flip())} if values else {}),
            **(mask_ports(lanes, words) if values else {}),
            "job": In(stream.Signature(select_layout(values))),
            "tokens": Out(wiring.Signature(accumulator_ports(lanes, words)).flip()),
            "heads": Out(wiring.Signature(accumulator_ports(lanes, self.head_words)).flip()),
            "list": Out(stream.Signature(entry_layout())),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.top_k = top_k = self.top_k
        job = Signal(select_layout(self.values), reset_less=True)
        given = self.job.payload
        m.d.comb += [
            self.job.ready.eq(~self.busy & top_k.job.ready),
            top_k.job.valid.eq(self.job.valid & ~self.busy),
            top_k.job.p.length.eq(given.count),
            top_k.job.p.k.eq(given.keep),
        ]
        if self.values:
            m.d.comb += [top_k.job.p.by_floor.eq(given["values"] & given.by_floor), top_k.job.p.floor.eq(given.floor)]
        begin = Signal()
        m.d.comb += begin.eq(self.job.valid & self.job.ready)
        with m.If(begin):
            m.d.sync += [job.eq(given), self.busy.eq(1)]
        self._elaborate_load(m, begin, given.count, job)
        self._elaborate_output(m, begin, job)
        return m

    def _elaborate_load(self, m, begin, count, job):
        """Accumulators to the top-k engine, a word per cycle."""
        left = Signal(NUMBER_BITS)
        word = Signal(NUMBER_BITS, reset_less=True)
        have, read = Signal(), Signal()
        values = self.top_k.i
        m.d.comb += [read.eq((left != 0) & (~have | values.ready)), values.valid.eq(have)]
        with m.If(read | values.ready):
            m.d.sync += have.eq(read)
        with m.If(begin):
            m.d.sync += [left.eq((count + self.lanes - 1) >> exact_log2(self.lanes)), word.eq(0)]
        with m.Elif(read):
            m.d.sync += [left.eq(left - 1), word.eq(word + 1)]
        of_tokens, of_heads = self.tokens.read_data.as_value(), self.heads.read_data.as_value()
        loaded = Mux(job.heads, of_heads, of_tokens)
        ports = [(self.tokens, ~job.heads), (self.heads, job.heads)]
        if self.values:
            loaded = Mux(job["values"], self.columns.read_data.as_value(), loaded)
            ports.append((self.columns, job["values"]))
        for port, mine in ports:
            m.d.comb += [port.read.eq(read & mine), port.read_word.eq(word)]
        m.d.comb += values.payload.as_value().eq(loaded)
        if self.values:
            with m.If(read & job["values"]):
                m.d.comb += [self.mask.eq(~0), self.mask_word.eq(word)]

    def _elaborate_output(self, m, begin, job):
        """What stays, one element after the other: its place in one cycle, its number in the next."""
        lane_bits = exact_log2(self.lanes)
        words = self.top_k.o
        token_numbers, head_numbers = self.words * self.lanes, self.head_words * self.lanes
        m.submodules.numbers = numbers = BankMemory(NUMBER_BITS // 8, token_numbers + head_numbers, NUMBER_BITS // 8)
        first = Signal(range(token_numbers + 1))  # where the numbers of tokens, or of heads, begin in their memory
        m.d.comb += first.eq(Mux(job.heads, token_numbers, 0))

        # The elements of a word move down to its first one.
        elements = Signal(data.ArrayLayout(unsigned(IMPORTANCE_BITS), self.lanes), reset_less=True)
        indices = Signal(words.p.indices.shape(), reset_less=True)
        left = Signal(range(self.lanes + 1))
        last = Signal(reset_less=True)
        done = Signal(NUMBER_BITS, reset_less=True)  # elements that have left
        second, step, last_entry = Signal(), Signal(), Signal()
        m.d.comb += [
            words.ready.eq((left == 0) & self.busy),
            self.list.valid.eq(left != 0),
            step.eq(self.list.valid & self.list.ready),
            last_entry.eq(second),
        ]
        with m.If(words.valid & words.ready):
            m.d.sync += [elements.eq(words.p.values), indices.eq(words.p.indices), left.eq(words.p.count)]
            m.d.sync += [last.eq(words.p.last)]
            with m.If(words.p.last & (words.p.count == 0)):
                m.d.sync += self.busy.eq(0)
        with m.If(step):
            m.d.sync += second.eq(~last_entry)
            with m.If(last_entry):
                bits = len(indices[0])
                m.d.sync += [
                    elements.eq(elements.as_value() >> IMPORTANCE_BITS), indices.eq(indices.as_value() >> bits),
                    left.eq(left - 1), done.eq(done + 1),
                ]  # fmt: skip
                with m.If((left == 1) & last):
                    m.d.sync += self.busy.eq(0)
        with m.If(begin):
            m.d.sync += [done.eq(0), second.eq(0)]

        number = Signal(NUMBER_BITS)
        place = indices[0]
        m.d.comb += [
            numbers.read_enable.eq(step & ~last_entry),
            numbers.read_address.eq(first + place),
            number.eq(Mux(job.fresh, place, numbers.read_data)),
            numbers.write_enable.eq(step & second & (~job["values"] if self.values else 1)),
            numbers.write_address.eq(first + done),
            numbers.write_data.eq(number),
            self.list.p.index.eq(job.place + done + Mux(second, job.keep, 0)),
            self.list.p.value.eq(Mux(second, number, place)),
        ]
        for port, mine in ((self.tokens, ~job.heads), (self.heads, job.heads)):
            moves = step & second & mine
            if self.values:
                moves = moves & ~job["values"]
            enable = Cat(moves & (done[:lane_bits] == lane) for lane in range(self.lanes))
            m.d.comb += [
                port.write.eq(enable), port.write_word.eq(done >> lane_bits), port.write_value.eq(elements[0])
            ]  # fmt: skip
        if self.values:
            self._elaborate_keys(m, begin, job, place, left, last, done, step, second, last_entry)

    def _elaborate_keys(self, m, begin, job, key, left, last, done, step, second, last_entry):
        """A list of keys: an entry per element, before them a 0 that they replace, behind them the length; flags."""
        opening, closing = Signal(), Signal()
        words, lane_bits = self.top_k.o, exact_log2(self.lanes)
        with m.If(job["values"]):
            m.d.comb += [
                last_entry.eq(second | ~job.numbered),  # in the first of two cycles a number is read
                words.ready.eq((left == 0) & self.busy & ~opening & ~closing),
                self.list.valid.eq((left != 0) & last_entry | opening | closing),
                step.eq((left != 0) & self.list.ready),
                self.list.p.index.eq(job.place + Mux(closing, 0, done + 1)),
            ]
            with m.If(opening):
                m.d.comb += self.list.p.value.eq(0)
            with m.If(closing):
                m.d.comb += self.list.p.value.eq(Mux(done == 0, 1, done))
            with m.If(step):
                chosen = Cat(key[:lane_bits] == lane for lane in range(self.lanes))
                m.d.comb += [self.mask.eq(chosen), self.mask_word.eq(key >> lane_bits), self.mask_value.eq(1)]
            nothing_left = words.valid & words.ready & words.p.last & (words.p.count == 0)
            with m.If(nothing_left | step & last_entry & (left == 1) & last):
                m.d.sync += [self.busy.eq(1), closing.eq(1)]
            with m.If(self.list.ready):
                m.d.sync += opening.eq(0)
            with m.If(closing & self.list.ready):
                m.d.sync += [closing.eq(0), self.busy.eq(0)]
        with m.If(begin):
            m.d.sync += opening.eq(self.job.p["values"])
